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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::lane::Verdict;
    use crate::deliver::lane::tests::{action, lane, record};
    use proptest::prelude::*;

    const UNTIL: i64 = 60;

    fn running(cursor: Seq, per_second: Option<u32>) -> RunningReplay {
        RunningReplay {
            id: "rp_1".to_owned(),
            endpoint_id: "ep_1".to_owned(),
            types: Vec::new(),
            projects: Vec::new(),
            cursor,
            until: Seq::new(UNTIL),
            per_second,
        }
    }

    fn begun(cursor: Seq, attempted: Vec<Seq>, per_second: Option<u32>) -> Replays {
        let mut replays = Replays::default();
        replays.begin(running(cursor, per_second), attempted, 0);
        replays
    }

    fn read(replay: &mut Replay, count: i64) {
        if let Some((after, until)) = replay.wants() {
            let to = Seq::new(until.get().min(after.get() + count));
            let actions = (after.get() + 1..=to.get()).map(action).collect();
            replay.feed(after, actions, to);
        }
    }

    fn of_replay(job: &Job, result: AttemptResult) -> AttemptRecord {
        AttemptRecord {
            replay_id: job.replay.as_deref().map(str::to_owned),
            ..record(job, result)
        }
    }

    #[test]
    fn a_replay_gives_its_lane_no_more_than_its_rate() {
        let (mut replays, mut lane) = (begun(Seq::ZERO, Vec::new(), Some(10)), lane(0, false));
        let replay = replays.get_mut("ep_1").unwrap();
        read(replay, UNTIL);
        let begun = Instant::now();
        let mut given = 0;
        for tenth in 0..20 {
            let room = lane.room_for_replays();
            replay.send(&mut lane, begun + Duration::from_millis(100) * tenth);
            given += room - lane.room_for_replays();
        }
        // What it makes up for included.
        assert!((20..=23).contains(&given), "{given}");
    }

    proptest! {
        /// Restarted at any moment from what was stored: every action is attempted, once more only where
        /// it was on its way, and it is done only then.
        #[test]
        fn a_replay_attempts_everything_and_repeats_what_was_under_way_alone(
            steps in prop::collection::vec((0_u8..6, 1_i64..20), 0..200),
        ) {
            let (mut stored, mut attempted): (Seq, Vec<Seq>) = (Seq::ZERO, Vec::new());
            let (mut counted, mut done) = (0, false);
            let mut repeated = HashSet::new();
            let mut replays = begun(stored, Vec::new(), None);
            let (mut lane, now) = (lane(0, false), Instant::now());
            let mut under_way: Vec<Job> = Vec::new();
            let mut over: Vec<AttemptRecord> = Vec::new();
            // A lane of four places gives a replay one of them.
            let end = (0..1000_u16).map(|n| ((n % 4) as u8, 20));
            for (step, count) in steps.into_iter().chain(end) {
                let Some(replay) = replays.get_mut("ep_1") else { break };
                match step {
                    0 => read(replay, count),
                    1 => {
                        replay.send(&mut lane, now);
                        while let Some(job) = lane.next(now) {
                            under_way.push(job);
                        }
                    }
                    2 => for job in under_way.drain(..) {
                        over.push(of_replay(&job, AttemptResult::Delivered));
                        lane.finished(job, AttemptResult::Delivered, Verdict::Delivered, now, 0.5);
                    },
                    3 | 4 => {
                        for (_, moved) in replays.moves(&over) {
                            prop_assert!(!done, "nothing comes after the end");
                            stored = stored.max(moved.cursor);
                            counted += moved.attempted;
                            done |= moved.done;
                        }
                        for record in over.drain(..) {
                            let again = attempted.contains(&record.seq);
                            prop_assert!(!again || repeated.contains(&record.seq));
                            attempted.push(record.seq);
                            lane.settled(&record);
                        }
                        prop_assert!((1..=stored.get()).all(|n| attempted.contains(&Seq::new(n))));
                    }
                    _ => {
                        repeated.extend(under_way.drain(..).map(|job| job.seq()));
                        repeated.extend(over.drain(..).map(|record| record.seq));
                        let past = attempted.iter().filter(|seq| **seq > stored);
                        replays = begun(stored, past.copied().collect(), None);
                        lane = crate::deliver::lane::tests::lane(0, false);
                        if done {
                            break;
                        }
                    }
                }
            }
            prop_assert!(done, "up to {stored}");
            prop_assert_eq!(stored, Seq::new(UNTIL));
            prop_assert_eq!(counted, attempted.len() as i64);
        }
    }
}
