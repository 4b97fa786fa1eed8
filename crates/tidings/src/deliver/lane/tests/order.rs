//! A log, a database, a dispatcher and a moody subscriber around one lane that keeps an order.

use std::collections::BTreeMap;

use super::*;

const PROJECTS: [&str; 3] = ["a", "b", ""];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Actions of these projects are committed.
    Append([usize; 3]),
    Offer,
    Send,
    /// The outcome of an attempt under way, the oldest or the newest.
    Outcome {
        oldest: bool,
        mood: Mood,
    },
    Settle,
    ReadBehind {
        limit: i64,
    },
    ReadHeld {
        limit: i64,
    },
    /// Parked deliveries are due.
    Due,
    /// An action waits for too long.
    Age,
    /// The process dies; another goes on from what is stored.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Failing,
    /// As failing, through the whole schedule.
    GivenUp,
    NetworkDown,
}

/// What the tables hold.
#[derive(Clone, Debug, Default)]
struct Stored {
    shard_seq: Seq,
    cursor: Seq,
    behind: bool,
    attempted: BTreeSet<Seq>,
    parked: BTreeMap<Seq, u32>,
    holds: BTreeMap<String, (Seq, Option<Seq>)>,
}

struct World {
    order: Order,
    lane: Lane,
    log: Vec<Arc<LoggedAction>>,
    stored: Stored,
    head: Seq,
    flying: VecDeque<Job>,
    done: Vec<(Job, AttemptResult)>,
    /// What the subscriber accepted or we gave up, by key, each once, in the order of its first time.
    through: BTreeMap<String, Vec<Seq>>,
    now: Instant,
}

impl World {
    fn new(order: Order) -> Self {
        let stored = Stored {
            behind: true,
            ..Stored::default()
        };
        Self {
            order,
            lane: begin(order, &stored, Seq::ZERO),
            log: Vec::new(),
            stored,
            head: Seq::ZERO,
            flying: VecDeque::new(),
            done: Vec::new(),
            through: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    fn newest(&self) -> Seq {
        seq(self.log.len() as i64)
    }

    /// What must be kept in order.
    fn key(&self, action: &LoggedAction) -> String {
        match self.order {
            Order::Endpoint => String::new(),
            Order::Parallel | Order::Project => project(action).to_owned(),
        }
    }

    fn after(&self, after: Seq, limit: i64) -> (Vec<Arc<LoggedAction>>, Seq) {
        let to = (after.get() + limit)
            .min(self.newest().get())
            .max(after.get());
        let range = after.get() as usize..to as usize;
        (self.log.get(range).unwrap_or_default().to_vec(), seq(to))
    }

    fn step(&mut self, step: Step) {
        // The limits open by themselves.
        self.now += Duration::from_secs(1000);
        let now = self.now;
        match step {
            Step::Append(projects) => {
                for project in projects {
                    let next = self.newest().next().get();
                    self.log.push(action_of(PROJECTS[project], next, next));
                }
            }
            Step::Offer => {
                let (actions, _) = self.after(self.head, 20);
                for action in actions {
                    self.head = action.seq;
                    self.lane.offer(&action, now);
                }
            }
            Step::Send => {
                if let Some(job) = self.lane.next(now) {
                    assert!(
                        !self
                            .flying
                            .iter()
                            .any(|other| { self.key(&other.action) == self.key(&job.action) }),
                        "one of a key at a time"
                    );
                    self.flying.push_back(job);
                }
            }
            Step::Outcome { oldest, mood } => {
                let job = if oldest {
                    self.flying.pop_front()
                } else {
                    self.flying.pop_back()
                };
                if let Some(job) = job {
                    self.outcome(job, mood);
                }
            }
            Step::Settle => self.settle(),
            Step::ReadBehind { limit } => {
                if let Some(after) = self.lane.wants_log() {
                    let (actions, read_to) = self.after(after, limit);
                    self.lane.feed(after, &actions, read_to, self.head, now);
                }
            }
            Step::ReadHeld { limit } => {
                let wanted = self.lane.wants_held();
                if let Some((held, after)) = wanted.map(|(held, after)| (held.to_owned(), after)) {
                    let (actions, read_to) = self.after(after, limit);
                    let actions: Vec<_> = actions
                        .into_iter()
                        .filter(|action| project(action) == held)
                        .collect();
                    self.lane
                        .feed_held(&held, after, &actions, read_to, self.head);
                }
            }
            Step::Due => {
                for (due, attempts) in &self.stored.parked {
                    if self.lane.room_for_retries() > 0 {
                        let (action, _) = self.after(due.previous(), 1);
                        self.lane
                            .push_retry(Job::retry(action[0].clone(), *attempts));
                    }
                }
            }
            Step::Age => self.lane.check_age(now, Duration::ZERO),
            Step::Restart => {
                self.flying.clear();
                self.done.clear();
                self.head = self.stored.shard_seq;
                self.lane = begin(self.order, &self.stored, self.head);
            }
        }
    }

    fn outcome(&mut self, job: Job, mood: Mood) {
        let due = Timestamp::UNIX_EPOCH;
        let (result, verdict) = match mood {
            Mood::Well => (AttemptResult::Delivered, Verdict::Delivered),
            Mood::Failing => (AttemptResult::Parked { due }, Verdict::Fault),
            Mood::GivenUp => (AttemptResult::Dead, Verdict::Fault),
            Mood::NetworkDown => (AttemptResult::Deferred, Verdict::OwnNetwork),
        };
        if matches!(mood, Mood::Well | Mood::GivenUp) {
            let key = self.key(&job.action);
            let through = self.through.entry(key).or_default();
            if !through.contains(&job.seq()) {
                through.push(job.seq());
            }
        }
        self.lane
            .finished(job.clone(), result, verdict, self.now, 0.5);
        self.done.push((job, result));
    }

    /// As the session does it: one settlement of what is over and how far the lane has come.
    fn settle(&mut self) {
        let done = std::mem::take(&mut self.done);
        let mut over: Vec<Seq> = done
            .iter()
            .filter(|(job, result)| job.attempt == 1 && *result != AttemptResult::Deferred)
            .map(|(job, _)| job.seq())
            .collect();
        over.sort_unstable();
        if self.lane.counts_for_shard() {
            let to = self.lane.settled_to(self.head, &over);
            self.stored.shard_seq = self.stored.shard_seq.max(to);
        }
        let moved = self
            .lane
            .cursor_move(self.head, self.stored.shard_seq, &over);
        let held = self.lane.held_moves(&over);
        for (job, result) in &done {
            self.lane.settled(&record(job, *result));
            if *result != AttemptResult::Deferred {
                self.stored.attempted.insert(job.seq());
            }
            match result {
                AttemptResult::Parked { .. } => {
                    self.stored.parked.insert(job.seq(), job.attempt);
                }
                AttemptResult::Delivered | AttemptResult::Dead => {
                    self.stored.parked.remove(&job.seq());
                }
                AttemptResult::Deferred => {}
            }
        }
        if let Some(moved) = moved {
            self.stored.cursor = self.stored.cursor.max(moved.cursor);
            self.stored.behind = moved.behind;
            self.lane.cursor_stored(&moved);
        }
        for moved in held {
            match moved.cursor {
                Some(cursor) => {
                    let state = (cursor, moved.head);
                    self.stored.holds.insert(moved.project_id.clone(), state);
                }
                None => {
                    self.stored.holds.remove(&moved.project_id);
                }
            }
            self.lane.held_stored(&moved);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (key, through) in &self.through {
            prop_assert!(
                through.is_sorted(),
                "out of order in {:?}: {:?}",
                key,
                through
            );
            let expected = self.log.iter().filter(|action| self.key(action) == *key);
            let expected = expected.map(|action| action.seq).take(through.len());
            prop_assert!(expected.eq(through.iter().copied()), "skipped in {:?}", key);
        }
        Ok(())
    }
}

fn begin(order: Order, stored: &Stored, head: Seq) -> Lane {
    let cursor = if stored.behind {
        stored.cursor
    } else {
        stored.cursor.max(stored.shard_seq)
    };
    let beginning = Beginning {
        cursor,
        behind: stored.behind || cursor < head,
        stored_behind: stored.behind,
        settled: stored.attempted.range(cursor.next()..).copied().collect(),
        heads: stored.parked.range(cursor..).map(|(seq, _)| *seq).collect(),
        holds: stored
            .holds
            .iter()
            .map(|(project, (cursor, head))| StoredHold {
                project: project.clone(),
                cursor: *cursor,
                head: head.filter(|head| stored.parked.contains_key(head)),
            })
            .collect(),
    };
    let terms = Terms {
        order,
        in_flight: if order == Order::Endpoint { 1 } else { 4 },
        ..TERMS
    };
    Lane::new(endpoint(), 0, 0, terms, beginning)
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Well),
        3 => Just(Mood::Failing),
        1 => Just(Mood::GivenUp),
        1 => Just(Mood::NetworkDown),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => [0..3usize, 0..3usize, 0..3usize].prop_map(Step::Append),
        4 => Just(Step::Offer),
        8 => Just(Step::Send),
        8 => (any::<bool>(), mood()).prop_map(|(oldest, mood)| Step::Outcome { oldest, mood }),
        5 => Just(Step::Settle),
        3 => (1..6i64).prop_map(|limit| Step::ReadBehind { limit }),
        3 => (1..6i64).prop_map(|limit| Step::ReadHeld { limit }),
        3 => Just(Step::Due),
        1 => Just(Step::Age),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_fails_and_whenever_it_dies_each_key_is_told_of_in_order_and_nothing_is_lost(
        order in prop_oneof![Just(Order::Project), Just(Order::Endpoint)],
        steps in prop::collection::vec(step(), 20..300),
    ) {
        let mut world = World::new(order);
        for step in steps {
            world.step(step);
            world.check()?;
        }
        // Well at last: everything comes through.
        let rest = [
            Step::Offer,
            Step::ReadBehind { limit: 50 },
            Step::ReadHeld { limit: 50 },
            Step::Due,
            Step::Send,
            Step::Outcome { oldest: true, mood: Mood::Well },
            Step::Settle,
        ];
        for step in std::iter::repeat_n(rest, 3 * world.log.len() + 50).flatten() {
            world.step(step);
        }
        world.check()?;
        let through: usize = world.through.values().map(Vec::len).sum();
        prop_assert_eq!(through, world.log.len(), "lost");
        prop_assert!(world.stored.holds.is_empty(), "held for ever: {:?}", world.stored.holds);
        prop_assert!(world.stored.parked.is_empty(), "parked for ever");
        prop_assert!(world.lane.settled_to(world.head, &[]) >= world.newest());
    }

    #[test]
    fn a_failing_head_holds_its_own_project_only(
        projects in prop::collection::vec(0..3usize, 1..60),
    ) {
        let mut world = World::new(Order::Project);
        for project in projects {
            world.step(Step::Append([project; 3]));
        }
        // Nothing of project a ever succeeds.
        for _ in 0..world.log.len() * 3 + 20 {
            let reads = [Step::Offer, Step::ReadBehind { limit: 50 }];
            for step in reads.into_iter().chain([Step::ReadHeld { limit: 50 }, Step::Due, Step::Send]) {
                world.step(step);
            }
            let of_a = world.flying.front().is_some_and(|job| job.project() == "a");
            let mood = if of_a { Mood::Failing } else { Mood::Well };
            world.step(Step::Outcome { oldest: true, mood });
            world.step(Step::Settle);
        }
        let count = |p: &str| world.log.iter().filter(|action| project(action) == p).count();
        for other in ["b", ""] {
            let through = world.through.get(other).map_or(0, Vec::len);
            prop_assert_eq!(through, count(other));
        }
        prop_assert_eq!(world.through.get("a").map_or(0, Vec::len), 0);
        let held = usize::from(count("a") > 0);
        prop_assert_eq!(world.stored.holds.len(), held, "one row for the whole project");
        prop_assert_eq!(world.stored.parked.len(), held);
    }
}
