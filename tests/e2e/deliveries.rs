//! `tidings deliveries`: what became of each, and what failed tried again.

use scratch::Server;
use serde_json::{Value, json};
use tests::{Behaviour, Receiver, Stage};

use crate::endpoints::refused;

/// Two endpoints: one that takes everything, and one that fails until it is told otherwise. Five
/// actions: dead at the second.
async fn played() -> (Stage, Receiver, Receiver, tests::Sidecar) {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.settings.set("webhooks.retry_schedule", vec!["100ms"]);
    // What fails here is not put off.
    stage.settings.set("webhooks.breaker_failures", 1000);
    let good = stage.subscribe("good").await;
    let mut down = stage.subscribe("down").await;
    down.behave(Behaviour::Status(500)).await;
    let sidecar = stage.run().await;
    stage
        .execute(
            "insert into projects (project_id, status) select 'p' || n, 'active'
             from generate_series(1, 5) n",
        )
        .await;
    good.until(5).await;
    stage
        .until("(select count(*) = 5 from tidings.parked where state = 'dead')")
        .await;
    stage
        .until("(select count(*) = 15 from tidings.attempts)")
        .await;
    (stage, good, down, sidecar)
}

async fn list(stage: &Stage, more: &[&str]) -> (Vec<Value>, Option<String>) {
    let arguments = ["deliveries", "list", "--json"].iter().chain(more);
    let told = stage.tidings(arguments).await.success().json();
    let deliveries = told["deliveries"].as_array().unwrap().clone();
    (deliveries, told["next"].as_str().map(str::to_owned))
}

fn seqs(deliveries: &[Value]) -> Vec<i64> {
    deliveries
        .iter()
        .map(|delivery| delivery["seq"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_by_state_endpoint_project_type_and_time_page_by_page() {
    let (stage, _good, _down, _sidecar) = played().await;
    let (all, next) = list(&stage, &[]).await;
    assert_eq!((all.len(), next), (10, None));
    let (dead, _) = list(&stage, &["--state", "dead"]).await;
    assert_eq!(seqs(&dead), [5, 4, 3, 2, 1]);
    let first = &dead[0];
    assert_eq!(
        (
            &first["endpoint"],
            &first["attempts"],
            &first["error"],
            &first["type"]
        ),
        (
            &json!("down"),
            &json!(2),
            &json!("status 500"),
            &json!("project_created")
        )
    );
    let (delivered, _) = list(&stage, &["--state", "delivered"]).await;
    assert_eq!(seqs(&delivered), [5, 4, 3, 2, 1]);
    assert_eq!(
        (&delivered[0]["endpoint"], &delivered[0]["status"]),
        (&json!("good"), &json!(200))
    );
    assert_eq!(
        list(&stage, &["--state", "parked"]).await.0,
        [json!(null); 0]
    );
    let (of, _) = list(&stage, &["--endpoint", "down", "--project", "p2,p3"]).await;
    assert_eq!(seqs(&of), [3, 2]);
    let (of, _) = list(&stage, &["--endpoint", "down", "--type", "project_*"]).await;
    assert_eq!(of.len(), 5);
    assert_eq!(list(&stage, &["--type", "deployment"]).await.0.len(), 0);
    assert_eq!(list(&stage, &["--since", "1h"]).await.0.len(), 10);
    assert_eq!(list(&stage, &["--until", "1h"]).await.0.len(), 0);
    assert_eq!(
        list(&stage, &["--since", "2000-01-01", "--until", "2100-01-01"])
            .await
            .0
            .len(),
        10
    );

    let mut paged: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut more = vec!["--limit", "3"];
        if let Some(after) = &after {
            more.extend(["--after", after.as_str()]);
        }
        let (page, next) = list(&stage, &more).await;
        assert!(page.len() <= 3);
        paged.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let text = stage
        .tidings(["deliveries", "list", "--limit", "1"])
        .await
        .success()
        .stdout;
    assert!(
        text.contains("project_created of p5") && text.contains("--after 5."),
        "{text}"
    );
    refused(
        &stage.tidings(["deliveries", "list", "--after", "x"]).await,
        2,
        &["--after"],
    );
    refused(
        &stage.tidings(["deliveries", "list", "--since", "x"]).await,
        2,
        &["2h"],
    );
    refused(
        &stage
            .tidings(["deliveries", "list", "--endpoint", "nobody"])
            .await,
        1,
        &["no endpoint named", "endpoints list"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_tells_every_attempt_and_what_it_waits_for() {
    let (stage, good, _down, _sidecar) = played().await;
    let id = good.requests()[0].id().to_owned();
    let shown = stage
        .tidings(["deliveries", "show", &id, "--json"])
        .await
        .success()
        .json();
    let seq = shown["seq"].as_i64().unwrap().to_string();
    let by_seq = stage
        .tidings(["deliveries", "show", &seq, "--json"])
        .await
        .success()
        .json();
    assert_eq!(shown, by_seq);
    assert_eq!(shown["action_id"], id);
    let deliveries = shown["deliveries"].as_array().unwrap();
    let of = |name: &str| {
        deliveries
            .iter()
            .find(|delivery| delivery["endpoint"] == name)
            .unwrap()
    };
    assert_eq!(of("good")["state"], "delivered");
    let down = of("down");
    assert_eq!(
        (&down["state"], &down["due_at"]),
        (&json!("dead"), &json!(null))
    );
    let attempts = down["attempts"].as_array().unwrap();
    assert_eq!(
        (&attempts[0]["attempt"], &attempts[1]["attempt"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(attempts[1]["status"], 500);
    let arguments = ["deliveries", "show", &seq, "--endpoint", "down"];
    let text = stage.tidings(arguments).await.success().stdout;
    assert!(
        text.contains("down: dead") && text.contains("status 500"),
        "{text}"
    );
    assert!(!text.contains("good"), "{text}");
    for unknown in ["-not-an-id-----------", "4711"] {
        refused(
            &stage.tidings(["deliveries", "show", unknown]).await,
            1,
            &["no action", "deliveries list"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_tried_again_on_request_and_arrive() {
    let (stage, _good, mut down, sidecar) = played().await;
    let schedule = "attempts after 100 ms; gives up after 100 ms";
    assert!(sidecar.log().contains(schedule), "told at the start");
    refused(
        &stage.tidings(["deliveries", "retry"]).await,
        2,
        &["--state dead"],
    );
    down.behave(Behaviour::Status(200)).await;
    let told = stage
        .tidings(["deliveries", "retry", "2", "--json"])
        .await
        .success()
        .json();
    assert_eq!(told, json!({"due": 1, "missing": []}));
    down.until(1).await;
    assert_eq!(down.requests().last().unwrap().json()["data"]["seq"], 2);
    let arguments = [
        "deliveries",
        "retry",
        "--endpoint",
        "down",
        "--state",
        "dead",
    ];
    let told = stage.tidings(arguments).await.success().stdout;
    assert!(told.contains("4 deliveries are due now"), "{told}");
    down.until(5).await;
    stage
        .until("(select count(*) = 0 from tidings.parked)")
        .await;
    let outcome = stage.tidings(["deliveries", "retry", "3"]).await;
    refused(
        &outcome,
        1,
        &["neither parked nor dead", "3", "tidings replay"],
    );
}
