use super::*;
use activity::{Action, Lsn};
use jiff::Timestamp;
use proptest::prelude::*;
use store::delivery::{AttemptRecord, AttemptResult};
use store::endpoints::{Digest, Rate};

mod order;

const BREAKER: BreakerSettings = BreakerSettings {
    failures: 5,
    cooldown: Duration::from_secs(30),
    cooldown_max: Duration::from_secs(600),
};
pub(in crate::deliver) const TERMS: Terms = Terms {
    in_flight: 4,
    order: Order::Parallel,
    rate: None,
    digest: None,
    breaker: BREAKER,
};

pub fn action(seq: i64) -> Arc<LoggedAction> {
    action_of("", seq, seq)
}

/// An action of a project, or of none, committed at this second.
pub(in crate::deliver) fn action_of(project: &str, seq: i64, second: i64) -> Arc<LoggedAction> {
    let action = Action {
        action_type: "deployment".to_owned(),
        project_id: (!project.is_empty()).then(|| project.to_owned()),
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
        committed_at: Timestamp::from_second(second).unwrap(),
    })
}

pub(in crate::deliver) fn endpoint() -> Arc<Endpoint> {
    let endpoint = Endpoint {
        id: "ep_1".to_owned(),
        name: "ops".to_owned(),
        url: "https://example.com/hooks".parse().unwrap(),
        credentials: webhook::Credentials::default(),
        filter: webhook::Filter::default(),
        format: webhook::Format::Full,
    };
    Arc::new(endpoint)
}

pub fn lane(cursor: i64, behind: bool) -> Lane {
    lane_with(TERMS, cursor, behind)
}

fn lane_with(terms: Terms, cursor: i64, behind: bool) -> Lane {
    let beginning = Beginning {
        cursor: Seq::new(cursor),
        behind,
        stored_behind: behind,
        ..Beginning::default()
    };
    Lane::new(endpoint(), 0, 0, terms, beginning)
}

pub fn record(job: &Job, result: AttemptResult) -> AttemptRecord {
    AttemptRecord {
        at: Timestamp::UNIX_EPOCH,
        seq: job.seq(),
        endpoint_id: "ep_1".to_owned(),
        action_id: job.action.id,
        attempt: i32::try_from(job.attempt).unwrap(),
        result,
        status: None,
        latency_ms: 0.0,
        dns_ms: None,
        connect_ms: None,
        wait_ms: None,
        address: None,
        error: None,
        error_kind: None,
        excerpt: None,
        replay_id: None,
        covers: if job.rest.is_empty() {
            Vec::new()
        } else {
            job.seqs().collect()
        },
    }
}

/// The attempt succeeds.
fn deliver(lane: &mut Lane, job: &Job) {
    let (result, verdict) = (AttemptResult::Delivered, Verdict::Delivered);
    lane.finished(job.clone(), result, verdict, Instant::now(), 0.5);
}

/// And that is committed.
fn settle(lane: &mut Lane, job: &Job) {
    lane.settled(&record(job, AttemptResult::Delivered));
}

fn seq(number: i64) -> Seq {
    Seq::new(number)
}

#[test]
fn nothing_unsettled_is_passed() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    (1..=3).for_each(|n| lane.offer(&action(n), now));
    assert_eq!(lane.settled_to(seq(3), &[]), seq(0));
    let (first, second) = (lane.next(now).unwrap(), lane.next(now).unwrap());
    deliver(&mut lane, &first);
    deliver(&mut lane, &second);
    settle(&mut lane, &second);
    assert_eq!(lane.settled_to(seq(3), &[]), seq(0));
    assert_eq!(lane.settled_to(seq(3), &[first.action.seq]), seq(2));
    settle(&mut lane, &first);
    assert_eq!(lane.settled_to(seq(3), &[]), seq(2));
    assert_eq!(lane.settled_to(seq(3), &[seq(3)]), seq(3));
}

#[test]
fn retries_and_first_attempts_each_keep_a_place() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    (10..40).for_each(|n| lane.offer(&action(n), now));
    (1..10).for_each(|n| {
        lane.push_retry(Job::retry(action(n), 1));
    });
    let jobs: Vec<Job> = std::iter::from_fn(|| lane.next(now)).collect();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().any(|job| job.attempt == 1) && jobs.iter().any(|job| job.attempt == 2));

    let mut only_retries = self::lane(0, false);
    (1..10).for_each(|n| {
        only_retries.push_retry(Job::retry(action(n), 1));
    });
    assert_eq!(std::iter::from_fn(|| only_retries.next(now)).count(), 3);
}

#[test]
fn a_full_lane_goes_behind_and_reads_on_from_what_it_had_not_begun() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    lane.offer(&action(1), now);
    let begun = lane.next(now).unwrap();
    (2..=2 + QUEUE_MAX as i64).for_each(|n| lane.offer(&action(n), now));
    assert!(!lane.is_at_head());
    assert_eq!(lane.wants_log(), Some(seq(1)));
    assert_eq!(lane.settled_to(seq(999), &[]), seq(0));
    let moved = lane.cursor_move(seq(999), seq(0), &[]).unwrap();
    assert_eq!((moved.cursor, moved.behind), (seq(0), true));
    deliver(&mut lane, &begun);
    settle(&mut lane, &begun);
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
    lane.feed(seq(5), &[action(6), action(7)], seq(7), seq(7), now);
    assert!(lane.is_at_head());
    let moved = lane.cursor_move(seq(7), seq(7), &[]);
    assert_eq!(moved, None, "nothing is settled yet");
    for _ in [6, 7] {
        let job = lane.next(now).unwrap();
        deliver(&mut lane, &job);
        settle(&mut lane, &job);
    }
    let moved = lane.cursor_move(seq(7), seq(7), &[]).unwrap();
    assert_eq!((moved.cursor, moved.behind), (seq(7), false));
}

/// A log, a dispatcher and a subscriber around one lane.
struct World {
    lane: Lane,
    log: i64,
    head: i64,
    flying: VecDeque<Job>,
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
                if let Some(job) = self.lane.next(now) {
                    self.attempted.push(job.seq());
                    self.flying.push_back(job);
                }
            }
            3 | 4 => {
                let over = if step == 3 {
                    self.flying.pop_front()
                } else {
                    self.flying.pop_back()
                };
                if let Some(over) = over {
                    deliver(&mut self.lane, &over);
                    settle(&mut self.lane, &over);
                    self.settled.insert(over.seq());
                }
            }
            _ => {
                if let Some(cursor) = self.lane.wants_log() {
                    let to = (cursor.get() + 50).min(self.log);
                    let read: Vec<_> = (cursor.get() + 1..=to).map(action).collect();
                    self.lane.feed(cursor, &read, seq(to), seq(self.head), now);
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
    lane.update(Arc::new(endpoint), TERMS, now);
    assert!(lane.next(now).is_none());
    assert_eq!(lane.settled_to(seq(3), &[]), seq(3));
}

#[test]
fn a_rate_says_when_the_next_attempt_may_be_made() {
    let rate = Some(Rate {
        attempts: 2,
        seconds: 10,
    });
    let (mut lane, now) = (lane_with(Terms { rate, ..TERMS }, 0, false), Instant::now());
    (1..=4).for_each(|n| lane.offer(&action(n), now));
    assert!(lane.next(now).is_some() && lane.next(now).is_some());
    assert!(lane.next(now).is_none());
    let at = lane.next_at(now).unwrap();
    assert_eq!(at, now + Duration::from_secs(5));
    assert!(lane.next(at).is_some() && lane.next(at).is_none());
}

#[test]
fn while_the_breaker_is_open_first_attempts_wait_in_the_log() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    (1..=9).for_each(|n| lane.offer(&action(n), now));
    let due = Timestamp::UNIX_EPOCH;
    for _ in 0..BREAKER.failures {
        let job = lane.next(now).unwrap();
        let change = lane.finished(
            job.clone(),
            AttemptResult::Parked { due },
            Verdict::Fault,
            now,
            0.5,
        );
        lane.settled(&record(&job, AttemptResult::Parked { due }));
        let opened = job.seq() == seq(BREAKER.failures.into());
        assert_eq!(change.is_some(), opened);
    }
    assert!(lane.next(now).is_none());
    assert_eq!(lane.next_at(now), Some(now + BREAKER.cooldown));
    let later = now + Duration::from_secs(29);
    lane.check_age(later, Duration::from_secs(20));
    let moved = lane.cursor_move(seq(9), seq(9), &[]).unwrap();
    assert_eq!((moved.cursor, moved.behind), (seq(5), true));
    lane.feed(seq(5), &[action(6), action(7)], seq(9), seq(9), later);
    let probe = lane.next(now + BREAKER.cooldown).unwrap();
    assert_eq!((probe.seq(), probe.attempt), (seq(6), 1));
    assert!(lane.next(now + BREAKER.cooldown).is_none(), "one probe");
}

#[test]
fn an_attempt_that_our_own_network_failed_is_made_again_and_does_not_count() {
    let (mut lane, now) = (lane(0, false), Instant::now());
    (1..=3).for_each(|n| lane.offer(&action(n), now));
    let job = lane.next(now).unwrap();
    let (result, verdict) = (AttemptResult::Deferred, Verdict::OwnNetwork);
    lane.finished(job.clone(), result, verdict, now, 0.5);
    lane.settled(&record(&job, result));
    assert_eq!(lane.settled_to(seq(3), &[]), seq(0));
    assert!(lane.next(now).is_none());
    let again = lane.next(lane.next_at(now).unwrap()).unwrap();
    assert_eq!((again.seq(), again.attempt), (seq(1), 1));
}

#[test]
fn what_was_sent_past_an_action_that_waits_is_not_sent_again_when_the_lane_goes_behind() {
    let terms = Terms {
        order: Order::Project,
        ..TERMS
    };
    let (mut lane, now) = (lane_with(terms, 0, false), Instant::now());
    for (project, n) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
        lane.offer(&action_of(project, n, n), now);
    }
    let (hangs, sent) = (lane.next(now).unwrap(), lane.next(now).unwrap());
    assert_eq!((hangs.seq(), sent.seq()), (seq(1), seq(3)));
    deliver(&mut lane, &sent);
    settle(&mut lane, &sent);
    lane.check_age(now + Duration::from_secs(21), Duration::from_secs(20));
    assert_eq!(lane.wants_log(), Some(seq(1)));
    let log = [("a", 2), ("b", 3), ("b", 4)].map(|(project, n)| action_of(project, n, n));
    lane.feed(seq(1), &log, seq(4), seq(4), now);
    assert_eq!(lane.next(now).unwrap().seq(), seq(4));
    assert!(lane.next(now).is_none());
    deliver(&mut lane, &hangs);
    assert_eq!(lane.next(now).unwrap().seq(), seq(2));
}

#[test]
fn a_digest_ends_when_it_is_full_when_it_is_over_and_by_the_clock() {
    let digest = Some(Digest {
        seconds: 60,
        actions: 3,
    });
    let (mut lane, now) = (
        lane_with(Terms { digest, ..TERMS }, 0, false),
        Instant::now(),
    );
    let told = |job: Option<Job>| job.map(|job| job.seqs().map(Seq::get).collect::<Vec<_>>());
    for (project, n, second) in [
        ("a", 1, 0),
        ("b", 2, 0),
        ("a", 3, 59),
        ("a", 4, 59),
        ("b", 5, 60),
        ("a", 6, 61),
    ] {
        lane.offer(&action_of(project, n, second), now);
    }
    let full = lane.next(now).unwrap();
    assert_eq!(told(Some(full.clone())), Some(vec![1, 3, 4]));
    assert_eq!(
        told(lane.next(now)),
        Some(vec![2]),
        "what came was too late for it"
    );
    assert_eq!(told(lane.next(now)), None);
    let at = lane.next_at(now).unwrap();
    assert_eq!(at, now + Duration::from_secs(60));
    assert_eq!(told(lane.next(at)), Some(vec![5]));
    deliver(&mut lane, &full);
    let over: Vec<Seq> = full.seqs().collect();
    let moved = lane.cursor_move(seq(6), seq(6), &over).unwrap();
    // A restart finds the digest after where it begins.
    assert_eq!((moved.cursor, moved.behind), (seq(0), true));
}
