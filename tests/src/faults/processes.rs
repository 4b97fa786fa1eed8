//! The sidecar's own processes die.

use std::time::Instant;

use scratch::Server;

use super::{CAPTURE, Tally, calm, owner, until_it_recovers};
use crate::{PATIENCE, Random, Trial, UNOWNED_MAX, eventually};

async fn trial(random: Random) -> Trial {
    Trial::prepare(Server::builder().fast(), random).await
}

/// Every third time before the last one has recovered.
pub(super) async fn sidecar_killed(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for run in 1..=runs {
        calm(&mut trial.random).await;
        let before = owner(&trial.stage, CAPTURE).await;
        sidecar.kill9().await;
        let killed = Instant::now();
        sidecar = trial.stage.spawn(&[]);
        if run < runs && trial.random.once_in(3) {
            tally.runs += 1;
        } else {
            until_it_recovers(&trial.stage, &load, CAPTURE, before).await;
            tally.recovered(killed.elapsed());
        }
    }
    trial.close(load, tally, [&mut sidecar]).await
}

pub(super) async fn sidecar_terminated(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for _ in 0..runs {
        calm(&mut trial.random).await;
        let before = owner(&trial.stage, CAPTURE).await;
        let told = Instant::now();
        let ended = sidecar.terminate(PATIENCE).await;
        if !ended.success() {
            tally.audit.faults.push(format!("it ended with {ended}"));
        }
        sidecar = trial.stage.spawn(&[]);
        until_it_recovers(&trial.stage, &load, CAPTURE, before).await;
        tally.recovered(told.elapsed());
    }
    let mut tally = trial.close(load, tally, [&mut sidecar]).await;
    if tally.audit.deliveries_repeated > 0 {
        let repeated = "a stop in good order has repeated deliveries".to_owned();
        tally.audit.faults.push(repeated);
    }
    tally
}

/// Beside a process that captures and lives. A recovery is over when the new one holds all shards.
pub(super) async fn deliverer_killed(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let (mut capture, mut deliverer) = trial.run_apart().await;
    let load = trial.load().await;
    for run in 1..=runs {
        calm(&mut trial.random).await;
        deliverer.kill9().await;
        let killed = Instant::now();
        let moment = trial.stage.moment().await;
        deliverer = trial.stage.spawn(&["--roles", "deliver"]);
        if run < runs && trial.random.once_in(3) {
            tally.runs += 1;
            continue;
        }
        trial.stage.until_shards_are_held_since(&moment).await;
        tally.recovered(killed.elapsed());
        // The next one dies at work.
        load.until_more(1).await;
        let before = trial.requested();
        eventually("delivery goes on", async || trial.requested() > before).await;
    }
    tally.promise("an owner of the shards", UNOWNED_MAX);
    trial
        .close(load, tally, [&mut capture, &mut deliverer])
        .await
}
