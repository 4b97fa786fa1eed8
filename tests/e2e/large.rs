//! Transactions larger than what is kept in memory at once.

use scratch::Server;
use tests::{Audit, Random, Sidecar, Stage, Trial, large_transaction};

const PEAK_BYTES_MAX: u64 = 200 << 20;
/// Changes after which the sidecar cuts a transaction.
const CUT: usize = 2048;

async fn stage() -> Stage {
    Stage::on(Server::builder().fast()).await
}

async fn until_half_done(stage: &Stage, sidecar: &Sidecar) {
    stage
        .until("select half_commit_lsn is not null from tidings.progress")
        .await;
    assert!(sidecar.peak_bytes() < PEAK_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_100_000_rows_passes_in_little_memory_each_action_once() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    let (sql, expected) = large_transaction(100_000);
    stage.execute(&sql).await;
    Audit::take(&stage, &expected, &[]).await.assert_clean();
    let peak = sidecar.peak_bytes();
    println!("peak: {} MB", peak >> 20);
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_a_large_transaction_lose_nothing_and_repeat_nothing() {
    let mut random = Random::from_environment();
    let stage = stage().await;
    let mut sidecar = stage.run().await;
    let (sql, expected) = large_transaction(60_000);
    stage.execute(&sql).await;
    for _ in 0..3 {
        until_half_done(&stage, &sidecar).await;
        let seq: i64 = stage.value("select seq from tidings.progress").await;
        let more = random.below(12_000) as i64;
        stage
            .until(&format!(
                "select seq >= least({seq} + {more}, 50000) from tidings.progress"
            ))
            .await;
        sidecar.kill9().await;
        sidecar = stage.resume().await;
    }
    Audit::take(&stage, &expected, &[]).await.assert_clean();
    stage
        .until("select half_commit_lsn is null from tidings.progress")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_ends_at_a_cut_is_followed_by_others_after_a_restart() {
    let mut trial = Trial::prepare(Server::builder().fast(), Random::new(1)).await;
    let sidecar = trial.stage.run().await;
    let (sql, mut expected) = large_transaction(3 * CUT);
    trial.stage.execute(&sql).await;
    let end: tokio_postgres::types::PgLsn = trial.stage.value("select pg_current_wal_lsn()").await;
    let confirmed = format!(
        "select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = 'tidings'"
    );
    trial.stage.until(&confirmed).await;
    sidecar.kill9().await;
    let _sidecar = trial.stage.resume().await;
    let load = trial.load().await;
    load.until_more(20).await;
    expected.extend(load.stop().await);
    trial.audit(&expected).await.assert_clean();
}
