//! A standby takes the place of a sidecar that is gone, in each way that one can be gone.

use std::time::{Duration, Instant};

use scratch::Server;

use super::{Tally, calm, until_it_moves};
use crate::{Fate, Proxy, Random, Stage, Trial};

/// What is promised from the death of the active sidecar to the actions of the next one.
const TAKEOVER_MAX: Duration = Duration::from_secs(3);
/// After this the server gives up a client that says nothing.
const SENDER_TIMEOUT: Duration = Duration::from_secs(2);
const STANDS_BY: &str =
    "(select count(*) = 1 from pg_stat_activity where application_name = 'tidings standby')";

/// On a server that notices soon that a client is gone.
async fn trial(random: Random) -> Trial {
    let timeout = format!("{}s", SENDER_TIMEOUT.as_secs());
    let server = Server::builder().fast();
    Trial::prepare(server.setting("wal_sender_timeout", timeout), random).await
}

async fn until_one_stands_by(stage: &Stage) {
    stage.until(STANDS_BY).await;
}

pub(super) async fn killed(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let mut active = trial.stage.run().await;
    let mut standby = trial.stage.second().await;
    let load = trial.load().await;
    for _ in 0..runs {
        until_one_stands_by(&trial.stage).await;
        calm(&mut trial.random).await;
        active.kill9().await;
        let killed = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(killed.elapsed());
        active = standby;
        standby = trial.stage.second().await;
    }
    tally.promise("the takeover", TAKEOVER_MAX);
    tally.outlived(&mut active);
    trial.close(load, tally).await
}

/// What was stopped goes on in the middle of whatever it did, and finds that its epoch is over.
pub(super) async fn frozen(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let mut active = trial.stage.run().await;
    let mut standby = trial.stage.second().await;
    let load = trial.load().await;
    for _ in 0..runs {
        until_one_stands_by(&trial.stage).await;
        calm(&mut trial.random).await;
        active.freeze();
        let frozen = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(frozen.elapsed());
        calm(&mut trial.random).await;
        active.thaw();
        std::mem::swap(&mut active, &mut standby);
    }
    until_one_stands_by(&trial.stage).await;
    tally.promise("the takeover", SENDER_TIMEOUT + TAKEOVER_MAX);
    tally.outlived(&mut active);
    tally.outlived(&mut standby);
    trial.close(load, tally).await
}

/// The server hears nothing of the dead one, not even that it is closed.
pub(super) async fn unreachable(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let direct = trial.stage.server.url_as("tidings", "app");
    trial.stage.tidings(["setup"]).await.success();
    let proxy = Proxy::open(&trial.stage).await;
    let load = trial.load().await;
    for _ in 0..runs {
        trial.stage.settings.set("database.url", proxy.url());
        let active = trial.stage.resume().await;
        trial.stage.settings.set("database.url", direct.clone());
        let mut standby = trial.stage.second().await;
        until_one_stands_by(&trial.stage).await;
        until_it_moves(&trial.stage, &load).await;
        calm(&mut trial.random).await;
        proxy.end(Fate::Silence);
        active.kill9().await;
        let gone = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(gone.elapsed());
        tally.outlived(&mut standby);
        standby.kill9().await;
    }
    tally.promise("the takeover", SENDER_TIMEOUT + TAKEOVER_MAX);
    let _last = trial.stage.resume().await;
    trial.close(load, tally).await
}
