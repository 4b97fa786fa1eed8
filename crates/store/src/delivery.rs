//! How far delivery has got: shards, attempts, parked deliveries, replays.
//!
//! A shard is owned by an advisory lock of one session and an epoch in its row; what is settled is
//! fenced by that epoch.

mod due;
mod held;
mod replays;
mod settle;
mod shards;

use activity::{ActionId, Seq};
use jiff::Timestamp;

pub use due::{ParkedDelivery, attempted_after, due, next_due};
pub use held::{StoredHold, heads_after, holds};
pub use replays::{ReplayMove, RunningReplay, attempted_in_replay, running_replays};
pub use settle::settle;
pub use shards::{Shard, Taken, hold, members, release_shards, take_shards};

/// What one HTTP request came to, for the attempt log.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    pub at: Timestamp,
    pub seq: Seq,
    pub endpoint_id: String,
    pub action_id: ActionId,
    /// From 1.
    pub attempt: i32,
    pub result: AttemptResult,
    pub status: Option<u16>,
    pub latency_ms: f32,
    /// How the latency was spent: name lookup, connect with TLS, wait for the status. `None` where
    /// it was not.
    pub dns_ms: Option<f32>,
    pub connect_ms: Option<f32>,
    pub wait_ms: Option<f32>,
    pub address: Option<String>,
    pub error: Option<String>,
    /// What kept it from being delivered, in one word; `None` where it was.
    pub error_kind: Option<&'static str>,
    pub excerpt: Option<String>,
    /// The replay that it was made for.
    pub replay_id: Option<String>,
    /// Every action of a digest, `seq` being the first; empty for a delivery of one action.
    pub covers: Vec<Seq>,
}

/// Where the delivery goes after the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    Delivered,
    /// Waits for its next attempt.
    Parked {
        due: Timestamp,
    },
    /// No further attempt.
    Dead,
    /// The fault was our own network's, or the attempt was put off: it is not counted.
    Deferred,
}

impl AttemptResult {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Parked { .. } => "parked",
            Self::Dead => "dead",
            Self::Deferred => "deferred",
        }
    }
}

/// Where an endpoint reads the log from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMove {
    pub endpoint_id: String,
    pub cursor: Seq,
    pub behind: bool,
}

/// How far a project that is held has got, behind its failing head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMove {
    pub endpoint_id: String,
    /// Empty for actions of no project.
    pub project_id: String,
    /// `None`: it is held no longer.
    pub cursor: Option<Seq>,
    /// The delivery that everything waits for, while it is parked.
    pub head: Option<Seq>,
}

/// Since when an endpoint has had no success. Stored where that changes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streak {
    pub endpoint_id: String,
    /// `None`: the last attempt succeeded.
    pub failing_since: Option<Timestamp>,
}

/// Everything that one settle writes.
#[derive(Debug, Default)]
pub struct Settlement {
    pub attempts: Vec<AttemptRecord>,
    pub cursors: Vec<CursorMove>,
    pub held: Vec<HeldMove>,
    pub replays: Vec<ReplayMove>,
    /// Parked deliveries that the endpoint's filter refuses by now: (endpoint, seq).
    pub withdrawn: Vec<(String, Seq)>,
    /// Parked deliveries whose action is no longer in the log: dead letters.
    pub buried: Vec<(String, Seq)>,
    pub streaks: Vec<Streak>,
    /// Endpoints to disable, with the reason.
    pub disabled: Vec<(String, String)>,
    /// Every shard that any of this is of, as it is from now on, and how many were newly delivered.
    pub shards: Vec<(Shard, i64)>,
}

impl Settlement {
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
            && self.cursors.is_empty()
            && self.held.is_empty()
            && self.replays.is_empty()
            && self.withdrawn.is_empty()
            && self.buried.is_empty()
            && self.streaks.is_empty()
            && self.disabled.is_empty()
            && self.shards.is_empty()
    }
}
