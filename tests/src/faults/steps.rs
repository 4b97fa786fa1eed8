//! Everything ends between two messages that a process and Postgres exchange.
//!
//! What a process has done for good is what has left it, so an end between every two messages is an end
//! between every two steps, and the binary needs nothing built in for it.

use std::time::Instant;

use scratch::Server;

use super::{Tally, until_it_moves};
use crate::{Load, PATIENCE, Proxy, Random, Trial};

/// Messages past the end of a transaction that are held too: those of its confirm, and the beginning of the next.
const BEYOND: usize = 4;

/// Attempts that are committed.
const SETTLED: &str = "select count(*) from tidings.attempts";
const IS_READ: &str = "(select active from pg_replication_slots where slot_name = 'tidings')";

/// Of so many runs one ends before a confirm, and one after it.
const CONFIRM_EACH: usize = 6;

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

/// Goes through a transaction from its first message to its last, evenly in so many runs.
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
    until_it_works(&trial, &load, of).await;
    let messages = until_reached(proxy.count_messages()).await + BEYOND;
    let first = trial.random.below(messages);
    for run in 0..runs {
        let after = first + (run * messages).div_ceil(runs.min(messages));
        // Confirms are few among so many messages, so some runs wait for one.
        let next = match (of, run % CONFIRM_EACH) {
            (Of::Capture, 0) => until_reached(proxy.hold_at_confirm(false)).await,
            (Of::Capture, 1) => {
                until_reached(proxy.hold_at_confirm(true)).await;
                "whatever follows a confirm".to_owned()
            }
            _ => until_reached(proxy.hold_after(after % messages)).await,
        };
        tally.hit(next);
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
        until_it_works(&trial, &load, of).await;
        tally.recovered(ended.elapsed());
    }
    tally.outlived(&mut process);
    trial.stage.settings.set("database.url", direct);
    tally.outlived(&mut other);
    trial.close(load, tally).await
}

impl Of {
    fn role(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Deliver => "deliver",
        }
    }

    fn other(self) -> &'static str {
        match self {
            Self::Capture => "deliver",
            Self::Deliver => "capture",
        }
    }
}

async fn until_it_works(trial: &Trial, load: &Load, of: Of) {
    match of {
        Of::Capture => until_it_moves(&trial.stage, load).await,
        Of::Deliver => {
            load.until_more(1).await;
            let settled: i64 = trial.stage.value(SETTLED).await;
            trial.stage.until(&format!("({SETTLED}) > {settled}")).await;
        }
    }
}

async fn until_reached<T>(message: impl Future<Output = T>) -> T {
    let reached = tokio::time::timeout(PATIENCE, message).await;
    reached.expect("under load a transaction begins soon")
}
