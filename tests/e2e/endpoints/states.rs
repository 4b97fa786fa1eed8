//! Active, paused and disabled, and what each misses.

use serde_json::{Value, json};
use tests::{Receiver, Stage, eventually};

use super::{add, refused, show};

#[tokio::test(flavor = "multi_thread")]
async fn states_follow_each_other_as_they_must_and_a_refusal_names_the_command() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let ops = Receiver::open().await;
    add(&stage, "ops", &ops, &[]).await;
    let command = async |verb: &'static str| stage.tidings(["endpoints", verb, "ops"]).await;
    let state = async || {
        let shown = show(&stage, "ops").await;
        shown["state"].as_str().unwrap().to_owned()
    };
    command("resume").await.success();
    assert_eq!(state().await, "enabled");
    let paused = stage.tidings(["endpoints", "pause", "ops", "--reason", "a migration"]);
    assert!(paused.await.success().stdout.contains("waits in the log"));
    let shown = show(&stage, "ops").await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("paused"), &json!("a migration"))
    );
    refused(
        &command("enable").await,
        1,
        &["is paused", "endpoints resume ops"],
    );
    command("resume").await.success();
    assert_eq!(state().await, "enabled");
    command("disable").await.success();
    assert!(
        command("disable")
            .await
            .success()
            .stdout
            .contains("already")
    );
    refused(
        &command("pause").await,
        1,
        &["is disabled", "endpoints enable ops"],
    );
    refused(
        &command("resume").await,
        1,
        &["is disabled", "endpoints enable ops"],
    );
    stage
        .execute(
            "update tidings.endpoints set failing_since = now();
             update tidings.progress set seq = 100",
        )
        .await;
    let enabled = command("enable").await.success().stdout;
    assert!(
        enabled.contains("head of the log (after seq 100)"),
        "{enabled}"
    );
    let shown = show(&stage, "ops").await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("enabled"), &json!(null))
    );
    assert_eq!(
        (&shown["position"], &shown["failing_since"]),
        (&json!(100), &json!(null))
    );
    let told = stage.tidings(["endpoints", "pause", "ops", "--json"]).await;
    assert_eq!(told.success().json()["changed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_endpoint_misses_what_comes_and_begins_at_the_head_once_enabled() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let (ops, other) = (Receiver::open().await, Receiver::open().await);
    add(&stage, "ops", &ops, &[]).await;
    add(&stage, "other", &other, &[]).await;
    let insert = async |id: &str| {
        let sql = format!("insert into projects (project_id, status) values ('{id}', 'active')");
        stage.execute(&sql).await;
    };
    insert("a").await;
    ops.until(1).await;
    stage
        .tidings(["endpoints", "disable", "ops"])
        .await
        .success();
    // The sidecar looks at the endpoints' revision: until then it may still send.
    insert("b").await;
    other.until(2).await;
    eventually("nothing is sent any more", async || {
        let before = ops.requests().len();
        let count = other.accepted().len();
        insert(&format!("c{count}")).await;
        other.until(count + 1).await;
        ops.requests().len() == before
    })
    .await;
    let missed = other.accepted().len();
    insert("d").await;
    other.until(missed + 1).await;
    stage
        .tidings(["endpoints", "enable", "ops"])
        .await
        .success();
    insert("e").await;
    eventually("the endpoint goes on", async || {
        ops.requests().last().unwrap().json()["data"]["project_id"] == "e"
    })
    .await;
    let got: Vec<Value> = ops
        .requests()
        .iter()
        .map(|request| request.json()["data"]["project_id"].clone())
        .collect();
    assert!(!got.contains(&json!("d")), "{got:?}");
}
