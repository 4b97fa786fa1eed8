//! What an endpoint may ask for: a rate, an order, less for a while; and what its failures put off.

use std::collections::BTreeMap;
use std::time::Duration;

use scratch::Server;
use tests::{Behaviour, Receiver, Stage};

/// A sidecar that is set up, with the retries of a test.
async fn stage(retries: &str) -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage
        .settings
        // After a kill, lanes in order wait until what was under way must be over.
        .set("webhooks.timeout", "1s")
        .set("webhooks.retry_schedule", vec![retries; 500])
        .set("webhooks.breaker_failures", 1000);
    stage.tidings(["setup"]).await.success();
    stage
}

/// An endpoint with these options, JSON, that outlives a restart of the sidecar.
async fn endpoint(stage: &Stage, options: &str) -> Receiver {
    let receiver = Receiver::open().await;
    let (url, secret) = (receiver.url(), receiver.secret().expose());
    let add = [
        "endpoints",
        "add",
        "--name",
        "ops",
        "--url",
        &url,
        "--secret",
        &secret,
    ];
    stage.tidings(add).await.success();
    stage
        .execute(&format!(
            "update tidings.endpoints set options = '{options}',
               revision = nextval('tidings.endpoint_revision') where name = 'ops'"
        ))
        .await;
    receiver
}

/// One action each, of these projects in turn.
async fn deploy(stage: &Stage, projects: &[&str], from: usize, to: usize) {
    let count = projects.len();
    let projects = projects.join(",");
    stage
        .execute(&format!(
            "insert into deployments (deployment_id, project_id, platform, status)
             select 'd' || n, (string_to_array('{projects}', ','))[1 + n % {count}], 'fly.io', 'success'
             from generate_series({from}, {to}) n"
        ))
        .await;
}

async fn count(stage: &Stage, from: &str) -> i64 {
    stage
        .value(&format!("select count(*) from tidings.{from}"))
        .await
}

/// What was accepted of each project, each once, in the order of its first time.
fn told(receiver: &Receiver) -> BTreeMap<String, Vec<i64>> {
    let mut told: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for request in receiver
        .requests()
        .iter()
        .filter(|request| request.accepted)
    {
        let data = &request.json()["data"];
        let seq = data["seq"].as_i64().unwrap();
        let of_project = told
            .entry(data["project_id"].as_str().unwrap().to_owned())
            .or_default();
        if !of_project.contains(&seq) {
            of_project.push(seq);
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_and_uses_up_no_attempt() {
    const ACTIONS: usize = 20;
    let stage = stage("10m").await;
    let receiver = endpoint(&stage, r#"{"rate": {"attempts": 5, "seconds": 1}}"#).await;
    let _sidecar = stage.resume().await;
    deploy(&stage, &["a"], 1, ACTIONS).await;
    receiver.until(ACTIONS).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), ACTIONS);
    for (n, request) in requests.iter().enumerate().skip(5) {
        let earliest = Duration::from_millis(200) * (n as u32 - 4);
        // The first one may have taken a while to arrive.
        let after = request.at - requests[0].at + Duration::from_millis(150);
        assert!(after >= earliest, "request {n} came after {after:?}");
    }
    stage
        .until(&format!(
            "(select count(*) = {ACTIONS} from tidings.attempts where attempt = 1)"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_only_fails_is_probed_now_and_then_and_gets_the_rest_once_it_is_well() {
    const ACTIONS: usize = 40;
    let mut stage = stage("10m").await;
    stage
        .settings
        .set("webhooks.breaker_failures", 3)
        .set("webhooks.breaker_cooldown", "500ms")
        .set("webhooks.breaker_cooldown_max", "1s");
    let mut receiver = endpoint(&stage, r#"{"in_flight": 1}"#).await;
    receiver.behave(Behaviour::Status(500)).await;
    let _sidecar = stage.resume().await;
    deploy(&stage, &["a"], 1, ACTIONS).await;
    receiver.until_requested(6).await;
    receiver.behave(Behaviour::Status(200)).await;
    let failed = receiver.requests().len();
    receiver.until(ACTIONS - failed).await;
    let at: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| request.at)
        .collect();
    for (probe, cooldown) in [(3, 500), (4, 1000), (5, 1000)] {
        let pause = at[probe] - at[probe - 1];
        let shortest = Duration::from_millis(cooldown) * 9 / 10;
        assert!(pause >= shortest, "probe {probe} came after {pause:?}");
    }
    // What waited had no attempt: each was sent once, and only what was sent in vain is parked.
    stage
        .until(&format!(
            "(select count(*) = {ACTIONS} from tidings.attempts)"
        ))
        .await;
    assert_eq!(count(&stage, "attempts where attempt > 1").await, 0);
    assert_eq!(count(&stage, "parked").await, failed as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_holds_the_whole_lane() {
    let stage = stage("100ms").await;
    let mut receiver = endpoint(&stage, r#"{"in_flight": 1}"#).await;
    let asked = Behaviour::RetryAfter(429, "2".to_owned());
    receiver.behave(asked).await;
    let _sidecar = stage.resume().await;
    deploy(&stage, &["a", "b"], 1, 10).await;
    receiver.until_requested(1).await;
    receiver.behave(Behaviour::Status(200)).await;
    receiver.until(10).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 11);
    let pause = requests[1].at - requests[0].at;
    assert!(
        pause >= Duration::from_secs(2),
        "the next came after {pause:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_delivery_holds_its_project_and_no_other_through_kills() {
    const ACTIONS: usize = 60;
    let stage = stage("200ms").await;
    let mut receiver = endpoint(&stage, r#"{"order": "project"}"#).await;
    let fails = Behaviour::Pick(r#""project_id":"b""#.to_owned(), 500);
    receiver.behave(fails).await;
    let mut sidecar = stage.resume().await;
    for n in 0..3 {
        deploy(&stage, &["a", "b", "c"], n * 20 + 1, n * 20 + 20).await;
        receiver.until_requested(n * 14 + 1).await;
        sidecar.kill9().await;
        sidecar = stage.resume().await;
    }
    receiver.until(ACTIONS - ACTIONS / 3).await;
    stage.until("(select count(*) = 1 from tidings.held)").await;
    stage
        .until("(select count(*) = 1 from tidings.parked)")
        .await;
    let of_b =
        |request: &&std::sync::Arc<tests::Request>| request.json()["data"]["project_id"] == "b";
    let requests = receiver.requests();
    let tried: Vec<&str> = requests
        .iter()
        .filter(of_b)
        .map(|request| request.id())
        .collect();
    assert!(
        tried.iter().all(|id| *id == tried[0]),
        "only the head is tried"
    );
    receiver.behave(Behaviour::Status(200)).await;
    receiver.until(ACTIONS / 2).await;
    sidecar.kill9().await;
    let _sidecar = stage.resume().await;
    receiver.until(ACTIONS).await;
    let told = told(&receiver);
    assert_eq!(told.len(), 3);
    assert!(
        told.values()
            .all(|seqs| seqs.len() == ACTIONS / 3 && seqs.is_sorted()),
        "{told:?}"
    );
    stage.until("(select count(*) = 0 from tidings.held)").await;
    stage
        .until("(select count(*) = 0 from tidings.parked)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_in_order_gets_everything_in_order_through_failures_and_kills() {
    const ACTIONS: usize = 40;
    let stage = stage("200ms").await;
    let mut receiver = endpoint(&stage, r#"{"order": "endpoint"}"#).await;
    let mut sidecar = stage.resume().await;
    for n in 0..4 {
        receiver.behave(Behaviour::Status(503)).await;
        let requested = receiver.requests().len();
        deploy(&stage, &["a", "b"], n * 10 + 1, n * 10 + 10).await;
        // Twice in vain.
        receiver.until_requested(requested + 2).await;
        sidecar.kill9().await;
        receiver.behave(Behaviour::Status(200)).await;
        sidecar = stage.resume().await;
        receiver.until(n * 10 + 3).await;
    }
    receiver.until(ACTIONS).await;
    let mut accepted = Vec::new();
    for request in receiver
        .requests()
        .iter()
        .filter(|request| request.accepted)
    {
        let seq = request.json()["data"]["seq"].as_i64().unwrap();
        if !accepted.contains(&seq) {
            accepted.push(seq);
        }
    }
    assert_eq!(accepted.len(), ACTIONS);
    assert!(accepted.is_sorted(), "{accepted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_tells_of_a_projects_actions_at_once_and_is_retried_as_one() {
    let stage = stage("200ms").await;
    let options = r#"{"digest": {"seconds": 2, "actions": 5}}"#;
    let mut receiver = endpoint(&stage, options).await;
    receiver.behave(Behaviour::Status(500)).await;
    let sidecar = stage.resume().await;
    // Of seven actions of a, five are a digest at once and two when their time is over; b has three.
    deploy(&stage, &["a"], 1, 7).await;
    deploy(&stage, &["b"], 8, 10).await;
    stage
        .until("(select count(*) = 3 and sum(cardinality(covers)) = 10 from tidings.parked)")
        .await;
    let head = "(select max(cursor_seq) >= 10 from tidings.endpoints where behind)";
    stage.until(head).await;
    sidecar.kill9().await;
    receiver.behave(Behaviour::Status(200)).await;
    let _sidecar = stage.resume().await;
    receiver.until(3).await;
    stage
        .until("(select count(*) = 0 from tidings.parked)")
        .await;
    let requests = receiver.requests();
    let mut digests: Vec<(String, u64)> = requests
        .iter()
        .filter(|request| request.accepted)
        .map(|request| {
            let body = request.json();
            assert_eq!(body["type"], "digest");
            let data = &body["data"];
            let actions = data["actions"].as_array().unwrap();
            let id = |place: usize| actions[place]["action_id"].as_str().unwrap();
            let ends = format!("digest:{}:{}", id(0), id(actions.len() - 1));
            assert_eq!(request.id(), ends);
            let project = data["project_id"].as_str().unwrap().to_owned();
            (project, data["count"].as_u64().unwrap())
        })
        .collect();
    digests.sort();
    let expected = [("a", 2), ("a", 5), ("b", 3)];
    assert_eq!(
        digests,
        expected.map(|(project, count)| (project.to_owned(), count))
    );
    receiver.assert_verified();
}
