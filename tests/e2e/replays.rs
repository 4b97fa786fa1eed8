//! Replays: what was sent is sent once more, whatever dies meanwhile.

use scratch::Server;
use tests::{Behaviour, Receiver, Stage};

const ACTIONS: usize = 120;
const RUNNING: &str = "(select count(*) from tidings.replays where state = 'running')";

/// Every action has been delivered.
async fn stage() -> (Stage, Receiver) {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage
        .settings
        .set("webhooks.retry_schedule", vec!["300ms"; 200])
        .set("webhooks.breaker_cooldown", "200ms")
        .set("webhooks.breaker_cooldown_max", "200ms");
    let receiver = stage.subscribe("ops").await;
    stage.tidings(["setup"]).await.success();
    (stage, receiver)
}

async fn insert(stage: &Stage) {
    stage
        .execute(&format!(
            "insert into projects (project_id, name, status)
             select 'p' || n, 'Project ' || n, 'active' from generate_series(1, {ACTIONS}) n"
        ))
        .await;
}

/// Of the whole log, at so many a second.
async fn replay(stage: &Stage, id: &str, per_second: usize) {
    stage
        .execute(&format!(
            "insert into tidings.replays (replay_id, endpoint_id, cursor_seq, until_seq, per_second)
             select '{id}', endpoint_id, 0, (select seq from tidings.progress), {per_second}
             from tidings.endpoints where name = 'ops'"
        ))
        .await;
}

fn replayed(receiver: &Receiver, id: &str) -> usize {
    let requests = receiver.requests();
    let of = requests
        .iter()
        .filter(|r| r.header("webhook-replay") == Some(id));
    of.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_outlives_kills_and_repeats_only_what_was_under_way() {
    let (stage, receiver) = stage().await;
    let mut sidecar = stage.resume().await;
    insert(&stage).await;
    receiver.until(ACTIONS).await;
    replay(&stage, "rp_1", 40).await;
    for part in 1..=3 {
        receiver.until_requested(ACTIONS + part * 25).await;
        sidecar.kill9().await;
        sidecar = stage.resume().await;
    }
    stage.until(&format!("{RUNNING} = 0")).await;
    let accepted = receiver.accepted();
    assert_eq!(accepted.len(), ACTIONS);
    assert!(
        accepted.values().all(|times| *times >= 2),
        "each once more, under its webhook-id"
    );
    let requests = receiver.requests().len();
    assert_eq!(replayed(&receiver, "rp_1"), requests - ACTIONS);
    assert!(requests <= 2 * ACTIONS + 3 * 10, "{requests} requests");
    receiver.assert_verified();
    stage
        .until(&format!(
            "(select state = 'done' and finished_at is not null and attempted = {ACTIONS}
              from tidings.replays)"
        ))
        .await;
    let of_replay = "select count(distinct seq) from tidings.attempts where replay_id = 'rp_1'";
    assert_eq!(stage.value::<i64>(of_replay).await, ACTIONS as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_an_endpoint_that_is_paused_and_its_failures_are_parked() {
    let (stage, mut receiver) = stage().await;
    let state = |state: &str| {
        format!(
            "update tidings.endpoints set state = '{state}', \
             revision = nextval('tidings.endpoint_revision')"
        )
    };
    let sidecar = stage.resume().await;
    insert(&stage).await;
    receiver.until(ACTIONS).await;
    // What is not yet stored as delivered when it is killed would come once more.
    stage
        .until(&format!(
            "(select sum(delivered) = {ACTIONS} from tidings.delivery_progress)"
        ))
        .await;
    stage.execute(&state("paused")).await;
    replay(&stage, "rp_2", 1000).await;
    sidecar.kill9().await;
    let _sidecar = stage.resume().await;
    stage
        .until(
            "(select count(*) = 64 from pg_locks where locktype = 'advisory' and objsubid = 2
                 and mode = 'ExclusiveLock' and objid < 64)",
        )
        .await;
    assert_eq!(replayed(&receiver, "rp_2"), 0);
    receiver.behave(Behaviour::Status(500)).await;
    stage.execute(&state("enabled")).await;
    stage
        .until("(select count(*) > 0 and bool_and(replay_id = 'rp_2') from tidings.parked)")
        .await;
    receiver.behave(Behaviour::Status(200)).await;
    stage.until(&format!("{RUNNING} = 0")).await;
    stage
        .until("(select count(*) = 0 from tidings.parked)")
        .await;
    assert!(receiver.accepted().values().all(|times| *times == 2));
    let later = receiver.requests().split_off(ACTIONS);
    assert!(
        later
            .iter()
            .all(|r| r.header("webhook-replay") == Some("rp_2"))
    );
}
