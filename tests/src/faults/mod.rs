//! The fault matrix: everything that may go wrong, done to real processes under load, at moments that a
//! seed decides. `make faults` runs it long, `make test` a short cut of it.
//!
//! What is lost or there twice is counted afterwards from an account that the worker kept, which no fault
//! can falsify. A round is one stage with its own seed: the same seed draws the same faults.

mod disk;
mod failover;
mod gaps;
mod large;
mod network;
mod processes;
mod receivers;
mod server;
mod steps;
mod takeover;
mod tally;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

pub use self::tally::Tally;
use crate::{Load, Random, Stage, eventually};

/// The most that passes between a recovery and the next fault.
const CALM_MAX_MS: usize = 400;

/// One row of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    /// How often `make faults` does it.
    pub runs: usize,
    /// How often at most on one stage, before the account is taken.
    pub round: usize,
    /// How often the short cut does it.
    pub short: usize,
    play: fn(Random, usize) -> LocalBoxFuture<'static, Tally>,
}

impl Scenario {
    /// Does it so often on a stage of its own, and takes the account.
    pub async fn play(&self, seed: u64, runs: usize) -> Tally {
        (self.play)(Random::new(seed), runs).await
    }

    /// The first major of Postgres that it can be done to.
    pub fn since(&self) -> u16 {
        match self.name {
            "failover" => failover::SYNCED_SLOTS_SINCE,
            _ => 14,
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

/// `name, what: runs, round, short, function`.
macro_rules! scenarios {
    ($($name:literal, $what:literal: $runs:literal, $round:literal, $short:literal, $play:path;)*) => {
        [$(Scenario {
            name: $name,
            what: $what,
            runs: $runs,
            round: $round,
            short: $short,
            play: |random, runs| Box::pin($play(random, runs)),
        }),*]
    };
}

/// Every row, in the order of docs/faults.md.
pub static SCENARIOS: [Scenario; 28] = scenarios![
    "sidecar-killed", "the sidecar is killed (SIGKILL)": 2000, 50, 20, processes::sidecar_killed;
    "deliverer-killed", "a process that only delivers is killed": 200, 25, 20, processes::deliverer_killed;
    "sidecar-terminated", "the sidecar is told to stop and started anew": 100, 50, 4, processes::sidecar_terminated;
    "commit-killed", "killed between two messages of a commit and its confirm": 400, 100, 12, steps::commit_killed;
    "commit-cut", "its connections cut there, the process lives": 400, 100, 12, steps::commit_cut;
    "settle-killed", "a delivering process killed between two messages of a settle": 200, 50, 8, steps::settle_killed;
    "settle-cut", "its connections cut there, the process lives": 200, 50, 8, steps::settle_cut;
    "standby-takes-over", "the active sidecar is killed, a standby waits": 100, 25, 4, takeover::killed;
    "active-frozen", "the active one is stopped (SIGSTOP), replaced, and let go on": 40, 10, 2, takeover::frozen;
    "active-unreachable", "the host of the active one is gone, no connection is closed": 20, 5, 1, takeover::unreachable;
    "connections-cut", "every connection to Postgres is closed": 200, 50, 6, network::cut;
    "half-closed", "every connection is closed in one direction": 100, 25, 4, network::half_closed;
    "network-silent", "no connection carries anything any more": 12, 4, 1, network::silent;
    "network-slow", "each message is delayed by up to 2 ms, and connections are cut": 50, 25, 3, network::slow;
    "backend-terminated", "one of our sessions is ended (pg_terminate_backend)": 200, 50, 6, server::backend_terminated;
    "backend-killed", "a server process is killed, and Postgres recovers": 50, 25, 2, server::backend_killed;
    "postgres-killed", "Postgres is killed and started": 200, 25, 3, server::killed;
    "postgres-restarted", "Postgres is restarted (fast stop)": 50, 25, 3, server::restarted;
    "disk-full", "the disk of Postgres is full for a while": 12, 4, 1, disk::full;
    "slot-dropped", "the slot is dropped, of a sidecar that runs or is dead": 60, 10, 3, gaps::slot_dropped;
    "slot-invalidated", "the slot's WAL is removed (max_slot_wal_keep_size)": 20, 5, 1, gaps::slot_invalidated;
    "publication-recreated", "the publication is dropped and made again": 20, 5, 1, gaps::publication_recreated;
    "10,000-unobserved", "10,000 changes happen without a slot": 5, 1, 1, gaps::ten_thousand;
    "failover", "the primary is killed, a standby with the synced slot promoted (17+)": 20, 1, 1, failover::with_the_slot;
    "failover-without-slot", "the same where the standby has no copy of the slot": 20, 1, 1, failover::without_the_slot;
    "receiver-faults", "a subscriber fails, hangs, redirects, slows down or is gone": 100, 25, 4, receivers::misbehave;
    "large-transaction", "1,000,000 rows in a transaction": 1, 1, 0, large::million;
    "large-killed", "the sidecar is killed in the middle of it": 10, 10, 0, large::million_killed;
];

/// A moment that the seed decides.
async fn calm(random: &mut Random) {
    let pause = random.below(CALM_MAX_MS) as u64;
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Who captures, and who delivers, as a number that goes up with each session that takes it over, and how much
/// is done.
const CAPTURE: &str = "select array[epoch, seq] from tidings.progress";
const DELIVERY: &str = "select array[(select sum(epoch)::bigint from tidings.delivery_progress),
    (select count(*) from tidings.attempts)]";

/// Waits until actions of transactions committed from now on arrive.
async fn until_it_moves(stage: &Stage, load: &Load) {
    until_it_recovers(stage, load, CAPTURE, i64::MIN).await;
}

/// The number of the owner, before something happens to it.
async fn owner(stage: &Stage, of: &str) -> i64 {
    stage.value::<Vec<i64>>(of).await[0]
}

/// Waits until an owner that came after this one has done something, so that what did not hit the one before
/// is no recovery. Returns the owner's number by then.
async fn until_it_recovers(stage: &Stage, load: &Load, of: &str, before: i64) -> i64 {
    load.until_more(1).await;
    let (mut at, mut owner) = (None, before);
    eventually("it goes on, under another owner", async || {
        let Ok(now) = stage.try_value::<Vec<i64>>(of).await else {
            return false;
        };
        owner = now[0];
        if owner <= before {
            return false;
        }
        now[1] > *at.get_or_insert(now[1])
    })
    .await;
    owner
}
