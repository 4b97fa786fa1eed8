//! Everything ends between two messages that a process and Postgres exchange.
//!
//! What a process has done for good is what has left it, so an end between every two messages is an end
//! between every two steps, and the binary needs nothing built in for it.

use std::time::Instant;

use scratch::Server;

use super::{CAPTURE, DELIVERY, Tally, owner, until_it_recovers};
use crate::{PATIENCE, Place, Proxy, Random, Trial};

/// Messages past the end of a transaction that are held too: those of its confirm, and the beginning of the next.
const BEYOND: usize = 4;

const IS_READ: &str = "(select active from pg_replication_slots where slot_name = 'tidings')";

/// Of so many runs one ends at each of the places.
const CYCLE: usize = 8;

/// Whose transactions are broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Capture,
    Deliver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Cut,
}

pub(super) async fn commit_killed(random: Random, runs: usize) -> Tally {
    sweep(random, runs, Of::Capture, End::Kill).await
}

pub(super) async fn commit_cut(random: Random, runs: usize) -> Tally {
    sweep(random, runs, Of::Capture, End::Cut).await
}

pub(super) async fn settle_killed(random: Random, runs: usize) -> Tally {
    sweep(random, runs, Of::Deliver, End::Kill).await
}

pub(super) async fn settle_cut(random: Random, runs: usize) -> Tally {
    sweep(random, runs, Of::Deliver, End::Cut).await
}

/// Goes through a transaction from its first message to its last, evenly in so many runs. The places where it is
/// done for good are few among so many messages, so some runs wait for each.
async fn sweep(random: Random, runs: usize, of: Of, end: End) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let direct = trial.stage.server.url_as("tidings", "app");
    trial.stage.tidings(["setup"]).await.success();
    let proxy = Proxy::open(&trial.stage).await;
    let mut other = trial.stage.spawn(&["--roles", of.other()]);
    // It has read its settings by then.
    match of {
        Of::Capture => trial.stage.until_shards_are_held(&[64]).await,
        Of::Deliver => trial.stage.until(IS_READ).await,
    }
    trial.stage.settings.set("database.url", proxy.url());
    let mut process = trial.stage.spawn(&["--roles", of.role()]);
    // The subscribers are known by then, and are told of all that the load does.
    trial.stage.until_shards_are_held(&[64]).await;
    let load = trial.load().await;
    until_it_recovers(&trial.stage, &load, of.standing(), i64::MIN).await;
    let places = of.places();
    let messages = until_reached(proxy.count_messages()).await + BEYOND;
    let first = trial.random.below(messages);
    let sweeps = (0..runs).filter(|run| run % CYCLE >= places.len());
    let (sweeps, mut swept) = (sweeps.count(), 0);
    for run in 0..runs {
        let held = if let Some(place) = places.get(run % CYCLE) {
            until_reached(proxy.hold_at(*place)).await
        } else {
            let after = first + (swept * messages).div_ceil(sweeps.min(messages));
            swept += 1;
            until_reached(proxy.hold_after(after % messages)).await
        };
        let before = owner(&trial.stage, of.standing()).await;
        tally.hit(held);
        let ended = Instant::now();
        process = match end {
            End::Cut => {
                proxy.cut();
                process
            }
            End::Kill => {
                process.kill9().await;
                proxy.cut();
                trial.stage.spawn(&["--roles", of.role()])
            }
        };
        until_it_recovers(&trial.stage, &load, of.standing(), before).await;
        tally.recovered(ended.elapsed());
    }
    for place in places.iter().take(runs) {
        if !tally.hits.keys().any(|held| place.is(held)) {
            tally.fault(format!("nothing was held at {place:?}"));
        }
    }
    trial.stage.settings.set("database.url", direct);
    let both = [&mut process, &mut other];
    trial.close(load, tally, both).await
}

impl Of {
    fn role(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Deliver => "deliver",
        }
    }

    /// Whose number goes up with each of its owners, and with it what they do.
    fn standing(self) -> &'static str {
        match self {
            Self::Capture => CAPTURE,
            Self::Deliver => DELIVERY,
        }
    }

    /// Who delivers confirms nothing.
    fn places(self) -> &'static [Place] {
        match self {
            Self::Capture => &[
                Place::Commit,
                Place::Committed,
                Place::Confirm,
                Place::Confirmed,
            ],
            Self::Deliver => &[Place::Commit, Place::Committed],
        }
    }

    fn other(self) -> &'static str {
        match self {
            Self::Capture => "deliver",
            Self::Deliver => "capture",
        }
    }
}

async fn until_reached<T>(message: impl Future<Output = T>) -> T {
    let reached = tokio::time::timeout(PATIENCE, message).await;
    reached.expect("under load a transaction begins soon")
}
