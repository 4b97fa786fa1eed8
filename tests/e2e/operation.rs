//! What an operator sees and does: `status`, `uninstall`.

use serde_json::{Value, json};
use tests::Stage;

const INSERT: &str = "insert into projects (project_id, name, status) values ('p', 'x', 'active')";

/// An object's keys, in order.
#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("{value} is no object"));
    object.keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_shape(status: &Value) {
    let top = [
        "state",
        "moves",
        "reason",
        "standbys",
        "slot",
        "gap",
        "progress",
        "actions",
        "deliveries",
        "endpoints",
        "quarantine",
        "reconcile",
        "rules",
        "rules_error",
    ];
    assert_eq!(keys(status), top);
    let slot = [
        "name",
        "wal_status",
        "lag_bytes",
        "lag_seconds",
        "silent_seconds",
        "retained_bytes",
        "safe_bytes",
        "budget_bytes",
        "budget_percent",
    ];
    assert_eq!(keys(&status["slot"]), slot);
    assert_eq!(keys(&status["progress"]), ["commit_lsn", "end_lsn", "seq"]);
    assert_eq!(
        keys(&status["deliveries"]),
        ["delivered", "parked", "behind", "dead"]
    );
    assert_eq!(
        keys(&status["endpoints"]),
        ["enabled", "paused", "disabled"]
    );
    for rule in status["rules"].as_array().unwrap() {
        assert_eq!(keys(rule), ["name", "state", "reason"]);
    }
    assert_eq!(status["rules"].as_array().unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_has_its_shape_before_during_and_after_a_run() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    stage.tidings(["setup"]).await.success();
    let before = stage.tidings(["status", "--json"]).await.success().json();
    assert_shape(&before);
    assert_eq!(before["state"], "stopped");
    assert!(
        before["reason"].as_str().unwrap().contains("tidings run"),
        "{before}"
    );
    assert_eq!(before["actions"], 0);
    assert_eq!(
        (&before["slot"]["name"], &before["slot"]["wal_status"]),
        (&json!("tidings"), &json!("reserved"))
    );

    let sidecar = stage.resume().await;
    stage.execute(INSERT).await;
    ops.until(1).await;
    stage
        .until("(select sum(delivered) = 1 from tidings.delivery_progress)")
        .await;
    let during = stage.tidings(["status", "--json"]).await.success().json();
    assert_shape(&during);
    assert_eq!(
        (&during["state"], &during["reason"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(
        (&during["actions"], &during["progress"]["seq"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        during["deliveries"],
        json!({"delivered": 1, "parked": 0, "behind": 0, "dead": 0})
    );
    assert!(
        during["slot"]["lag_bytes"].is_i64() && during["slot"]["lag_seconds"].is_number(),
        "{during}"
    );
    assert_eq!(during["quarantine"], 0);
    let lsn = during["progress"]["end_lsn"].as_str().unwrap();
    assert!(
        stage
            .value::<bool>(&format!("select '{lsn}'::pg_lsn > '0/0'"))
            .await
    );
    let names: Vec<&str> = during["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"reference/project_created"), "{names:?}");
    assert!(
        during["rules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| r["state"] == "ok")
    );

    sidecar.kill9().await;
    stage
        .until("(select not active from pg_replication_slots)")
        .await;
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    let after = stage.tidings(["status", "--json"]).await.success().json();
    assert_shape(&after);
    assert_eq!(
        (&after["state"], &after["actions"]),
        (&json!("stopped"), &json!(1))
    );
    assert!(after["slot"]["lag_bytes"].as_i64().unwrap() > 0, "{after}");
    let human = stage.tidings(["status"]).await.success().stdout;
    assert!(
        human.contains("stopped") && human.contains("1 delivered"),
        "{human}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_which_deliveries_wait_and_which_are_dead() {
    let mut stage = Stage::start().await;
    let mut ops = stage.subscribe("ops").await;
    ops.behave(tests::Behaviour::Status(500)).await;
    stage.settings.set("webhooks.retry_schedule", vec!["50ms"]);
    let sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage
        .until("exists (select from tidings.parked where state = 'dead')")
        .await;
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["deliveries"]["dead"], 1, "{status}");
    drop(sidecar);
    stage.settings.set("webhooks.retry_schedule", vec!["1h"]);
    let _sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    stage
        .until("exists (select from tidings.parked where state = 'parked')")
        .await;
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(
        status["deliveries"],
        json!({"delivered": 0, "parked": 1, "behind": 0, "dead": 1})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_takes_everything_but_project_actions() {
    let stage = Stage::start().await;
    let sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    let refused = stage.tidings(["uninstall", "--yes"]).await;
    assert_eq!(refused.code(), 3);
    assert!(
        refused.stderr.contains("stop `tidings run` first"),
        "{}",
        refused.stderr
    );
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    stage.until_actions(2).await;
    sidecar.terminate(tests::PATIENCE).await;

    let unsure = stage.tidings(["uninstall"]).await;
    assert_eq!(unsure.code(), 3, "nobody answers, so nothing is dropped");
    let left =
        "select (select count(*) from pg_replication_slots) + (select count(*) from pg_publication)
                + (select count(*) from pg_namespace where nspname = 'tidings')";
    assert_eq!(stage.value::<i64>(left).await, 3);
    stage.tidings(["uninstall", "--yes"]).await.success();
    assert_eq!(stage.value::<i64>(left).await, 0);
    assert_eq!(stage.actions().await.len(), 2);
    // Again, where nothing is left, and from the beginning.
    stage.tidings(["uninstall", "--yes"]).await.success();
    let _sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, status) values ('r', 'active')")
        .await;
    stage.until_actions(3).await;
}
