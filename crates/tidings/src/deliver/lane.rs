//! The queue and limits of one endpoint. Pure: time is a parameter, sending and storing are others'.
//!
//! A lane reads the log in one of two ways. At the head, the dispatcher offers it every action. From
//! its own cursor (it is *behind*), it asks for the log itself; it rejoins the head once it has read
//! as far. An action leaves `unsettled` only when its attempt is committed, so [`Lane::settled_to`]
//! is what a restart may begin after.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use store::delivery::CursorMove;
use store::log::LoggedAction;
use webhook::{Endpoint, Subject};

/// First attempts that wait in memory; one more sends the lane behind.
const QUEUE_MAX: usize = 256;
/// A lane that reads for itself asks for more below this many.
const QUEUE_LOW: usize = 64;
/// Due retries that wait in memory.
const RETRIES_MAX: usize = 32;

#[derive(Debug)]
pub struct Lane {
    pub endpoint: Arc<Endpoint>,
    pub shard: i16,
    in_flight_max: usize,
    reading: Reading,
    /// As the database has them.
    stored_cursor: Seq,
    stored_behind: bool,
    /// Actions up to here were settled before this lane was made, or read by itself.
    skip_to: Seq,
    /// Settled past `skip_to` by whoever delivered before.
    settled_before: HashSet<Seq>,
    queue: VecDeque<Queued>,
    /// First attempts queued, under way, or over and not yet committed.
    unsettled: BTreeSet<Seq>,
    in_flight: usize,
    retries: VecDeque<Job>,
    /// Queued or under way or not yet committed.
    retrying: HashSet<Seq>,
    retries_in_flight: usize,
    retry_is_next: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    Own { read_to: Seq },
}

#[derive(Debug)]
struct Queued {
    action: Arc<LoggedAction>,
    since: Instant,
}

/// One attempt to make.
#[derive(Clone, Debug)]
pub struct Job {
    pub action: Arc<LoggedAction>,
    /// From 1.
    pub attempt: u32,
}

/// Where a lane begins.
pub struct Beginning {
    pub cursor: Seq,
    pub behind: bool,
    /// Settled past the cursor.
    pub settled: Vec<Seq>,
}

impl Lane {
    pub fn new(
        endpoint: Arc<Endpoint>,
        shard: i16,
        in_flight_max: usize,
        beginning: Beginning,
    ) -> Self {
        let Beginning {
            cursor,
            behind,
            settled,
        } = beginning;
        let reading = if behind {
            Reading::Own { read_to: cursor }
        } else {
            Reading::Head
        };
        Self {
            endpoint,
            shard,
            in_flight_max,
            reading,
            stored_cursor: cursor,
            stored_behind: behind,
            skip_to: cursor,
            settled_before: settled.into_iter().collect(),
            queue: VecDeque::new(),
            unsettled: BTreeSet::new(),
            in_flight: 0,
            retries: VecDeque::new(),
            retrying: HashSet::new(),
            retries_in_flight: 0,
            retry_is_next: false,
        }
    }

    pub fn is_at_head(&self) -> bool {
        self.reading == Reading::Head
    }

    /// Takes an action from the dispatcher. A lane that reads for itself, or that is full, does not.
    pub fn offer(&mut self, action: &Arc<LoggedAction>, now: Instant) {
        if self.is_at_head() && self.wants(action) {
            if self.queue.len() >= QUEUE_MAX {
                return self.fall_behind();
            }
            self.push(action.clone(), now);
        }
    }

    /// The cursor to read the log from, where the lane reads for itself and has room.
    pub fn wants_log(&self) -> Option<Seq> {
        match self.reading {
            Reading::Own { read_to } if self.queue.len() < QUEUE_LOW => Some(read_to),
            Reading::Own { .. } | Reading::Head => None,
        }
    }

    /// Takes what was read for it; `read_to` is how far, actions that are not for it included.
    /// `head` is the last action that the dispatcher has offered: having read as far, it rejoins.
    pub fn feed(&mut self, actions: &[Arc<LoggedAction>], read_to: Seq, head: Seq, now: Instant) {
        for action in actions {
            if self.wants(action) {
                self.push(action.clone(), now);
            }
        }
        self.skip_to = self.skip_to.max(read_to);
        self.reading = if read_to >= head {
            Reading::Head
        } else {
            Reading::Own { read_to }
        };
    }

    /// Leaves the head where the oldest action has waited for `patience`, so that its shard goes on.
    pub fn check_age(&mut self, now: Instant, patience: Duration) {
        let stale = |q: &Queued| now.saturating_duration_since(q.since) > patience;
        if self.is_at_head() && self.queue.front().is_some_and(stale) {
            self.fall_behind();
        }
    }

    /// How many due retries it can take.
    pub fn room_for_retries(&self) -> usize {
        RETRIES_MAX.saturating_sub(self.retrying.len())
    }

    /// Whether a due delivery is not on its way already.
    pub fn is_retrying(&self, seq: Seq) -> bool {
        self.retrying.contains(&seq)
    }

    pub fn push_retry(&mut self, job: Job) {
        if self.retrying.insert(job.action.seq) {
            self.retries.push_back(job);
        }
    }

    /// The next attempt to make, if the limits allow one. Retries and first attempts take turns, and
    /// each leaves a place to the other.
    pub fn next(&mut self) -> Option<Job> {
        let firsts_in_flight = self.in_flight - self.retries_in_flight;
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let reserved = self.in_flight_max - 1;
        let may_first = !self.queue.is_empty() && firsts_in_flight < reserved;
        let may_retry = !self.retries.is_empty() && self.retries_in_flight < reserved;
        let job = if may_retry && (self.retry_is_next || !may_first) {
            self.retries_in_flight += 1;
            self.retry_is_next = false;
            self.retries.pop_front()?
        } else if may_first {
            self.retry_is_next = true;
            Job {
                action: self.queue.pop_front()?.action,
                attempt: 1,
            }
        } else {
            return None;
        };
        self.in_flight += 1;
        Some(job)
    }

    /// Whether [`Lane::next`] might give something.
    pub fn has_work(&self) -> bool {
        self.in_flight < self.in_flight_max && !(self.queue.is_empty() && self.retries.is_empty())
    }

    /// An attempt is over, though not yet committed.
    pub fn finished(&mut self, attempt: u32) {
        self.in_flight -= 1;
        if attempt > 1 {
            self.retries_in_flight -= 1;
        }
    }

    /// The attempt is committed.
    pub fn settled(&mut self, seq: Seq, attempt: u32) {
        if attempt > 1 {
            self.retrying.remove(&seq);
        } else {
            self.unsettled.remove(&seq);
        }
    }

    /// Everything up to here is settled once the first attempts in `over` are committed too. `head`
    /// is the last action that the dispatcher has offered.
    pub fn settled_to(&self, head: Seq, over: &[Seq]) -> Seq {
        match (
            self.unsettled.iter().find(|seq| !over.contains(seq)),
            self.reading,
        ) {
            (Some(oldest), _) => oldest.previous(),
            (None, Reading::Own { read_to }) => read_to,
            (None, Reading::Head) => head.max(self.skip_to),
        }
    }

    /// What the next settlement must store of this lane. `shard_seq` is what it stores of the shard:
    /// a lane counts as rejoined only once it has settled as much.
    pub fn cursor_move(&self, head: Seq, shard_seq: Seq, over: &[Seq]) -> Option<CursorMove> {
        let cursor = self.settled_to(head, over);
        let behind = match self.reading {
            Reading::Own { .. } => true,
            Reading::Head => self.stored_behind && cursor < shard_seq,
        };
        let moved = behind != self.stored_behind || (behind && cursor > self.stored_cursor);
        moved.then(|| CursorMove {
            endpoint_id: self.endpoint.id.clone(),
            cursor,
            behind,
        })
    }

    pub fn cursor_stored(&mut self, moved: &CursorMove) {
        self.stored_cursor = self.stored_cursor.max(moved.cursor);
        self.stored_behind = moved.behind;
    }

    fn wants(&self, action: &LoggedAction) -> bool {
        action.seq > self.skip_to
            && !self.settled_before.contains(&action.seq)
            && self.endpoint.filter.matches(&Subject::from(&action.action))
    }

    fn push(&mut self, action: Arc<LoggedAction>, now: Instant) {
        self.unsettled.insert(action.seq);
        self.queue.push_back(Queued { action, since: now });
    }

    /// Gives back what waits: it is read again from the log. What is under way stays unsettled.
    fn fall_behind(&mut self) {
        let Some(first) = self.queue.front().map(|q| q.action.seq) else {
            return;
        };
        for queued in self.queue.drain(..) {
            self.unsettled.remove(&queued.action.seq);
        }
        self.skip_to = first.previous();
        self.reading = Reading::Own {
            read_to: first.previous(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::{Action, Lsn};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn action(seq: i64) -> Arc<LoggedAction> {
        let action = Action {
            project_id: None,
            user_id: None,
            request_id: None,
            action_type: "deployment".to_owned(),
            action_details: None,
            status: None,
            environment: None,
            reference_ids: None,
            cost_usd: None,
            data: serde_json::Map::new(),
        };
        let begin = activity::Begin {
            commit_lsn: Lsn::new(seq.unsigned_abs()),
            commit_time: Timestamp::UNIX_EPOCH,
            xid: activity::Xid(3),
        };
        let position = activity::Position {
            lsn: begin.commit_lsn,
            index: 0,
        };
        let identity = activity::Identity {
            system_id: "7",
            begin: &begin,
            position,
            rule: "r",
            ordinal: 0,
        };
        Arc::new(LoggedAction {
            seq: Seq::new(seq),
            id: activity::ActionId::of(&identity),
            action,
            created_at: 0,
            committed_at: Timestamp::UNIX_EPOCH,
        })
    }

    fn lane(cursor: i64, behind: bool) -> Lane {
        let endpoint = Endpoint {
            id: "ep_1".to_owned(),
            name: "ops".to_owned(),
            url: "https://example.com/hooks".parse().unwrap(),
            secrets: Vec::new(),
            filter: webhook::Filter::default(),
        };
        let beginning = Beginning {
            cursor: Seq::new(cursor),
            behind,
            settled: Vec::new(),
        };
        Lane::new(Arc::new(endpoint), 0, 4, beginning)
    }

    fn seq(number: i64) -> Seq {
        Seq::new(number)
    }

    #[test]
    fn nothing_unsettled_is_passed() {
        let (mut lane, now) = (lane(0, false), Instant::now());
        (1..=3).for_each(|n| lane.offer(&action(n), now));
        assert_eq!(lane.settled_to(seq(3), &[]), seq(0));
        let (first, second) = (lane.next().unwrap(), lane.next().unwrap());
        lane.finished(1);
        lane.finished(1);
        lane.settled(second.action.seq, 1);
        assert_eq!(lane.settled_to(seq(3), &[]), seq(0));
        assert_eq!(lane.settled_to(seq(3), &[first.action.seq]), seq(2));
        lane.settled(first.action.seq, 1);
        assert_eq!(lane.settled_to(seq(3), &[]), seq(2));
        assert_eq!(lane.settled_to(seq(3), &[seq(3)]), seq(3));
    }

    #[test]
    fn retries_and_first_attempts_each_keep_a_place() {
        let (mut lane, now) = (lane(0, false), Instant::now());
        (10..40).for_each(|n| lane.offer(&action(n), now));
        (1..10).for_each(|n| {
            lane.push_retry(Job {
                action: action(n),
                attempt: 2,
            })
        });
        let jobs: Vec<Job> = std::iter::from_fn(|| lane.next()).collect();
        assert_eq!(jobs.len(), 4);
        assert!(jobs.iter().any(|job| job.attempt == 1) && jobs.iter().any(|job| job.attempt == 2));

        let mut only_retries = self::lane(0, false);
        (1..10).for_each(|n| {
            only_retries.push_retry(Job {
                action: action(n),
                attempt: 2,
            })
        });
        assert_eq!(std::iter::from_fn(|| only_retries.next()).count(), 3);
    }

    #[test]
    fn a_full_lane_goes_behind_and_reads_on_from_what_it_had_not_begun() {
        let (mut lane, now) = (lane(0, false), Instant::now());
        lane.offer(&action(1), now);
        let begun = lane.next().unwrap();
        (2..=2 + QUEUE_MAX as i64).for_each(|n| lane.offer(&action(n), now));
        assert!(!lane.is_at_head());
        assert_eq!(lane.wants_log(), Some(seq(1)));
        assert_eq!(lane.settled_to(seq(999), &[]), seq(0));
        let moved = lane.cursor_move(seq(999), seq(0), &[]).unwrap();
        assert_eq!((moved.cursor, moved.behind), (seq(0), true));
        lane.finished(1);
        lane.settled(begun.action.seq, 1);
        assert_eq!(lane.settled_to(seq(999), &[]), seq(1));
    }

    #[test]
    fn a_waiting_action_does_not_hold_its_shard_for_ever() {
        let (mut lane, now) = (lane(0, false), Instant::now());
        lane.offer(&action(1), now);
        lane.check_age(now + Duration::from_secs(20), Duration::from_secs(20));
        assert!(lane.is_at_head());
        lane.check_age(now + Duration::from_secs(21), Duration::from_secs(20));
        assert_eq!(lane.wants_log(), Some(seq(0)));
    }

    #[test]
    fn a_lane_counts_as_rejoined_once_it_has_settled_as_much_as_its_shard() {
        let (mut lane, now) = (lane(5, true), Instant::now());
        lane.feed(&[action(6), action(7)], seq(7), seq(7), now);
        assert!(lane.is_at_head());
        let moved = lane.cursor_move(seq(7), seq(7), &[]);
        assert_eq!(moved, None, "nothing is settled yet");
        for number in [6, 7] {
            lane.next().unwrap();
            lane.finished(1);
            lane.settled(seq(number), 1);
        }
        let moved = lane.cursor_move(seq(7), seq(7), &[]).unwrap();
        assert_eq!((moved.cursor, moved.behind), (seq(7), false));
    }

    /// A log, a dispatcher and a subscriber around one lane.
    struct World {
        lane: Lane,
        log: i64,
        head: i64,
        flying: VecDeque<Seq>,
        attempted: Vec<Seq>,
        settled: BTreeSet<Seq>,
        checked: i64,
    }

    impl World {
        fn step(&mut self, step: u8) {
            let now = Instant::now();
            match step {
                0 => self.log += 40,
                1 => {
                    while self.head < self.log {
                        self.head += 1;
                        self.lane.offer(&action(self.head), now);
                    }
                }
                2 => {
                    if let Some(job) = self.lane.next() {
                        self.attempted.push(job.action.seq);
                        self.flying.push_back(job.action.seq);
                    }
                }
                3 | 4 => {
                    let over = if step == 3 {
                        self.flying.pop_front()
                    } else {
                        self.flying.pop_back()
                    };
                    if let Some(over) = over {
                        self.lane.finished(1);
                        self.lane.settled(over, 1);
                        self.settled.insert(over);
                    }
                }
                _ => {
                    if let Some(cursor) = self.lane.wants_log() {
                        let to = (cursor.get() + 50).min(self.log);
                        let read: Vec<_> = (cursor.get() + 1..=to).map(action).collect();
                        self.lane.feed(&read, seq(to), seq(self.head), now);
                    }
                }
            }
        }

        /// The first action that the cursor passes though it is not settled.
        fn passed(&mut self) -> Option<i64> {
            let to = self
                .lane
                .settled_to(seq(self.head), &[])
                .get()
                .min(self.log);
            let wrong = (self.checked + 1..=to).find(|n| !self.settled.contains(&seq(*n)));
            self.checked = self.checked.max(to);
            wrong
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_action_is_attempted_once_and_none_is_passed_before_it_is_settled(
            steps in prop::collection::vec(0..6u8, 50..200),
        ) {
            let mut world = World {
                lane: lane(0, true),
                log: 0,
                head: 0,
                flying: VecDeque::new(),
                attempted: Vec::new(),
                settled: BTreeSet::new(),
                checked: 0,
            };
            for step in steps {
                world.step(step);
                prop_assert_eq!(world.passed(), None);
            }
            let rest = std::iter::repeat([1, 2, 3, 2, 4, 5]).take(10_000).flatten();
            for step in rest {
                world.step(step);
                prop_assert_eq!(world.passed(), None);
                if world.settled.len() as i64 == world.log {
                    break;
                }
            }
            world.attempted.sort_unstable();
            let every: Vec<Seq> = (1..=world.log).map(seq).collect();
            prop_assert_eq!(world.attempted, every);
        }
    }
}
