//! A transaction larger than what is kept in memory at once.

use std::time::Instant;

use scratch::Server;

use super::Tally;
use crate::{Audit, Random, Stage, large_transaction};

const ROWS: usize = 1_000_000;
/// What the sidecar may take of memory meanwhile.
const PEAK_BYTES_MAX: u64 = 200 << 20;

pub(super) async fn million(random: Random, _runs: usize) -> Tally {
    let mut tally = pass(random, 0).await;
    tally.runs = 1;
    tally
}

pub(super) async fn million_killed(random: Random, runs: usize) -> Tally {
    pass(random, runs).await
}

/// Without subscribers: a million deliveries would measure them.
async fn pass(mut random: Random, kills: usize) -> Tally {
    let stage = Stage::on(Server::builder().fast()).await;
    let mut sidecar = stage.run().await;
    let (sql, expected) = large_transaction(ROWS);
    stage.execute(&sql).await;
    let (mut tally, mut peak) = (Tally::default(), 0);
    for kill in 1..=kills {
        let slice = ROWS / (kills + 1);
        let seq = random.below(slice) + slice * (kill - 1);
        stage
            .until(&format!("select seq > {seq} from tidings.progress"))
            .await;
        peak = peak.max(sidecar.peak_bytes());
        sidecar.kill9().await;
        let killed = Instant::now();
        let before: i64 = stage.value("select seq from tidings.progress").await;
        sidecar = stage.resume().await;
        stage
            .until(&format!("select seq > {before} from tidings.progress"))
            .await;
        tally.recovered(killed.elapsed());
    }
    tally.audit = Audit::take(&stage, &expected, &[]).await;
    let peak = peak.max(sidecar.peak_bytes());
    tally.peak_bytes = Some(peak);
    if peak > PEAK_BYTES_MAX {
        let fault = format!("the sidecar took {} MB of memory", peak >> 20);
        tally.audit.faults.push(fault);
    }
    tally
}
