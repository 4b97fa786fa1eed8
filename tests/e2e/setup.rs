//! `tidings setup`: what it makes, what stands in its way, and what it says of it.

use scratch::Server;
use tests::{Outcome, Stage};

/// Panics unless something else must be done first, and all of this is said of it.
#[track_caller]
fn not_ready(outcome: &Outcome, says: &[&str]) {
    assert_eq!(outcome.code(), 3, "{}{}", outcome.stdout, outcome.stderr);
    for text in says {
        assert!(
            outcome.stderr.contains(text),
            "{text} is not in {}",
            outcome.stderr
        );
    }
}

const INSERT: &str = "insert into projects (project_id, name, status) values ('p', 'x', 'active')";

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_of_a_dry_run_makes_run_work() {
    let stage = Stage::start().await;
    stage.execute("drop role tidings").await;
    let refused = stage.tidings(["setup"]).await;
    not_ready(&refused, &["create role \"tidings\" login replication"]);
    let script = stage.tidings(["setup", "--dry-run"]).await.success().stdout;
    let roles = "select count(*) from pg_roles where rolname = 'tidings'";
    assert_eq!(
        stage.value::<i64>(roles).await,
        0,
        "a dry run changes nothing"
    );
    let made = "select count(*) from pg_namespace where nspname = 'tidings'";
    assert_eq!(
        stage.value::<i64>(made).await,
        0,
        "a dry run changes nothing"
    );

    let client = stage.connect().await;
    let lines: Vec<&str> = script
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    for statement in lines.join("\n").split_inclusive(";\n") {
        client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{error:?} in {statement}"));
    }
    let _sidecar = stage.resume().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    let again = stage.tidings(["setup", "--dry-run"]).await.success();
    assert_eq!(again.stdout, "-- nothing to do\n");
}

/// What setup makes, as the catalog has it.
async fn catalog(stage: &Stage) -> String {
    let query = "select string_agg(line, chr(10) order by line) from (
        select 'slot ' || slot_name || restart_lsn from pg_replication_slots
        union all select 'publication ' || oid || pubowner from pg_publication
        union all select 'published ' || oid || prrelid from pg_publication_rel
        union all select 'table ' || oid || coalesce(relacl::text, '') from pg_class
          where relnamespace in ('tidings'::regnamespace, 'public'::regnamespace)
        union all select 'progress ' || p::text from tidings.progress p
        union all select 'migration ' || m::text from tidings.migrations m) as made (line)";
    stage.value(query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_setup_changes_nothing() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let before = catalog(&stage).await;
    stage.tidings(["setup"]).await.success();
    assert_eq!(catalog(&stage).await, before);
    let dry = stage.tidings(["setup", "--dry-run"]).await.success();
    assert_eq!(dry.stdout, "-- nothing to do\n");
    // Nor does one beside a running sidecar.
    let _sidecar = stage.resume().await;
    stage.tidings(["setup"]).await.success();
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_tables_can_set_up_for_the_run_role() {
    let mut stage = Stage::start().await;
    let owner = stage.server.url_as("worker", "app");
    stage.settings.set("database.admin_url", owner);
    let refused = stage.tidings(["setup"]).await;
    // PostgreSQL lets an owner give a publication away only to a role that it is a member of.
    not_ready(&refused, &[r#"grant "tidings" to "worker";"#]);
    stage.execute("grant tidings to worker").await;
    stage.tidings(["setup"]).await.success();
    let _sidecar = stage.resume().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    let dry = stage.tidings(["setup", "--dry-run"]).await.success();
    assert_eq!(dry.stdout, "-- nothing to do\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_setup_says_who_must_do_it() {
    let mut stage = Stage::start().await;
    stage.settings.set("database.admin_url", "");
    let refused = stage.tidings(["setup"]).await;
    not_ready(&refused, &["database.admin_url", "setup --dry-run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_before_setup_name_setup() {
    let stage = Stage::start().await;
    for command in [
        &["run"][..],
        &["status"],
        &["status", "--json"],
        &["endpoints", "list"],
    ] {
        not_ready(&stage.tidings(command).await, &["tidings setup"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_level_that_is_too_low_is_named_with_the_command_that_raises_it() {
    let stage = Stage::on(Server::builder().setting("wal_level", "replica")).await;
    let mends = [
        "wal_level is replica",
        "alter system set wal_level = logical",
        "restart",
    ];
    not_ready(&stage.tidings(["setup"]).await, &mends);
    not_ready(&stage.tidings(["run"]).await, &mends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_replication_is_named_with_the_sql_that_mends_it() {
    let stage = Stage::start().await;
    stage.execute("alter role tidings noreplication").await;
    let mends = ["REPLICATION", "alter role \"tidings\" replication;"];
    not_ready(&stage.tidings(["setup"]).await, &mends);
    not_ready(&stage.tidings(["run"]).await, &mends);
    stage.execute("alter role \"tidings\" replication;").await;
    stage.tidings(["setup"]).await.success();
    stage.execute("alter role tidings noreplication").await;
    not_ready(&stage.tidings(["run"]).await, &mends);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_can_not_be_published_are_all_named_with_what_mends_them() {
    let stage = Stage::start().await;
    let spoil = "drop table deployments; alter table projects drop constraint projects_pkey;
                 alter table databases drop column query_count";
    stage.execute(spoil).await;
    let obstacles = [
        "table public.deployments does not exist",
        "table public.projects has no primary key",
        "alter table public.projects add primary key (…);",
        "table public.databases has no column query_count",
    ];
    not_ready(&stage.tidings(["setup"]).await, &obstacles);
    let made = "select count(*) from pg_publication";
    assert_eq!(
        stage.value::<i64>(made).await,
        0,
        "nothing is begun that can not be finished"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_index_as_replica_identity_is_as_good_as_a_primary_key() {
    let stage = Stage::start().await;
    let other = "alter table projects drop constraint projects_pkey;
                 alter table projects alter column project_id set not null;
                 create unique index projects_id on projects (project_id);
                 alter table projects replica identity using index projects_id";
    stage.execute(other).await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage
        .execute("update projects set project_id = 'q', status = 'active'")
        .await;
    stage
        .execute(r#"update projects set endpoints = '[{"method": "GET", "path": "/"}]'"#)
        .await;
    stage.until_actions(2).await;
    assert_eq!(stage.sentences().await[1], "Added 1 endpoint: GET /");
}

/// What setup says of a transaction of the superuser's that its slot waits for.
async fn told_while_waiting(stage: &Stage) -> String {
    let open = stage.connect().await;
    let pid = open
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap();
    let pid: i32 = pid.get(0);
    open.batch_execute(&format!("begin; {INSERT}"))
        .await
        .unwrap();
    let setup = stage.tidings(["setup"]);
    let release = async {
        // Setup waits for it now, and says so every two seconds; ended only after that was due.
        let waits = "exists (select from pg_stat_activity
                     where wait_event_type = 'Lock' and wait_event = 'transactionid'
                       and now() - query_start > interval '3 s')";
        stage.until(waits).await;
        open.batch_execute("commit").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(setup, release);
    let said = outcome.success().stdout;
    let process = format!("process {pid}:");
    let told = said.lines().find(|line| line.contains(&process));
    told.unwrap_or_else(|| panic!("{pid} is not in {said}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_waits_for_a_transaction_says_whose_and_is_made_once_it_ends() {
    let stage = Stage::start().await;
    let told = told_while_waiting(&stage).await;
    let has_age = told.contains("idle in transaction") && !told.contains(" 0 s");
    assert!(has_age, "{told}");
    let _sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_into_a_transaction_still_names_its_process() {
    let mut stage = Stage::start().await;
    stage.execute("grant tidings to worker").await;
    stage
        .settings
        .set("database.admin_url", stage.server.url_as("worker", "app"));
    let told = told_while_waiting(&stage).await;
    assert!(told.contains("pg_read_all_stats"), "{told}");
}
