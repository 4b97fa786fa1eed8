//! `tidings replay`: what is asked for, listed and cancelled.

use jiff::Timestamp;
use scratch::Server;
use serde_json::{Value, json};
use tests::{Behaviour, PATIENCE, Receiver, Sidecar, Stage};

use crate::endpoints::refused;

async fn insert(stage: &Stage, from: i64, to: i64) {
    let sql = "insert into projects (project_id, status) select 'p' || n, 'active'";
    stage
        .execute(&format!("{sql} from generate_series({from}, {to}) n"))
        .await;
}

/// Three actions, a moment, and three more; all of them delivered.
async fn played() -> (Stage, Receiver, Timestamp, Sidecar) {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let ops = stage.subscribe("ops").await;
    let sidecar = stage.run().await;
    insert(&stage, 1, 3).await;
    ops.until(3).await;
    let between = Timestamp::now();
    insert(&stage, 4, 6).await;
    ops.until(6).await;
    stage
        .until("(select min(seq) filter (where delivered > 0) = 6 from tidings.delivery_progress)")
        .await;
    (stage, ops, between, sidecar)
}

async fn replays(stage: &Stage) -> Vec<Value> {
    let told = stage
        .tidings(["replay", "list", "--json"])
        .await
        .success()
        .json();
    told.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_asked_for_by_time_type_and_project_and_cancelled() {
    let (stage, ops, between, sidecar) = played().await;
    let between = between.to_string();
    sidecar.terminate(PATIENCE).await;
    let dry = async |more: &[&str]| {
        let arguments = ["replay", "--endpoint", "ops", "--dry-run", "--json"];
        let told = stage
            .tidings(arguments.iter().chain(more))
            .await
            .success()
            .json();
        (
            told["from_seq"].as_i64().unwrap(),
            told["until_seq"].as_i64().unwrap(),
            told["actions"].as_i64().unwrap(),
        )
    };
    assert_eq!(dry(&["--since", &between]).await, (4, 6, 3));
    assert_eq!(dry(&["--until", &between]).await, (1, 3, 3));
    assert_eq!(
        dry(&["--since", "1h", "--project", "p2,p5"]).await,
        (1, 6, 2)
    );
    assert_eq!(dry(&["--type", "project_*"]).await, (1, 6, 6));
    assert_eq!(dry(&["--type", "deployment"]).await.2, 0);
    assert_eq!(replays(&stage).await, [json!(null); 0]);

    let arguments = [
        "replay",
        "--endpoint",
        "ops",
        "--since",
        &between,
        "--rate",
        "20/s",
        "--json",
    ];
    let told = stage.tidings(arguments).await.success().json();
    let listed = replays(&stage).await;
    assert_eq!(listed.len(), 1);
    let replay = &listed[0];
    for (key, value) in [
        ("id", told["id"].clone()),
        ("endpoint", json!("ops")),
        ("state", json!("running")),
        ("cursor_seq", json!(3)),
        ("until_seq", json!(6)),
        ("per_second", json!(20)),
    ] {
        assert_eq!(replay[key], value, "{key}");
    }
    let id = told["id"].as_str().unwrap();
    let told = stage
        .tidings(["replay", "cancel", id])
        .await
        .success()
        .stdout;
    assert!(told.contains("cancelled after seq 3"), "{told}");
    assert_eq!(replays(&stage).await[0]["state"], "cancelled");
    refused(
        &stage.tidings(["replay", "cancel", id]).await,
        1,
        &["cancelled already"],
    );
    refused(
        &stage.tidings(["replay", "cancel", "rp_x"]).await,
        1,
        &["replay list"],
    );
    let text = stage
        .tidings(["replay", "list", "--endpoint", "ops"])
        .await
        .success()
        .stdout;
    assert!(
        text.contains("cancelled") && text.contains("at seq 3 of 6"),
        "{text}"
    );
    drop(ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_could_send_nothing_is_refused_with_what_to_do() {
    let (stage, _ops, _, sidecar) = played().await;
    sidecar.terminate(PATIENCE).await;
    let replay = async |more: &[&str]| {
        stage
            .tidings(["replay", "--endpoint", "ops"].iter().chain(more))
            .await
    };
    refused(&replay(&[]).await, 2, &["--since", "--failed"]);
    refused(&replay(&["--since", "x"]).await, 2, &["2h"]);
    refused(
        &replay(&["--since", "1h", "--until", "2h"]).await,
        2,
        &["after --since"],
    );
    refused(
        &replay(&["--since", "1h", "--rate", "10/m"]).await,
        2,
        &["attempts a second"],
    );
    refused(&replay(&["--type", "a*b"]).await, 2, &["a*b"]);
    refused(
        &replay(&["--type", "deployment"]).await,
        1,
        &["nothing to send"],
    );
    refused(
        &replay(&["--failed"]).await,
        1,
        &["no such dead letters", "--state dead"],
    );
    refused(
        &stage.tidings(["replay", "--since", "1h"]).await,
        2,
        &["--endpoint"],
    );
    assert_eq!(replays(&stage).await, [json!(null); 0]);
    stage
        .tidings(["endpoints", "disable", "ops"])
        .await
        .success();
    let waits = replay(&["--since", "1h"]).await.success();
    assert!(
        waits.stderr.contains("endpoints enable ops"),
        "{}",
        waits.stderr
    );
    let outcome = replay(&["--since", "1h", "--wait"]).await;
    refused(&outcome, 3, &["is disabled", "endpoints enable ops"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_has_still_before_it_is_no_part_of_a_replay() {
    let (stage, _ops, _, sidecar) = played().await;
    sidecar.terminate(PATIENCE).await;
    stage
        .execute("update tidings.endpoints set behind = true, cursor_seq = 2")
        .await;
    let arguments = ["replay", "--endpoint", "ops", "--since", "1h", "--dry-run"];
    let told = stage.tidings(arguments).await.success().stdout;
    assert!(told.contains("2 actions of seq 1 to 2"), "{told}");
    stage
        .tidings(["endpoints", "disable", "ops"])
        .await
        .success();
    let told = stage.tidings(arguments).await.success().stdout;
    assert!(told.contains("6 actions of seq 1 to 6"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_replayed_and_followed_to_their_end() {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.settings.set("webhooks.retry_schedule", vec!["100ms"]);
    let mut down = stage.subscribe("down").await;
    down.behave(Behaviour::Status(500)).await;
    let _sidecar = stage.run().await;
    insert(&stage, 1, 4).await;
    stage
        .until("(select count(*) = 4 from tidings.parked where state = 'dead')")
        .await;
    let replay = async |more: &[&str]| {
        let arguments = ["replay", "--endpoint", "down", "--failed"];
        stage.tidings(arguments.iter().chain(more)).await
    };
    let told = replay(&["--project", "p1", "--dry-run"])
        .await
        .success()
        .stdout;
    assert!(told.contains("would send 1 action "), "{told}");
    refused(
        &replay(&["--project", "p1", "--wait"]).await,
        1,
        &["1 of it failed", "--state dead"],
    );
    down.behave(Behaviour::Status(200)).await;
    let told = replay(&["--wait"]).await.success().stdout;
    assert!(told.contains("4 actions of seq 1 to 4"), "{told}");
    down.until(4).await;
    let left: i64 = stage.value("select count(*) from tidings.parked").await;
    assert_eq!(left, 0);
    assert_eq!(replays(&stage).await.len(), 2);
}
