//! The primary dies and its standby is promoted; the same process goes on there.

use scratch::Server;

use super::Tally;
use crate::{Growth, Random, Stage, Standby, Trial};

pub(super) const SYNCED_SLOTS_SINCE: u16 = 17;

/// The stream waits for the standby, so its copy of the slot leads on exactly where the last one ended.
pub(super) async fn with_the_slot(random: Random, _runs: usize) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let stage = &mut trial.stage;
    let mut standby = Standby::of(stage).await;
    standby.commits_wait(stage).await;
    standby.stream_waits(stage).await;
    let mut sidecar = stage.run().await;
    standby.until_synced(stage).await;
    standby.syncs_by_itself();
    let load = trial.load_at(&standby.url("worker")).await;
    load.until_more(60 + trial.random.below(300)).await;
    let stage = &mut trial.stage;
    let fallen = standby.take_over(stage).await;
    let moves = format!(
        "exists (select from tidings.actions where commit_lsn > '{}' and origin = 'stream')",
        fallen.branch
    );
    stage.until(&moves).await;
    tally.recovered(fallen.asked.elapsed());
    load.until_more(50).await;
    trial.close(load, tally, [&mut sidecar]).await
}

/// What the sidecar had not seen by then is found by comparing tables.
pub(super) async fn without_the_slot(mut random: Random, _runs: usize) -> Tally {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let (all, mut tally) = (stage.subscribe("all").await, Tally::default());
    let standby = Standby::of(&mut stage).await;
    let mut sidecar = stage.run().await;
    stage.until_compared().await;
    let growth = Growth::start(&stage, "g", &mut random).await;
    growth.until_more(20 + random.below(100)).await;
    sidecar.freeze();
    growth.until_more(20 + random.below(100)).await;
    let mut grown = growth.stop().await;
    standby.catches_up(&stage).await;
    let fallen = standby.take_over(&mut stage).await;
    sidecar.thaw();
    let growth = Growth::start(&stage, "h", &mut random).await;
    stage
        .until(
            "(select count(*) = 1 from tidings.gaps where until_lsn is not null)
             and (select bool_and(finished_at is not null) from tidings.reconcile)
             and (select count(*) = 1 from tidings.actions where action_type = 'capture_gap')",
        )
        .await;
    tally.recovered(fallen.asked.elapsed());
    growth.until_more(20).await;
    grown.add(growth.stop().await);
    let account = grown.audit(&stage, &all).await;
    tally.audit.add(account.audit);
    tally.unobserved = account.unobserved;
    tally.outlived(&mut sidecar);
    tally.keep(&mut stage);
    tally
}
