//! The slot keeps back no more of the worker's WAL than `capture.max_retained_wal`.

use scratch::Server;
use serde_json::Value;
use tests::{PATIENCE, Sidecar, Stage, eventually};
use tokio_postgres::Client;

const SLOTS: &str = "(select count(*) from pg_replication_slots)";
const KEPT: &str =
    "select floor(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) * 100 / 167772160)::int
                    from pg_replication_slots";
const MARKED: &str = "select count(*) from tidings.actions where action_type =";

/// Ten segments may be kept back.
async fn stage() -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage
        .settings
        .set("capture.max_retained_wal", "160MiB")
        .set("capture.commit_patience", "2s");
    stage
}

fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active');")
}

async fn status(stage: &Stage) -> Value {
    stage.tidings(["status", "--json"]).await.success().json()
}

async fn notices(stage: &Stage, kind: &str) -> i64 {
    stage.value(&format!("{MARKED} '{kind}'")).await
}

/// Keeps the writer from project_actions.
async fn block(stage: &Stage) -> Client {
    let client = stage.connect().await;
    let lock = "begin; lock table project_actions in access exclusive mode";
    client.batch_execute(lock).await.unwrap();
    client
}

/// Lets the WAL grow until the slot keeps back this share of its budget, in percent.
async fn grow_to(stage: &Stage, percent: i32) {
    while stage.value::<i32>(KEPT).await < percent {
        stage.grow_wal(1).await;
    }
}

/// What a line of the log says of the budget's share.
fn percent(line: &str) -> Option<u32> {
    let (before, _) = line.split_once(" % of what it may")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// What a sidecar saw the slot keep back when it last looked.
async fn retained(sidecar: &Sidecar) -> f64 {
    let (_, metrics) = sidecar.get("/metrics").await.expect("the API answers");
    let mut values = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("tidings_slot_retained_bytes "));
    let value = values.next().expect("the slot is measured");
    value.trim().parse().expect("a gauge is a number")
}

/// A row that can not be told of, so that nothing after it is confirmed.
async fn blocked(stage: &Stage) -> (Sidecar, Client) {
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&insert("before")).await;
    stage.until_actions(1).await;
    let lock = block(stage).await;
    stage.execute(&insert("waits")).await;
    (sidecar, lock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_passes_a_warning_and_one_notice_and_is_given_up_while_the_writer_is_blocked() {
    let stage = stage().await;
    let (sidecar, lock) = blocked(&stage).await;
    grow_to(&stage, 50).await;
    eventually("the log warns", async || {
        sidecar.log().contains("keeps back")
    })
    .await;
    let told = status(&stage).await;
    let slot = &told["slot"];
    assert_eq!(slot["budget_bytes"], 160 << 20);
    assert!(
        slot["retained_bytes"].as_i64().unwrap() >= 80 << 20,
        "{told}"
    );
    let human = stage.tidings(["status"]).await.success().stdout;
    assert!(human.contains("of 160.0 MiB of WAL"), "{human}");
    assert!(human.contains("does not keep up"), "{human}");
    assert_eq!(notices(&stage, "wal_budget").await, 0);

    grow_to(&stage, 80).await;
    stage.until(&format!("({MARKED} 'wal_budget') = 1")).await;
    assert_eq!(stage.value::<i64>(&format!("select {SLOTS}")).await, 1);

    grow_to(&stage, 100).await;
    stage.until(&format!("{SLOTS} = 0")).await;
    let given_up = "(select stop_reason like '%capture.max_retained_wal%can be written to%'
                     from tidings.progress)";
    stage.until(given_up).await;
    let told = status(&stage).await;
    assert_eq!(told["state"], "stopped");
    assert!(told["gap"]["until_lsn"].is_null(), "{told}");
    let (code, health) = sidecar.get("/readyz").await.unwrap();
    assert!(
        code == 503 && health.contains("max_retained_wal"),
        "{code} {health}"
    );
    assert!(sidecar.log().contains("it is given up"));
    stage.grow_wal(3).await;
    assert_eq!(
        stage.value::<i64>(&format!("select {SLOTS}")).await,
        0,
        "it waits until it can work"
    );

    lock.batch_execute("rollback").await.unwrap();
    stage.until_actions(2).await;
    stage.until(&format!("({MARKED} 'capture_gap') = 1")).await;
    stage.execute(&insert("afterwards")).await;
    stage.until_actions(3).await;
    let origins = "select string_agg(origin, ' ' order by seq) from tidings.actions
                   where origin <> 'notice'";
    assert_eq!(
        stage.value::<String>(origins).await,
        "stream reconciled stream"
    );
    assert_eq!(notices(&stage, "wal_budget").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_crossing_is_told_once_however_often_the_sidecar_is_started() {
    let stage = stage().await;
    let (mut sidecar, lock) = blocked(&stage).await;
    grow_to(&stage, 80).await;
    stage.until(&format!("({MARKED} 'wal_budget') = 1")).await;
    for _ in 0..2 {
        let warnings = sidecar.log().matches("keeps back").count();
        sidecar.kill9().await;
        sidecar = stage.spawn(&[]);
        eventually("it is seen again", async || {
            sidecar.log().matches("keeps back").count() > warnings
        })
        .await;
    }
    lock.batch_execute("rollback").await.unwrap();
    stage.until_actions(2).await;
    // Checkpoints log what the slot can be moved up to.
    eventually("the slot keeps little", async || {
        stage.execute("checkpoint").await;
        stage.execute(&insert("x")).await;
        stage
            .execute("delete from projects where project_id = 'x'")
            .await;
        stage
            .value::<bool>("select not wal_told from tidings.progress")
            .await
    })
    .await;
    assert_eq!(notices(&stage, "wal_budget").await, 1);
    let lock = block(&stage).await;
    stage.execute(&insert("waits too")).await;
    grow_to(&stage, 80).await;
    stage.until(&format!("({MARKED} 'wal_budget') = 2")).await;
    lock.batch_execute("rollback").await.unwrap();
    assert_eq!(notices(&stage, "capture_gap").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_grew_while_nobody_ran_is_given_up_at_the_start() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&insert("before")).await;
    stage.until_actions(1).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage.execute(&insert("unseen")).await;
    grow_to(&stage, 100).await;
    // Capture could not go on either, and gives it up all the same.
    stage.execute("alter table databases rename to other").await;
    let sidecar = stage.spawn(&[]);
    stage.until(&format!("{SLOTS} = 0")).await;
    stage.until_actions(1).await;
    stage.execute("alter table other rename to databases").await;
    stage.until_actions(2).await;
    stage.until(&format!("({MARKED} 'capture_gap') = 1")).await;
    assert!(sidecar.log().contains("it is given up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_leaves_the_slot_to_the_process_that_holds_it() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&insert("before")).await;
    stage.until_actions(1).await;
    let standby = stage.second().await;
    stage
        .until("exists (select from pg_stat_activity where application_name = 'tidings standby')")
        .await;
    sidecar.freeze();
    stage.execute(&insert("unseen")).await;
    grow_to(&stage, 100).await;
    eventually("the standby sees that it is too much", async || {
        let log = standby.log();
        let mut told = log.lines().filter(|line| line.contains("keeps back"));
        told.any(|line| percent(line) >= Some(100))
    })
    .await;
    // And looks once more, which it tells of once it has.
    let seen = retained(&standby).await;
    stage.grow_wal(1).await;
    eventually("the standby has looked again", async || {
        retained(&standby).await > seen
    })
    .await;
    assert_eq!(stage.value::<i64>(&format!("select {SLOTS}")).await, 1);
    sidecar.thaw();
    stage.until_actions(2).await;
    stage.until(&format!("({MARKED} 'capture_gap') = 1")).await;
    // The one lets go to do it, and the other may be there first.
    let given_up = |sidecar: &Sidecar| sidecar.log().matches("it is given up").count();
    assert_eq!(given_up(&standby) + given_up(&sidecar), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_nothing_is_given_up() {
    let mut stage = stage().await;
    stage.settings.set("capture.max_retained_wal", "off");
    let sidecar = stage.run().await;
    stage.until_compared().await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage.execute(&insert("seen")).await;
    stage.grow_wal(12).await;
    let _sidecar = stage.resume().await;
    stage.until_actions(1).await;
    let streamed = "select origin from tidings.actions";
    assert_eq!(stage.value::<String>(streamed).await, "stream");
}
