use activity::TableName;
use tokio_postgres::Row;

use crate::catalog::REPLICATES;
use crate::{Error, Session};

/// What a role may do beyond reading the stream and writing actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    pub name: String,
    pub login: bool,
    pub replication: bool,
    pub superuser: bool,
    /// The superuser of initdb, which can not be anything less.
    pub bootstrap: bool,
    pub create_role: bool,
    pub create_database: bool,
    /// How many sessions it may have; -1 without a limit.
    pub connection_limit: i32,
    /// Predefined roles that reach beyond what a sidecar does, of which it is a member.
    pub memberships: Vec<String>,
    /// Tables among those asked about that it owns.
    pub owns: Vec<TableName>,
    /// Those that it may change, without being their owner.
    pub writes: Vec<TableName>,
}

/// What `name` may do, and may do to these tables.
pub async fn powers(
    session: &Session,
    name: &str,
    tables: &[TableName],
) -> Result<Option<Powers>, Error> {
    let statement = format!(
        "select rolname::text, rolcanlogin, {REPLICATES}, rolsuper, oid = 10, rolcreaterole,
               rolcreatedb, rolconnlimit,
               (select coalesce(array_agg(m.rolname::text order by 1), '{{}}') from pg_roles m
                where m.rolname in ('pg_read_all_data', 'pg_write_all_data',
                    'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
                  and pg_has_role(r.oid, m.oid, 'usage'))
             from pg_roles r where rolname = $1"
    );
    let row = session.query_opt(&statement, &[&name]).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let mut powers = Powers {
        name: row.get(0),
        login: row.get(1),
        replication: row.get(2),
        superuser: row.get(3),
        bootstrap: row.get(4),
        create_role: row.get(5),
        create_database: row.get(6),
        connection_limit: row.get(7),
        memberships: row.get(8),
        ..Powers::default()
    };
    // Of a superuser all of it would be true.
    if powers.superuser {
        powers.memberships.clear();
        return Ok(Some(powers));
    }
    for (table, owns, writes) in reach(session, name, tables).await? {
        if owns {
            powers.owns.push(table);
        } else if writes {
            powers.writes.push(table);
        }
    }
    Ok(Some(powers))
}

async fn reach(
    session: &Session,
    name: &str,
    tables: &[TableName],
) -> Result<Vec<(TableName, bool, bool)>, Error> {
    let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text, pg_has_role(r.oid, c.relowner, 'usage'),
               has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate')
             from unnest($2::text[], $3::text[]) with ordinality as wanted (s, t, place)
             join pg_namespace n on n.nspname = wanted.s
             join pg_class c on c.relnamespace = n.oid and c.relname = wanted.t
             cross join pg_roles r where r.rolname = $1
             order by wanted.place",
            &[&name, &schemas, &names],
        )
        .await?;
    let one = |row: &Row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, row.get(2), row.get(3))
    };
    Ok(rows.iter().map(one).collect())
}

/// Tables of the sidecar's schema that a role may not read and write, and `None` for the schema itself.
pub async fn unwritable(session: &Session, role: &str) -> Result<Vec<Option<String>>, Error> {
    let rows = session
        .query(
            "select null::text from pg_namespace n, pg_roles r
             where n.nspname = $1 and r.rolname = $2
               and not (has_schema_privilege(r.oid, n.oid, 'usage')
                 and has_schema_privilege(r.oid, n.oid, 'create'))
             union all
             select c.relname::text from pg_class c
             join pg_namespace n on n.oid = c.relnamespace cross join pg_roles r
             where n.nspname = $1 and r.rolname = $2 and c.relkind in ('r', 'p')
               and not c.relispartition
               and not (has_table_privilege(r.oid, c.oid, 'select')
                 and has_table_privilege(r.oid, c.oid, 'insert')
                 and has_table_privilege(r.oid, c.oid, 'update')
                 and has_table_privilege(r.oid, c.oid, 'delete'))
             order by 1 nulls first",
            &[&session.schema(), &role],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
