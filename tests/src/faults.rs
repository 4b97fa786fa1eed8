//! What goes wrong under load, at moments that a seed decides, and how soon it is over.

use std::time::{Duration, Instant};

use scratch::StopMode;

use crate::{Load, Random, Sidecar, Stage, Trial, eventually};

/// The most that passes between a recovery and the next fault.
const CALM_MAX_MS: usize = 400;

/// Kills the sidecar with SIGKILL this often and starts it anew each time, every third time before
/// the last one has recovered. Returns the one that runs, and how long each recovery took.
pub async fn kill_sidecars(
    stage: &Stage,
    mut sidecar: Sidecar,
    load: &Load,
    random: &mut Random,
    kills: usize,
) -> (Sidecar, Vec<Duration>) {
    let mut recoveries = Vec::new();
    for _ in 0..kills {
        calm(random).await;
        sidecar.kill9().await;
        let killed = Instant::now();
        sidecar = stage.spawn(&[]);
        if !random.once_in(3) {
            until_it_moves(stage, load).await;
            recoveries.push(killed.elapsed());
        }
    }
    until_it_moves(stage, load).await;
    (sidecar, recoveries)
}

/// When something was killed, and how long each recovery took that was waited for.
#[derive(Clone, Debug, Default)]
pub struct Kills {
    pub deaths: Vec<Instant>,
    pub recoveries: Vec<Duration>,
}

/// Kills a process that only delivers, this often, and starts it anew each time, every third time
/// before the last one holds the shards. A recovery is over when the new one holds them all. Returns
/// the one that runs.
pub async fn kill_deliverers(
    trial: &mut Trial,
    mut deliverer: Sidecar,
    load: &Load,
    times: usize,
) -> (Sidecar, Kills) {
    let mut kills = Kills::default();
    for kill in 1..=times {
        calm(&mut trial.random).await;
        deliverer.kill9().await;
        let killed = Instant::now();
        kills.deaths.push(killed);
        let stage = &trial.stage;
        let moment: String = stage.value("select clock_timestamp()::text").await;
        deliverer = stage.spawn(&["--roles", "deliver"]);
        if kill == times || !trial.random.once_in(3) {
            stage.until_shards_are_held_since(&moment).await;
            kills.recoveries.push(killed.elapsed());
            // The next one dies at work.
            load.until_more(1).await;
            let before = trial.requested();
            eventually("delivery goes on", async || trial.requested() > before).await;
        }
    }
    (deliverer, kills)
}

/// How the server goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    Restart,
    Kill9,
}

/// Takes the server away and brings it back, this often. Returns how long each recovery took, from
/// the moment that the server was up again.
pub async fn break_server(
    stage: &mut Stage,
    load: &Load,
    random: &mut Random,
    outage: Outage,
    times: usize,
) -> Vec<Duration> {
    let mut recoveries = Vec::new();
    for _ in 0..times {
        calm(random).await;
        tokio::task::block_in_place(|| take_away(stage, outage));
        let back = Instant::now();
        until_it_moves(stage, load).await;
        recoveries.push(back.elapsed());
    }
    recoveries
}

fn take_away(stage: &mut Stage, outage: Outage) {
    let server = &mut stage.server;
    let gone = match outage {
        Outage::Restart => server.stop(StopMode::Fast, Duration::from_secs(15)),
        Outage::Kill9 => server.kill9(),
    };
    gone.unwrap_or_else(|error| panic!("{outage:?}: {error:?}"));
    server.start_again().expect("the server starts again");
}

/// A moment that the seed decides.
async fn calm(random: &mut Random) {
    let pause = random.below(CALM_MAX_MS) as u64;
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Waits until actions of transactions committed from now on arrive.
async fn until_it_moves(stage: &Stage, load: &Load) {
    load.until_more(1).await;
    let seq = "(select seq from tidings.progress)";
    let mut before = None;
    eventually("capture goes on", async || {
        let now: Option<i64> = stage.try_value(&format!("select {seq}")).await.ok();
        before = before.or(now);
        now > before
    })
    .await;
}
