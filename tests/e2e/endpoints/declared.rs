//! Endpoints that the settings declare.

use serde_json::{Value, json};
use tests::{Receiver, Stage, eventually};

use super::{add, list};

#[tokio::test(flavor = "multi_thread")]
async fn declared_endpoints_appear_change_and_vanish_with_the_settings() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let sidecar = stage.run().await;
    let by_hand = Receiver::open().await;
    add(&stage, "by hand", &by_hand, &[]).await;
    stage
        .execute("insert into projects (project_id, status) values ('p', 'active')")
        .await;
    ops.until(1).await;
    by_hand.until(1).await;
    sidecar.terminate(tests::PATIENCE).await;
    let id = list(&stage)
        .await
        .into_iter()
        .find(|e| e["name"] == "ops")
        .unwrap()["id"]
        .clone();

    // The same name is the same endpoint: another filter and receiver, where the old one left off.
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    let moved = stage.subscribe("ops").await;
    let sidecar = stage.resume().await;
    moved.until(1).await;
    moved.assert_verified();
    let ops_now = list(&stage)
        .await
        .into_iter()
        .find(|e| e["name"] == "ops")
        .unwrap();
    assert_eq!(
        (&ops_now["id"], &ops_now["origin"]),
        (&id, &json!("config"))
    );
    assert_eq!(moved.requests()[0].json()["data"]["project_id"], "q");
    by_hand.until(2).await;
    sidecar.terminate(tests::PATIENCE).await;

    stage
        .settings
        .set("endpoints", toml::Value::Array(Vec::new()));
    let _sidecar = stage.resume().await;
    stage
        .until("(select count(*) = 1 from tidings.endpoints)")
        .await;
    stage
        .execute("insert into projects (project_id, status) values ('r', 'active')")
        .await;
    by_hand.until(3).await;
    assert_eq!((ops.requests().len(), moved.requests().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_the_settings_would_change_and_changes_nothing() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let old = stage.subscribe("old").await;
    let sidecar = stage.run().await;
    stage
        .until("(select count(*) = 2 from tidings.endpoints)")
        .await;
    let plan = async |stage: &Stage| stage.tidings(["endpoints", "plan"]).await.success().stdout;
    assert!(plan(&stage).await.contains("change nothing"));

    stage
        .settings
        .set("endpoints", toml::Value::Array(Vec::new()));
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), ops.url().into());
    keys.insert("secret".to_owned(), old.secret().expose().into());
    keys.insert("rate".to_owned(), "10/s".into());
    stage.settings.endpoint("ops", keys);
    let new = stage.subscribe("new").await;
    let told = plan(&stage).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "change  ops: rate, secret",
            "add     new",
            "remove  old (with what is parked for it)",
        ]
    );
    assert!(!told.contains("whsec_"));
    let json = stage
        .tidings(["endpoints", "plan", "--json"])
        .await
        .success()
        .json();
    assert_eq!(json[0]["fields"], json!(["rate", "secret"]));
    let names = async || -> Vec<Value> {
        list(&stage)
            .await
            .into_iter()
            .map(|endpoint| endpoint["name"].clone())
            .collect()
    };
    assert_eq!(names().await, ["old", "ops"]);
    sidecar.hang_up();
    eventually("the plan is carried out", async || {
        names().await == ["new", "ops"]
    })
    .await;
    assert!(plan(&stage).await.contains("change nothing"));
    drop(new);
}
