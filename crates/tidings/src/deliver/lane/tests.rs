use super::*;
use activity::{Action, Lsn};
use jiff::Timestamp;
use proptest::prelude::*;

fn action(seq: i64) -> Arc<LoggedAction> {
    let action = Action {
        action_type: "deployment".to_owned(),
        ..Action::default()
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
        credentials: webhook::Credentials::default(),
        filter: webhook::Filter::default(),
        format: webhook::Format::Full,
    };
    let beginning = Beginning {
        cursor: Seq::new(cursor),
        behind,
        stored_behind: behind,
        settled: Vec::new(),
    };
    Lane::new(Arc::new(endpoint), 0, 0, 4, beginning)
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
        });
    });
    let jobs: Vec<Job> = std::iter::from_fn(|| lane.next()).collect();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().any(|job| job.attempt == 1) && jobs.iter().any(|job| job.attempt == 2));

    let mut only_retries = self::lane(0, false);
    (1..10).for_each(|n| {
        only_retries.push_retry(Job {
            action: action(n),
            attempt: 2,
        });
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
        let rest = std::iter::repeat_n([1, 2, 3, 2, 4, 5], 10_000).flatten();
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

#[test]
fn a_lane_that_begins_behind_its_shard_is_stored_as_behind_at_once() {
    let mut begun = lane(3, true);
    begun.stored_behind = false;
    let moved = begun.cursor_move(seq(9), seq(9), &[]).unwrap();
    assert_eq!((moved.cursor, moved.behind), (seq(3), true));
}

#[test]
fn what_the_filter_refuses_by_now_is_settled_unsent() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    (1..=3).for_each(|n| lane.offer(&action(n), now));
    let mut endpoint = Endpoint::clone(&lane.endpoint);
    endpoint.filter.projects = vec!["another".to_owned()];
    lane.endpoint = Arc::new(endpoint);
    assert!(lane.next().is_none());
    assert_eq!(lane.settled_to(seq(3), &[]), seq(3));
}
