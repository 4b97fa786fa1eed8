//! `tidings doctor`: what is not well is named with what mends it, and that does mend it.

use scratch::Server;
use serde_json::Value;
use tests::{PATIENCE, Stage, eventually};

/// A server that nothing is to be said against, with the tables of the worker.
async fn healthy() -> Stage {
    let server = Server::builder().fast();
    Stage::on(server.setting("max_slot_wal_keep_size", "1GB")).await
}

/// What `doctor --json` says.
async fn examined(stage: &Stage) -> Value {
    stage.tidings(["doctor", "--json"]).await.json()
}

fn check<'a>(told: &'a Value, name: &str) -> &'a Value {
    let checks = told["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {told:#}"))
}

/// In the order of the alphabet.
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn text<'a>(check: &'a Value, key: &str) -> &'a str {
    check[key].as_str().unwrap_or_default()
}

/// Panics unless this check is of this status and its message says all of this; returns what mends it.
#[track_caller]
fn complains(told: &Value, name: &str, status: &str, says: &[&str]) -> String {
    let check = check(told, name);
    assert_eq!(check["status"], status, "{check:#}");
    for part in says {
        assert!(text(check, "message").contains(part), "{part}: {check:#}");
    }
    text(check, "mend").to_owned()
}

#[track_caller]
fn is_well(told: &Value, name: &str) {
    let check = check(told, name);
    assert_eq!(check["status"], "ok", "{check:#}");
}

/// Panics where anything fails or is worth a warning.
#[track_caller]
fn all_is_well(told: &Value) {
    for check in told["checks"].as_array().unwrap() {
        assert!(
            check["status"] == "ok" || check["status"] == "skipped",
            "{check:#}"
        );
    }
    assert_eq!(told["ok"], true);
}

/// Runs each line of a mend as a superuser, as psql would.
async fn execute(stage: &Stage, mend: &str) {
    assert!(!mend.is_empty());
    let client = stage.connect().await;
    for line in mend.lines() {
        let done = client.batch_execute(line).await;
        done.unwrap_or_else(|error| panic!("{error:?} in {line}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_setup_doctor_says_so_and_that_all_else_is_well() {
    let stage = healthy().await;
    let outcome = stage.tidings(["doctor", "--json"]).await;
    assert_eq!(outcome.code(), 1);
    let told = outcome.json();
    assert_eq!(told["ok"], false);
    let mend = complains(&told, "setup", "fail", &["nothing was set up"]);
    assert_eq!(mend, "tidings setup");
    for name in [
        "wal_level",
        "role",
        "rules",
        "replica_identity",
        "slots_left",
        "tls",
    ] {
        is_well(&told, name);
    }
    let grants = check(&told, "grants");
    assert_eq!(grants["status"], "skipped");
    assert!(text(grants, "message").contains("grant insert on table public.project_actions"));
    for name in ["slot", "publication", "lineage", "failover"] {
        assert_eq!(check(&told, name)["status"], "skipped");
    }

    let refused = stage.tidings(["doctor", "--probe", "--json"]).await.json();
    assert_eq!(check(&refused, "probe")["status"], "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_setup_all_is_well_under_a_least_privileged_role() {
    let mut stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let told = examined(&stage).await;
    all_is_well(&told);
    let skipped = told["checks"].as_array().unwrap().iter();
    let skipped: Vec<&Value> = skipped.filter(|c| c["status"] == "skipped").collect();
    assert!(skipped.is_empty(), "{skipped:#?}");

    // Beside a running sidecar, too, and by the run role alone.
    let sidecar = stage.resume().await;
    all_is_well(&examined(&stage).await);
    stage.settings.set("database.admin_url", "");
    let told = examined(&stage).await;
    all_is_well(&told);
    assert!(complains(&told, "disk", "skipped", &["pg_monitor"]).is_empty());
    let table = stage.tidings(["doctor"]).await.success().stdout;
    assert!(
        table.contains("ok      wal_level         logical\n"),
        "{table}"
    );
    assert!(table.contains(", 0 warn, 0 fail, 2 skipped"), "{table}");
    drop(sidecar);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_of_the_json_is_the_same_for_every_check() {
    let stage = healthy().await;
    let before = examined(&stage).await;
    stage.tidings(["setup"]).await.success();
    let after = examined(&stage).await;
    let names = |told: &Value| -> Vec<String> {
        let checks = told["checks"].as_array().unwrap().iter();
        checks.map(|check| text(check, "name").to_owned()).collect()
    };
    assert_eq!(names(&before), names(&after));
    for told in [before, after] {
        assert_eq!(keys(&told), ["checks", "ok"]);
        for check in told["checks"].as_array().unwrap() {
            assert_eq!(keys(check), ["mend", "message", "name", "status"]);
            assert!(check["message"].is_string() && check["name"].is_string());
            assert!(check["mend"].is_null() || check["mend"].is_string());
            assert!(["ok", "skipped", "warn", "fail"].contains(&text(check, "status")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_one_failing_check_and_the_rest_is_skipped() {
    let mut stage = healthy().await;
    let url = "postgres://tidings:hunter2@127.0.0.1:1/app";
    stage.settings.set("database.url", url);
    let outcome = stage.tidings(["doctor", "--json"]).await;
    assert_eq!(outcome.code(), 1);
    let told = outcome.json();
    let mend = complains(&told, "connection", "fail", &["127.0.0.1:1", "refused"]);
    assert!(mend.contains("host and port"), "{mend}");
    let others = told["checks"].as_array().unwrap().iter();
    let others = others.filter(|check| check["name"] != "connection");
    for other in others {
        assert_eq!(other["status"], "skipped", "{other:#}");
        assert_eq!(other["message"], "there is no connection");
    }
    let table = stage.tidings(["doctor"]).await;
    for said in [
        &outcome.stdout,
        &outcome.stderr,
        &table.stdout,
        &table.stderr,
    ] {
        assert!(!said.contains("hunter2"), "{said}");
    }

    stage
        .settings
        .set("database.url", stage.server.url_as("nobody", "app"));
    let told = examined(&stage).await;
    let mend = complains(&told, "connection", "fail", &["nobody"]);
    assert!(
        mend.starts_with("create role \"nobody\" login replication;"),
        "{mend}"
    );
    execute(&stage, &mend).await;
    is_well(&examined(&stage).await, "connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_doctor_says() {
    let server = Server::builder().fast().auth(scratch::Auth::ScramSha256);
    let mut stage = Stage::on(server).await;
    stage.execute("alter role tidings password 'hunter2'").await;
    stage.settings.set(
        "database.url",
        stage.server.url_as("tidings:hunter2", "app"),
    );
    stage.tidings(["setup"]).await.success();
    let _receiver = stage.subscribe("ops").await;
    for spoil in [
        "select 1",
        "alter role tidings superuser",
        "alter role tidings nosuperuser noreplication",
        "alter role tidings password 'swordfish'",
    ] {
        stage.execute(spoil).await;
        for arguments in [&["doctor"][..], &["doctor", "--probe", "--json"]] {
            let outcome = stage.tidings(arguments).await;
            let said = outcome.stdout + &outcome.stderr;
            assert!(said.contains("connection"), "{said}");
            let leaks = ["hunter2", "swordfish", "whsec_"]
                .iter()
                .any(|secret| said.contains(secret));
            assert!(!leaks, "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_level_that_is_too_low_is_mended_by_what_doctor_says() {
    let server = Server::builder()
        .fast()
        .setting("max_slot_wal_keep_size", "1GB");
    let mut stage = Stage::on(server.setting("wal_level", "replica")).await;
    let told = examined(&stage).await;
    let mend = complains(&told, "wal_level", "fail", &["wal_level is replica"]);
    assert!(mend.contains("restart"), "{mend}");
    execute(&stage, &mend).await;
    stage.server.restart().unwrap();
    is_well(&examined(&stage).await, "wal_level");
    stage.tidings(["setup"]).await.success();
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_replica_identity_is_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table projects replica identity nothing")
        .await;
    let told = examined(&stage).await;
    let says = [
        "table public.projects has REPLICA IDENTITY NOTHING",
        "UPDATE and DELETE on it fails",
    ];
    let mend = complains(&told, "replica_identity", "fail", &says);
    assert_eq!(
        mend,
        "alter table public.projects replica identity default;"
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);

    // What the guard took out of the publication is put back by what is said of that.
    stage
        .execute("alter publication tidings drop table projects")
        .await;
    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "publication",
        "fail",
        &["table public.projects is not in it"],
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_were_taken_back_are_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    for (spoil, name, status) in [
        (
            "revoke insert on project_actions from tidings",
            "grants",
            "fail",
        ),
        (
            "revoke select on projects from tidings; revoke select (name) on projects from tidings",
            "grants",
            "warn",
        ),
        (
            "revoke select on all tables in schema tidings from tidings",
            "grants",
            "fail",
        ),
        (
            "alter publication tidings owner to postgres",
            "grants",
            "warn",
        ),
        ("alter role tidings noreplication", "role", "fail"),
        ("alter role tidings createrole", "role", "warn"),
        ("grant update on projects to tidings", "role", "warn"),
        ("alter role tidings superuser", "role", "warn"),
    ] {
        stage.execute(spoil).await;
        let told = examined(&stage).await;
        let mend = complains(&told, name, status, &["tidings"]);
        execute(&stage, &mend).await;
        all_is_well(&examined(&stage).await);
    }
    let _sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_used_up_orphaned_or_lost_are_mended_by_what_doctor_says() {
    let server = Server::builder()
        .fast()
        .setting("max_slot_wal_keep_size", "1GB");
    let mut stage = Stage::on(server.setting("max_replication_slots", "2")).await;
    let create = "select pg_create_logical_replication_slot";
    stage
        .execute(&format!("{create}('tidings_old', 'pgoutput')"))
        .await;
    stage
        .execute(&format!("{create}('other', 'pgoutput')"))
        .await;

    let told = examined(&stage).await;
    let says = [
        "2 of 2 replication slots are used",
        "nobody reads other, tidings_old",
    ];
    let mend = complains(&told, "slots_left", "fail", &says);
    execute(&stage, &mend).await;
    stage.server.restart().unwrap();
    is_well(&examined(&stage).await, "slots_left");
    stage.tidings(["setup"]).await.success();

    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "orphan_slots",
        "warn",
        &["tidings_old looks like one of an earlier"],
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);

    stage
        .execute("select pg_drop_replication_slot('tidings')")
        .await;
    let told = examined(&stage).await;
    let says = ["it was dropped", "makes a new slot by itself"];
    let mend = complains(&told, "slot", "warn", &says);
    assert!(mend.starts_with("tidings run"), "{mend}");
    stage.tidings(["setup", "--new-slot"]).await.success();
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_that_send_our_tables_are_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let version: i32 = stage
        .value("select current_setting('server_version_num')::int")
        .await;
    stage
        .execute("create publication mirror for table tidings.actions, projects")
        .await;
    stage
        .execute("create publication everything for all tables")
        .await;
    if version >= 150_000 {
        stage
            .execute("create publication ours for tables in schema tidings")
            .await;
    }
    let told = examined(&stage).await;
    let says = [
        "\"mirror\" sends our table tidings.actions",
        "\"everything\" is FOR ALL TABLES",
    ];
    let mend = complains(&told, "own_tables", "warn", &says);
    assert!(
        version < 150_000 || mend.contains("drop tables in schema"),
        "{mend}"
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);
    let sent: i64 = stage
        .value("select count(distinct pubname) from pg_publication_tables where tablename = 'projects'")
        .await;
    assert_eq!(sent, 3, "what others are sent of the worker's tables stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_hurt_are_mended_by_what_doctor_says() {
    let stage = Stage::on(
        Server::builder()
            .fast()
            .setting("wal_sender_timeout", "0")
            .setting("logical_decoding_work_mem", "64kB"),
    )
    .await;
    stage.tidings(["setup"]).await.success();
    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "retained_wal",
        "warn",
        &["max_slot_wal_keep_size is unset"],
    );
    execute(&stage, &mend).await;
    let says = ["wal_sender_timeout is 0", "logical_decoding_work_mem is"];
    let mend = complains(&told, "server_settings", "warn", &says);
    execute(&stage, &mend).await;
    eventually("all is well", async || {
        let told = examined(&stage).await;
        told["checks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["status"] == "ok")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_rules_need_and_one_that_no_action_fills_are_named() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table databases rename query_count to queries")
        .await;
    stage
        .execute("alter table project_actions add column tenant text not null")
        .await;
    let told = examined(&stage).await;
    complains(
        &told,
        "rules",
        "fail",
        &["table public.databases has no column query_count"],
    );
    let mend = complains(
        &told,
        "actions_table",
        "fail",
        &["column tenant of public.project_actions"],
    );
    assert!(
        mend.contains("alter table public.project_actions alter tenant set default"),
        "{mend}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_made_anew_is_told_by_its_lineage() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage.execute("drop publication tidings").await;
    let told = examined(&stage).await;
    complains(
        &told,
        "publication",
        "fail",
        &["publication tidings is gone"],
    );
    stage
        .execute(
            "create publication tidings for table projects, databases, deployments
             with (publish_via_partition_root = true); alter publication tidings owner to tidings",
        )
        .await;
    let told = examined(&stage).await;
    let says = ["dropped and recreated", "makes a new slot by itself"];
    let mend = complains(&told, "lineage", "warn", &says);
    assert!(mend.starts_with("tidings run"), "{mend}");
    stage.tidings(["setup", "--new-slot"]).await.success();
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_prints_its_time_and_leaves_nothing_behind() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let traces = "select concat((select count(*) from pg_replication_slots), ' ',
        (select count(*) from tidings.actions), ' ', (select count(*) from tidings.images), ' ',
        (select count(*) from tidings.quarantine), ' ', (select p::text from tidings.progress p), ' ',
        (select confirmed_flush_lsn from pg_replication_slots where slot_name = 'tidings'))";
    let before: String = stage.value(traces).await;
    let told = stage
        .tidings(["doctor", "--probe", "--json"])
        .await
        .success()
        .json();
    let probe = check(&told, "probe");
    assert_eq!(probe["status"], "ok", "{probe:#}");
    let message = text(probe, "message");
    let milliseconds = message
        .strip_prefix("a logical message came back after ")
        .and_then(|rest| rest.strip_suffix(" ms"));
    let milliseconds: f64 = milliseconds
        .unwrap_or_else(|| panic!("{message}"))
        .parse()
        .unwrap();
    assert!(milliseconds > 0.0 && milliseconds < 1000.0, "{message}");
    let after: String = stage.value(traces).await;
    assert_eq!(before, after);

    // A sidecar that runs passes the message over.
    let sidecar = stage.resume().await;
    let told = stage
        .tidings(["doctor", "--probe", "--json"])
        .await
        .success()
        .json();
    assert_eq!(check(&told, "probe")["status"], "ok");
    assert_eq!(
        stage
            .value::<i64>("select count(*) from pg_replication_slots")
            .await,
        1
    );
    stage
        .until("(select count(*) = 0 from tidings.quarantine)")
        .await;
    assert!(sidecar.terminate(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_waits_for_a_transaction_says_whose_and_leaves_no_session_behind() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let open = stage.connect().await;
    open.batch_execute("begin; insert into projects (project_id, name) values ('p', 'x')")
        .await
        .unwrap();
    let pid = open
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap();
    let pid: i32 = pid.get(0);
    let told = stage.tidings(["doctor", "--probe", "--json"]).await.json();
    let mend = complains(&told, "probe", "fail", &[&format!("process {pid}")]);
    assert!(
        mend.contains(&format!("pg_terminate_backend({pid})")),
        "{mend}"
    );
    let left = "(select count(*) = 0 from pg_stat_activity where backend_type = 'walsender')
        and (select count(*) = 1 from pg_replication_slots)";
    stage.until(left).await;
    open.batch_execute("rollback").await.unwrap();
    let told = stage
        .tidings(["doctor", "--probe", "--json"])
        .await
        .success()
        .json();
    assert_eq!(check(&told, "probe")["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_on_a_promotion_is_told_for_each_way_to_be_set_up() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let version: i32 = stage
        .value("select current_setting('server_version_num')::int")
        .await;
    let told = examined(&stage).await;
    complains(&told, "failover", "ok", &["on promotion: reconcile"]);
    if version < 170_000 {
        complains(&told, "failover", "ok", &["Postgres 17"]);
        return;
    }
    let standby = stage.server.standby("second").unwrap();
    stage
        .until("(select active from pg_replication_slots where slot_name = 'second')")
        .await;
    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "failover",
        "warn",
        &["the standby of second", "reconcile"],
    );
    execute(&stage, &mend).await;
    eventually("it will be exactly once", async || {
        let told = examined(&stage).await;
        let failover = check(&told, "failover");
        failover["status"] == "ok" && text(failover, "message").contains("exactly once")
    })
    .await;

    drop(standby);
    eventually("the stream waits for a standby that is gone", async || {
        let told = examined(&stage).await;
        let failover = check(&told, "failover");
        failover["status"] == "fail" && text(failover, "message").contains("waits for second")
    })
    .await;
    let mend = complains(&examined(&stage).await, "failover", "fail", &[]);
    execute(&stage, &mend).await;
    eventually("it is a reconcile again", async || {
        check(&examined(&stage).await, "failover")["status"] == "ok"
    })
    .await;
}
