//! Replays of the endpoints of this process: what is read for them, and how far they have come. Pure.
//!
//! The lane sends what a replay gives it, as a class of its own. One replay of an endpoint is worked off
//! at a time; it begins anew from its stored cursor, and passes what attempts tell it has sent.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use store::delivery::{AttemptRecord, AttemptResult, ReplayMove, RunningReplay};
use store::log::LoggedAction;

use super::lane::{Class, Job, Lane};

/// A replay reads on below so many that wait.
const QUEUE_LOW: usize = 64;
/// A cursor that passes what is not asked for is stored when it has come this far.
const CURSOR_STEP: i64 = 1000;
/// What of its rate a replay makes up for that could not send for a while.
const BURST: Duration = Duration::from_millis(250);

/// The replays by their endpoints.
#[derive(Debug, Default)]
pub struct Replays(HashMap<String, Replay>);

#[derive(Debug)]
pub struct Replay {
    pub running: RunningReplay,
    /// Of the lane that sends for it: with another one it begins anew.
    generation: u64,
    name: Arc<str>,
    read_to: Seq,
    /// Attempted past the cursor by whoever worked it off before.
    attempted_before: HashSet<Seq>,
    queue: VecDeque<Arc<LoggedAction>>,
    /// Queued, with the lane, or over and not yet committed.
    unsettled: BTreeSet<Seq>,
    /// When the next one may be sent.
    next_at: Option<Instant>,
    stored: Seq,
    /// A settlement says that it is done.
    done: bool,
}

impl Replays {
    pub fn get(&self, endpoint_id: &str) -> Option<&Replay> {
        self.0.get(endpoint_id)
    }

    pub fn get_mut(&mut self, endpoint_id: &str) -> Option<&mut Replay> {
        self.0.get_mut(endpoint_id)
    }

    /// The ids of those that are being worked off.
    pub fn ids(&self) -> HashSet<String> {
        self.0
            .values()
            .map(|replay| replay.running.id.clone())
            .collect()
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Forgets those that run no more, and those whose lane is another by now.
    pub fn retain(&mut self, running: &HashSet<String>, generation: impl Fn(&str) -> Option<u64>) {
        self.0.retain(|endpoint_id, replay| {
            running.contains(&replay.running.id)
                && generation(endpoint_id) == Some(replay.generation)
        });
    }

    /// Begins one, unless its endpoint has another.
    pub fn begin(&mut self, running: RunningReplay, attempted: Vec<Seq>, generation: u64) {
        self.0
            .entry(running.endpoint_id.clone())
            .or_insert_with(|| Replay {
                generation,
                name: running.id.as_str().into(),
                read_to: running.cursor,
                attempted_before: attempted.into_iter().collect(),
                queue: VecDeque::new(),
                unsettled: BTreeSet::new(),
                next_at: None,
                stored: running.cursor,
                done: false,
                running,
            });
    }

    /// What a settlement stores, given the attempts that it commits.
    pub fn moves(&mut self, attempts: &[AttemptRecord]) -> Vec<(String, ReplayMove)> {
        let mut attempted: HashMap<&str, i64> = HashMap::new();
        for record in attempts {
            let counts = record.attempt == 1 && record.result != AttemptResult::Deferred;
            let Some(id) = record.replay_id.as_deref().filter(|_| counts) else {
                continue;
            };
            *attempted.entry(id).or_default() += 1;
            if let Some(replay) = self.0.get_mut(&record.endpoint_id)
                && replay.running.id == id
            {
                replay.unsettled.remove(&record.seq);
            }
        }
        let moves = self.0.iter_mut().filter_map(|(endpoint_id, replay)| {
            let attempted = attempted
                .remove(replay.running.id.as_str())
                .unwrap_or_default();
            Some((endpoint_id.clone(), replay.moved(attempted)?))
        });
        moves.collect()
    }
}

impl Replay {
    /// The window of the log to read, where it has room.
    pub fn wants(&self) -> Option<(Seq, Seq)> {
        let until = self.running.until;
        (self.queue.len() < QUEUE_LOW && self.read_to < until).then_some((self.read_to, until))
    }

    /// Takes what was read after `after`, and up to `to`.
    pub fn feed(&mut self, after: Seq, actions: Vec<Arc<LoggedAction>>, to: Seq) {
        if self.read_to != after {
            return;
        }
        for action in actions {
            if !self.attempted_before.contains(&action.seq) {
                self.unsettled.insert(action.seq);
                self.queue.push_back(action);
            }
        }
        self.read_to = to.max(after);
    }

    /// Gives the lane as much as it has room for, and the rate allows.
    pub fn send(&mut self, lane: &mut Lane, now: Instant) {
        while lane.room_for_replays() > 0 && self.next_at.is_none_or(|at| at <= now) {
            let Some(action) = self.queue.pop_front() else {
                return;
            };
            if !lane.accepts(&action) {
                self.unsettled.remove(&action.seq);
                continue;
            }
            let job = Job {
                class: Class::Replay,
                replay: Some(self.name.clone()),
                ..Job::first(action.clone())
            };
            if !lane.push_replay(job) {
                return self.queue.push_front(action);
            }
            if let Some(rate) = self.running.per_second.filter(|rate| *rate > 0) {
                let earliest = now.checked_sub(BURST).unwrap_or(now);
                let from = self.next_at.unwrap_or(now).max(earliest);
                self.next_at = Some(from + Duration::from_secs(1) / rate);
            }
        }
    }

    fn moved(&mut self, attempted: i64) -> Option<ReplayMove> {
        if self.done {
            return None;
        }
        let first = self.unsettled.first();
        let cursor = first.map_or(self.read_to, |seq| seq.previous());
        self.done = first.is_none() && self.read_to >= self.running.until;
        let far = cursor.get() - self.stored.get() >= CURSOR_STEP;
        (attempted > 0 || self.done || far).then(|| {
            self.stored = cursor;
            ReplayMove {
                id: self.running.id.clone(),
                cursor,
                attempted,
                done: self.done,
            }
        })
    }
}
