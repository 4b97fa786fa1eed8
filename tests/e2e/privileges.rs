//! The run role has LOGIN, REPLICATION, what docs/operations.md lists, and nothing besides.

use std::collections::BTreeSet;

use tests::Stage;
use tokio_postgres::NoTls;

/// What a role may do to the tables and columns outside the sidecar's schema and the catalogs, by its own
/// grants, those of its groups and those of PUBLIC. A privilege on a whole table stands for its columns.
const RELATIONS: &str = "
    with relations as (
      select c.oid, n.nspname || '.' || c.relname as name from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f')
        and n.nspname not in ('tidings', 'pg_catalog', 'information_schema', 'pg_toast')
    ), whole as (
      select r.oid, r.name, p.privilege from relations r
      cross join unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) as p (privilege)
      where has_table_privilege('tidings', r.oid, p.privilege)
    )
    select name || ' ' || privilege from whole
    union all
    select r.name || '.' || a.attname || ' ' || p.privilege from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    cross join unnest('{select,insert,update,references}'::text[]) as p (privilege)
    where has_column_privilege('tidings', r.oid, a.attnum, p.privilege)
      and not exists (select from whole w where w.oid = r.oid and w.privilege = p.privilege)";

/// Whatever else names the role: what it was granted, and what it owns, of every kind of object.
const OBJECTS: &str = "
    select case d.deptype when 'a' then 'granted ' when 'o' then 'owns ' else d.deptype::text || ' ' end
           || o.type || ' ' || o.identity
    from pg_shdepend d
    cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) o
    where d.refclassid = 'pg_authid'::regclass and d.refobjid = 'tidings'::regrole
      and d.dbid in (0, (select oid from pg_database where datname = current_database()))
      and not (d.deptype = 'o' and o.schema is not distinct from 'tidings')
      and o.type not in ('table', 'table column')";

/// With what was granted on schemas and databases.
const GRANTS: &str = "
    select 'schema ' || nspname || ' ' || lower(privilege_type) || is_grantable
    from pg_namespace, aclexplode(nspacl)
    where grantee = 'tidings'::regrole and nspname <> 'tidings'
    union all
    select 'database ' || datname || ' ' || lower(privilege_type) || is_grantable
    from pg_database, aclexplode(datacl) where grantee = 'tidings'::regrole";

async fn lines(stage: &Stage, query: &str) -> BTreeSet<String> {
    let rows = stage.connect().await.query(query, &[]).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error:?} in {query}"));
    rows.iter().map(|row| row.get(0)).collect()
}

fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}

/// The columns that the grants of a dry run let the role read.
fn read(script: &str) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for line in script.lines() {
        let Some(grant) = line.trim().strip_prefix("grant select (") else {
            continue;
        };
        let (list, rest) = grant.split_once(") on table ").unwrap();
        let table = rest.split(' ').next().unwrap();
        let names = list.split(", ").map(|name| name.trim_matches('"'));
        columns.extend(names.map(|name| format!("{table}.{name} select")));
    }
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_role_may_do_what_the_documentation_lists_and_nothing_else() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let script = stage.tidings(["setup", "--dry-run"]).await.success().stdout;
    let sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    ops.until(1).await;
    stage.until_compared().await;
    assert!(sidecar.pid().is_some());

    let attributes =
        "select concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin,
                        rolreplication) from pg_roles where rolname = 'tidings'";
    assert_eq!(stage.value::<String>(attributes).await, "f f f f t t");
    let groups = "select count(*) from pg_auth_members where member = 'tidings'::regrole";
    assert_eq!(stage.value::<i64>(groups).await, 0);

    let mut expected = read(&script);
    assert!(expected.contains("public.projects.name select"), "{script}");
    expected.insert("public.project_actions insert".to_owned());
    assert_eq!(lines(&stage, RELATIONS).await, expected);
    let objects = [
        "granted database app",
        "granted schema public",
        "owns publication tidings",
        "owns schema tidings",
    ];
    assert_eq!(lines(&stage, OBJECTS).await, set(objects));
    let grants = ["database app createfalse", "schema public usagefalse"];
    assert_eq!(lines(&stage, GRANTS).await, set(grants));

    let url = stage.server.url_as("tidings", "app");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in [
        "select created_at from project_actions",
        "delete from project_actions",
        "update projects set name = 'y'",
        "alter table projects add column z int",
        "alter publication tidings add table projects",
        "create role z",
    ] {
        let refused = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
}
