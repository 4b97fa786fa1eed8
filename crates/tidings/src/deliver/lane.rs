//! The queue and limits of one endpoint. Pure: time is a parameter, sending and storing are others'.
//!
//! A lane reads the log in one of two ways. At the head, the dispatcher offers it every action. From
//! its own cursor (it is *behind*), it asks for the log itself; it rejoins the head once it has read
//! as far. An action leaves `unsettled` only when its attempt is committed, so [`Lane::settled_to`]
//! is what a restart may begin after.
//!
//! Of an endpoint that wants order, a failing delivery keeps back what comes after it: in the whole
//! lane, which then waits behind, or in its project, which is then on [`hold`].

mod breaker;
mod digest;
mod gate;
mod hold;
mod job;
mod rate;
mod sending;
mod settling;
mod terms;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use store::delivery::StoredHold;
use store::endpoints::Order;
use store::log::LoggedAction;
use webhook::{Endpoint, Subject};

use digest::Groups;
use gate::Gate;
use hold::Holds;
use job::project;
use sending::UnderWay;

pub use breaker::{BreakerChange, BreakerSettings};
pub use job::{Class, Job};
pub use terms::Terms;
pub use verdict::Verdict;

/// First attempts that wait in memory; one more sends the lane behind.
const QUEUE_MAX: usize = 256;
/// A lane that reads for itself may ask for more below this many.
const QUEUE_LOW: usize = 256;

#[derive(Debug)]
pub struct Lane {
    pub endpoint: Arc<Endpoint>,
    pub shard: i16,
    /// Tells this lane from an earlier one of the same endpoint, whose attempts may still be under way.
    pub generation: u64,
    terms: Terms,
    gate: Gate,
    reading: Reading,
    /// As the database has them.
    stored_cursor: Seq,
    stored_behind: bool,
    /// Actions up to here were settled before this lane was made, or read by itself.
    skip_to: Seq,
    /// Settled, and not passed for good: they may be read once more.
    settled_ahead: BTreeSet<Seq>,
    /// The newest action that was for it.
    newest: Seq,
    queue: VecDeque<Job>,
    groups: Groups,
    /// First attempts grouped, queued, under way, or over and not yet committed, and since when they
    /// can be sent.
    unsettled: BTreeMap<Seq, Instant>,
    /// The first and last actions of digests that are over, while they may be read once more.
    spans: BTreeMap<Seq, Seq>,
    /// Parked deliveries that nothing overtakes, where the endpoint wants order in all.
    heads: BTreeSet<Seq>,
    holds: Holds,
    retries: VecDeque<Job>,
    /// Queued or under way or not yet committed.
    retrying: HashSet<Seq>,
    replays: VecDeque<Job>,
    replaying: HashSet<Seq>,
    under_way: UnderWay,
    /// How many attempts are under way of each project.
    busy: HashMap<String, usize>,
    /// The class that had the last turn.
    last: Class,
    /// Nothing is sent for now.
    paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    Own { read_to: Seq },
}

/// Where a lane begins.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    pub cursor: Seq,
    /// Reads for itself from the cursor.
    pub behind: bool,
    /// Whether the database has it as behind.
    pub stored_behind: bool,
    /// Settled past the cursor.
    pub settled: Vec<Seq>,
    /// Parked at or past the cursor: they count where the endpoint wants order in all.
    pub heads: Vec<Seq>,
    pub holds: Vec<StoredHold>,
}

impl Lane {
    pub fn new(
        endpoint: Arc<Endpoint>,
        shard: i16,
        generation: u64,
        terms: Terms,
        beginning: Beginning,
    ) -> Self {
        let Beginning {
            cursor,
            behind,
            stored_behind,
            settled,
            heads,
            holds,
        } = beginning;
        let heads = match terms.order {
            Order::Endpoint => heads.into_iter().collect(),
            Order::Parallel | Order::Project => BTreeSet::new(),
        };
        Self {
            endpoint,
            shard,
            generation,
            terms,
            gate: Gate::new(terms.rate, terms.breaker),
            reading: if behind {
                Reading::Own { read_to: cursor }
            } else {
                Reading::Head
            },
            stored_cursor: cursor,
            stored_behind,
            skip_to: cursor,
            settled_ahead: settled.into_iter().collect(),
            newest: cursor,
            queue: VecDeque::new(),
            groups: Groups::default(),
            unsettled: BTreeMap::new(),
            spans: BTreeMap::new(),
            heads,
            holds: Holds::restore(holds),
            retries: VecDeque::new(),
            retrying: HashSet::new(),
            replays: VecDeque::new(),
            replaying: HashSet::new(),
            under_way: UnderWay::default(),
            busy: HashMap::new(),
            last: Class::Replay,
            paused: false,
        }
    }

    /// Sends nothing more, or goes on. What comes meanwhile waits in the log.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if paused {
            self.fall_behind();
        }
    }

    /// Takes the endpoint as it is by now. What its filter refuses is settled unsent.
    pub fn update(&mut self, endpoint: Arc<Endpoint>, terms: Terms, now: Instant) {
        let filtered = endpoint.filter != self.endpoint.filter;
        self.endpoint = endpoint;
        self.gate.set(terms.rate, terms.breaker);
        if terms.order != Order::Endpoint {
            self.heads.clear();
        }
        if filtered && self.terms.digest.is_some() {
            // What is told of together depends on the filter.
            self.fall_behind();
        }
        if terms.digest != self.terms.digest {
            for job in self.groups.end_all() {
                self.enqueue(job, now);
            }
        }
        self.terms = terms;
        if filtered {
            self.drop_unwanted();
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
            if self.paused {
                self.fall_behind();
            }
        }
    }

    /// First attempts that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The cursor to read the log from, where the lane reads for itself and can go on.
    pub fn wants_log(&self) -> Option<Seq> {
        match self.reading {
            Reading::Own { .. } if self.paused => None,
            Reading::Own { read_to } if self.queue.len() < QUEUE_LOW && self.heads.is_empty() => {
                Some(read_to)
            }
            Reading::Own { .. } | Reading::Head => None,
        }
    }

    /// Takes what was read for it after `after`, as [`Lane::wants_log`] said; an answer that is
    /// overtaken by what the lane did since is of no use. `read_to` is how far it was read, actions
    /// that are not for it included. `head` is the last action that the dispatcher has offered: having
    /// read as far, the lane rejoins.
    pub fn feed(
        &mut self,
        after: Seq,
        actions: &[Arc<LoggedAction>],
        read_to: Seq,
        head: Seq,
        now: Instant,
    ) {
        if self.reading != (Reading::Own { read_to: after }) {
            return;
        }
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
        self.prune();
    }

    /// A project to read the log for, and the seq to read it after: it was held, and can go on.
    pub fn wants_held(&self) -> Option<(&str, Seq)> {
        self.holds.wants().filter(|_| !self.paused)
    }

    /// Takes what was read of a project after `after`, as [`Lane::wants_held`] said, and up to
    /// `read_to`. `head` is the last action that the dispatcher has offered.
    pub fn feed_held(
        &mut self,
        project: &str,
        after: Seq,
        actions: &[Arc<LoggedAction>],
        read_to: Seq,
        head: Seq,
    ) {
        let position = match self.reading {
            Reading::Own { read_to } => read_to,
            Reading::Head => head.max(self.skip_to),
        };
        let wanted = actions.iter().filter(|action| {
            !self.settled_ahead.contains(&action.seq)
                && !self.unsettled.contains_key(&action.seq)
                && accepts(&self.endpoint, action)
        });
        self.holds
            .feed(project, after, wanted, self.terms.digest, read_to, position);
    }

    /// Leaves the head where an action has waited for `patience`, so that its shard goes on.
    pub fn check_age(&mut self, now: Instant, patience: Duration) {
        let stale = |job: &Job| {
            let since = self.unsettled.get(&job.seq());
            since.is_some_and(|since| now.saturating_duration_since(*since) > patience)
        };
        if self.is_at_head() && self.queue.iter().any(stale) {
            self.fall_behind();
        }
    }

    /// Whether the endpoint asks for this action.
    pub fn accepts(&self, action: &LoggedAction) -> bool {
        accepts(&self.endpoint, action)
    }

    fn wants(&self, action: &LoggedAction) -> bool {
        action.seq > self.skip_to
            && !self.settled_ahead.contains(&action.seq)
            && !self.unsettled.contains_key(&action.seq)
            && self.accepts(action)
            && !self.holds.has(project(action), action.seq)
    }

    fn push(&mut self, action: Arc<LoggedAction>, now: Instant) {
        self.newest = self.newest.max(action.seq);
        self.unsettled.insert(action.seq, now);
        match self.terms.digest {
            None => self.queue.push_back(Job::first(action)),
            Some(digest) => {
                for job in self.groups.push(action, digest, now) {
                    self.enqueue(job, now);
                }
            }
        }
    }

    /// A digest is over: from now on it waits to be sent.
    fn enqueue(&mut self, job: Job, now: Instant) {
        for seq in job.seqs() {
            self.unsettled.insert(seq, now);
        }
        self.queue.push_back(job);
    }

    /// Gives back what waits: it is read again from the log. What is under way stays unsettled.
    fn fall_behind(&mut self) {
        let queued = self.queue.iter().map(Job::seq).min();
        if let Some(first) = queued.into_iter().chain(self.groups.first()).min() {
            self.read_again_after(first.previous());
        }
    }

    fn read_again_after(&mut self, read_to: Seq) {
        for job in self.queue.drain(..).chain(self.groups.end_all()) {
            for seq in job.seqs() {
                self.unsettled.remove(&seq);
            }
        }
        self.skip_to = read_to;
        self.reading = Reading::Own { read_to };
    }

    fn drop_unwanted(&mut self) {
        let endpoint = self.endpoint.clone();
        let accepts = |action: &LoggedAction| accepts(&endpoint, action);
        let unsettled = &mut self.unsettled;
        self.queue.retain_mut(|job| {
            let keep = accepts(&job.action);
            if !keep {
                job.seqs().for_each(|seq| {
                    unsettled.remove(&seq);
                });
            }
            keep
        });
        let retrying = &mut self.retrying;
        self.retries.retain(|job| {
            let keep = accepts(&job.action);
            if !keep {
                retrying.remove(&job.seq());
            }
            keep
        });
        self.holds.retain(accepts);
    }
}

fn accepts(endpoint: &Endpoint, action: &LoggedAction) -> bool {
    endpoint.filter.matches(&Subject::from(&action.action))
}

#[cfg(test)]
pub(super) mod tests;
