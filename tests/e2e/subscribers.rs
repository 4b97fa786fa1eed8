//! Subscribers that misbehave, each in its way, beside one that does not.

use futures_util::FutureExt;
use scratch::Server;
use tests::{Behaviour, PATIENCE, Receiver, Stage, eventually};
use tokio::net::TcpListener;

const RESIDENT_BYTES_MAX: u64 = 120 << 20;

async fn stage() -> Stage {
    Stage::on(Server::builder().fast()).await
}

/// Each row is an action.
async fn insert(stage: &Stage, from: usize, to: usize) {
    let sql = "insert into projects (project_id, name, status) select 'p' || n, 'Project ' || n, 'active'";
    stage
        .execute(&format!("{sql} from generate_series({from}, {to}) n"))
        .await;
}

/// How many rows of the endpoint's are there.
fn count(table: &str, endpoint: &str, and: &str) -> String {
    format!(
        "(select count(*) from tidings.{table} t join tidings.endpoints using (endpoint_id) \
         where name = '{endpoint}' and {and})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaving_subscribers_hold_up_neither_the_others_nor_the_wal() {
    const ACTIONS: usize = 600;
    let mut stage = stage().await;
    stage
        .settings
        .set("webhooks.timeout", "30s")
        .set("webhooks.breaker_failures", 10 * ACTIONS as i64)
        .set("webhooks.retry_schedule", vec!["30s", "60s"]);
    let good = stage.subscribe("good").await;
    let target = Receiver::open().await;
    let mut bad = Vec::new();
    for (name, behaviour) in [
        ("hangs", Behaviour::Hang),
        ("refuses", Behaviour::Refuse),
        ("fails", Behaviour::Status(500)),
        ("redirects", Behaviour::Redirect(target.url())),
        ("endless", Behaviour::Endless),
    ] {
        let mut receiver = stage.subscribe(name).await;
        receiver.behave(behaviour).await;
        bad.push(receiver);
    }
    let sidecar = stage.run().await;
    for n in 0..ACTIONS / 20 {
        insert(&stage, n * 20 + 1, n * 20 + 20).await;
    }
    good.until(ACTIONS).await;
    let hanging = &bad[0];
    hanging.until_requested(1).await;
    let end: tokio_postgres::types::PgLsn = stage.value("select pg_current_wal_lsn()").await;
    stage
        .until(&format!(
            "(select confirmed_flush_lsn >= '{end}' from pg_replication_slots)"
        ))
        .await;
    let in_transaction = "(select count(*) from pg_stat_activity where usename = 'tidings' \
                          and backend_type = 'client backend' and xact_start is not null)";
    stage.until(&format!("{in_transaction} = 0")).await;
    let attempted: i64 = stage
        .value(&format!("select {}", count("attempts", "hangs", "true")))
        .await;
    assert_eq!(attempted, 0, "the requests hang still");
    for name in ["refuses", "fails", "redirects"] {
        stage
            .until(&format!(
                "{} = {ACTIONS}",
                count("parked", name, "t.state = 'parked'")
            ))
            .await;
        let scheduled = "due_at - attempted_at - make_interval(secs => latency_ms / 1000) \
                         between interval '27 s' and interval '33.5 s'";
        let off = format!(
            "select count(*) from tidings.parked p join tidings.attempts a using (endpoint_id, seq) \
             where p.attempts = 1 and a.attempt = 1 and not ({scheduled})"
        );
        assert_eq!(stage.value::<i64>(&off).await, 0);
    }
    // Its status is a success, whatever comes after.
    bad[4].until(ACTIONS).await;
    assert_eq!(target.requests().len(), 0);
    good.assert_verified();
    assert_eq!(good.accepted().values().sum::<usize>(), ACTIONS);
    let resident = sidecar.resident_bytes();
    println!(
        "resident: {} MB, peak: {} MB",
        resident >> 20,
        sidecar.peak_bytes() >> 20
    );
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_delivered_once_the_subscriber_recovers() {
    const ACTIONS: usize = 40;
    let mut stage = stage().await;
    stage
        .settings
        .set("webhooks.timeout", "1s")
        .set("webhooks.breaker_cooldown", "500ms")
        .set("webhooks.breaker_cooldown_max", "1s")
        .set("webhooks.retry_schedule", vec!["500ms"; 100]);
    let mut bad = Vec::new();
    for (name, behaviour) in [
        ("hangs", Behaviour::Hang),
        ("refuses", Behaviour::Refuse),
        ("fails", Behaviour::Status(503)),
        (
            "redirects",
            Behaviour::Redirect("http://127.0.0.1:1/".to_owned()),
        ),
    ] {
        let mut receiver = stage.subscribe(name).await;
        receiver.behave(behaviour).await;
        bad.push((name, receiver));
    }
    let _sidecar = stage.run().await;
    insert(&stage, 1, ACTIONS).await;
    for (name, receiver) in &mut bad {
        stage
            .until(&format!("{} > 0", count("parked", name, "attempts > 1")))
            .await;
        receiver.behave(Behaviour::Status(200)).await;
    }
    for (name, receiver) in &bad {
        receiver.until(ACTIONS).await;
        stage
            .until(&format!("{} = 0", count("parked", name, "true")))
            .await;
        receiver.assert_verified();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_fails_through_the_whole_schedule_is_a_dead_letter() {
    let mut stage = stage().await;
    stage
        .settings
        .set("webhooks.breaker_failures", 1000)
        .set("webhooks.retry_schedule", vec!["100ms", "100ms"]);
    let mut receiver = stage.subscribe("fails").await;
    receiver.behave(Behaviour::Status(500)).await;
    let _sidecar = stage.run().await;
    insert(&stage, 1, 5).await;
    stage
        .until(&format!(
            "{} = 5",
            count("parked", "fails", "t.state = 'dead' and attempts = 3")
        ))
        .await;
    receiver.behave(Behaviour::Status(200)).await;
    insert(&stage, 6, 6).await;
    receiver.until(1).await;
    assert_eq!(receiver.requests().len(), 5 * 3 + 1);
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["deliveries"]["dead"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_410_is_disabled() {
    let mut stage = stage().await;
    let good = stage.subscribe("good").await;
    let mut gone = stage.subscribe("gone").await;
    gone.behave(Behaviour::Status(410)).await;
    let _sidecar = stage.run().await;
    insert(&stage, 1, 1).await;
    stage
        .until("select state = 'disabled' from tidings.endpoints where name = 'gone'")
        .await;
    let listed = stage
        .tidings(["endpoints", "list", "--json"])
        .await
        .success()
        .json();
    let listed = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "gone")
        .unwrap()
        .clone();
    assert!(
        listed["reason"].as_str().unwrap().contains("410"),
        "{listed}"
    );
    // Read anew by the sidecar before long; from then on nothing is sent there.
    eventually("the endpoint is left alone", async || {
        let (before, next) = (gone.requests().len(), good.accepted().len() + 1);
        insert(&stage, 1000 + next, 1000 + next).await;
        good.until(next).await;
        gone.requests().len() == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_address_is_refused_when_added() {
    let mut stage = stage().await;
    stage.tidings(["setup"]).await.success();
    stage
        .settings
        .set("webhooks.allow_networks", Vec::<String>::new());
    for url in [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/hooks",
        "http://10.0.0.1/hooks",
        "https://[::ffff:127.0.0.1]/hooks",
        "http://example.com/hooks",
    ] {
        let added = stage
            .tidings(["endpoints", "add", "--name", "x", "--url", url])
            .await;
        assert_eq!(added.code(), 2, "{url}: {}", added.stderr);
    }
    // The metadata service's address is blocked whatever is allowed.
    stage
        .settings
        .set("webhooks.allow_networks", vec!["0.0.0.0/0"]);
    let url = "http://169.254.169.254/latest/meta-data";
    let added = stage
        .tidings(["endpoints", "add", "--name", "x", "--url", url])
        .await;
    assert_eq!(added.code(), 2, "{}", added.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_address_is_never_connected_to() {
    let mut stage = stage().await;
    stage.tidings(["setup"]).await.success();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Allowed when it was added, and not any more; by address, and by a name that leads there.
    for (name, url) in [
        ("address", format!("https://127.0.0.1:{port}/")),
        ("name", format!("https://localhost:{port}/")),
    ] {
        stage
            .tidings(["endpoints", "add", "--name", name, "--url", &url])
            .await
            .success();
    }
    stage
        .settings
        .set("webhooks.allow_networks", Vec::<String>::new());
    let sidecar = stage.resume().await;
    insert(&stage, 1, 3).await;
    for name in ["address", "name"] {
        stage
            .until(&format!(
                "{} = 3",
                count("parked", name, "t.state = 'parked'")
            ))
            .await;
    }
    assert!(
        listener.accept().now_or_never().is_none(),
        "somebody connected"
    );
    assert!(sidecar.terminate(PATIENCE).await.success());
}
