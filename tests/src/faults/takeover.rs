//! A standby takes the place of a sidecar that is gone, in each way that one can be gone.

use std::time::{Duration, Instant};

use scratch::Server;

use super::{CAPTURE, Tally, calm, owner, until_it_moves, until_it_recovers};
use crate::{Fate, Load, Proxy, Random, Stage, Trial};

/// What is promised from the death of the active sidecar to the actions of the next one.
const TAKEOVER_MAX: Duration = Duration::from_secs(3);
/// After this the server gives up a client that says nothing.
const SENDER_TIMEOUT: Duration = Duration::from_secs(2);
const STANDS_BY: &str =
    "(select count(*) = 1 from pg_stat_activity where application_name = 'tidings standby')";
const IS_UNREAD: &str = "(select not active from pg_replication_slots where slot_name = 'tidings')";

/// On a server that notices soon that a client is gone.
async fn trial(random: Random) -> Trial {
    let timeout = format!("{}s", SENDER_TIMEOUT.as_secs());
    let server = Server::builder().fast();
    Trial::prepare(server.setting("wal_sender_timeout", timeout), random).await
}

async fn until_one_stands_by(stage: &Stage) {
    stage.until(STANDS_BY).await;
}

/// Waits until the standby has taken the place of the one that had this number: the very next is its own.
async fn until_it_is_taken(trial: &Trial, load: &Load, before: i64, tally: &mut Tally) {
    let owner = until_it_recovers(&trial.stage, load, CAPTURE, before).await;
    if owner != before + 1 {
        let sessions = owner - before;
        tally.fault(format!("the takeover took {sessions} sessions"));
    }
}

/// What the server is not told of it notices by the time that passes, and so it must have passed.
fn took(tally: &mut Tally, gone: Instant) {
    let took = gone.elapsed();
    if took < SENDER_TIMEOUT / 2 {
        tally.fault(format!("the fault did not hit: recovered after {took:?}"));
    }
    tally.recovered(took);
}

pub(super) async fn killed(random: Random, runs: usize) -> Tally {
    let (mut trial, mut tally) = (trial(random).await, Tally::default());
    let mut active = trial.stage.run().await;
    let mut standby = trial.stage.second().await;
    let load = trial.load().await;
    for _ in 0..runs {
        until_one_stands_by(&trial.stage).await;
        calm(&mut trial.random).await;
        let before = owner(&trial.stage, CAPTURE).await;
        active.kill9().await;
        let killed = Instant::now();
        until_it_is_taken(&trial, &load, before, &mut tally).await;
        tally.recovered(killed.elapsed());
        active = standby;
        standby = trial.stage.second().await;
    }
    tally.promise("the takeover", TAKEOVER_MAX);
    trial.close(load, tally, [&mut active]).await
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
        let before = owner(&trial.stage, CAPTURE).await;
        active.freeze();
        let frozen = Instant::now();
        until_it_is_taken(&trial, &load, before, &mut tally).await;
        took(&mut tally, frozen);
        calm(&mut trial.random).await;
        active.thaw();
        std::mem::swap(&mut active, &mut standby);
    }
    until_one_stands_by(&trial.stage).await;
    tally.promise("the takeover", SENDER_TIMEOUT + TAKEOVER_MAX);
    let both = [&mut active, &mut standby];
    trial.close(load, tally, both).await
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
        let before = owner(&trial.stage, CAPTURE).await;
        proxy.end(Fate::Silence);
        active.kill9().await;
        let gone = Instant::now();
        until_it_is_taken(&trial, &load, before, &mut tally).await;
        took(&mut tally, gone);
        tally.outlived(&mut standby);
        standby.kill9().await;
        // Else the next one would be taken for it.
        trial.stage.until(IS_UNREAD).await;
    }
    tally.promise("the takeover", SENDER_TIMEOUT + TAKEOVER_MAX);
    let mut last = trial.stage.resume().await;
    trial.close(load, tally, [&mut last]).await
}
