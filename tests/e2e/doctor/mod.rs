//! `tidings doctor`: what is not well is named with what mends it, and that does mend it.

mod mended;
mod probe;

use scratch::Server;
use serde_json::Value;
use tests::{Stage, eventually};

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
    let (advice, statements) = mend.split_once('\n').unwrap();
    assert!(advice.starts_with("-- start that standby"), "{mend}");
    execute(&stage, &statements.replace("-- ", "")).await;
    eventually("it is a reconcile again", async || {
        check(&examined(&stage).await, "failover")["status"] == "ok"
    })
    .await;
}
