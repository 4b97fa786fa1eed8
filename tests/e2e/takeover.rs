//! A sidecar that loses its place under load.

use scratch::Server;
use tests::{Random, Stage, Trial};

const OURS: &str = "usename = 'tidings' and backend_type in ('client backend', 'walsender')";
const STANDBYS: &str =
    "(select count(*) from pg_stat_activity where application_name = 'tidings standby')";
/// Moves with every transaction that writes.
const NEXT_XID: &str = "select pg_snapshot_xmax(pg_current_snapshot())::text";

async fn trial() -> Trial {
    Trial::prepare(Server::builder().fast(), Random::from_environment()).await
}

async fn ours(stage: &Stage) -> Vec<i32> {
    let pids = "coalesce(array_agg(pid order by pid), '{}')";
    stage
        .value(&format!("select {pids} from pg_stat_activity where {OURS}"))
        .await
}

async fn end(stage: &Stage, pid: i32) {
    stage
        .execute(&format!("select pg_terminate_backend({pid})"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_writes_nothing_and_takes_over_from_a_frozen_sidecar_that_then_stands_by() {
    let mut trial = trial().await;
    let active = trial.stage.run().await;
    let stage = &trial.stage;
    stage
        .until("exists (select from pg_locks where locktype = 'advisory' and objsubid = 2)")
        .await;
    let of_active = ours(stage).await;
    // The other listens on the same address, so it has no API.
    let standby = stage.spawn(&["--roles", "capture,deliver"]);
    stage.until(&format!("{STANDBYS} = 1")).await;
    let xid = settled(stage).await;
    until_asked(stage, 6).await;
    assert_eq!(stage.value::<String>(NEXT_XID).await, xid);

    let epoch = "select epoch from tidings.progress";
    let before: i64 = stage.value(epoch).await;
    let load = trial.load().await;
    load.until_more(30).await;
    active.freeze();
    let stage = &trial.stage;
    for pid in of_active {
        end(stage, pid).await;
    }
    stage
        .until(&format!("select epoch > {before} from tidings.progress"))
        .await;
    load.until_more(50).await;
    let taken: i64 = stage.value(epoch).await;
    active.thaw();
    stage.until(&format!("{STANDBYS} = 1")).await;
    load.until_more(50).await;
    assert_eq!(
        stage.value::<i64>(epoch).await,
        taken,
        "the one that was frozen stands by"
    );
    let expected = load.stop().await;
    trial.audit(&expected).await.assert_clean();
    assert!(!standby.log().contains("panicked"));
}

/// The next transaction id, once what the beginning of both sidecars writes is written.
async fn settled(stage: &Stage) -> String {
    loop {
        let before: String = stage.value(NEXT_XID).await;
        until_asked(stage, 4).await;
        if before == stage.value::<String>(NEXT_XID).await {
            return before;
        }
    }
}

/// Waits until the standby has asked this many times whether it may take over.
async fn until_asked(stage: &Stage, times: usize) {
    let asked = "(select max(query_start) from pg_stat_activity \
                 where application_name = 'tidings standby')";
    for _ in 0..times {
        let last: String = stage.value(&format!("select {asked}::text")).await;
        stage.until(&format!("{asked} > '{last}'")).await;
    }
}
