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
    /// Tells this lane from an earlier one of the same endpoint, whose attempts may still be under way.
    pub generation: u64,
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
    /// Reads for itself from the cursor.
    pub behind: bool,
    /// Whether the database has it as behind.
    pub stored_behind: bool,
    /// Settled past the cursor.
    pub settled: Vec<Seq>,
}

impl Lane {
    pub fn new(
        endpoint: Arc<Endpoint>,
        shard: i16,
        generation: u64,
        in_flight_max: usize,
        beginning: Beginning,
    ) -> Self {
        let Beginning {
            cursor,
            behind,
            stored_behind,
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
            generation,
            in_flight_max,
            reading,
            stored_cursor: cursor,
            stored_behind,
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
        self.drop_unwanted();
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

    /// The filter is that of the moment of the attempt: what it refuses by now is settled unsent.
    fn drop_unwanted(&mut self) {
        while let Some(queued) = self.queue.front()
            && !self.accepts(&queued.action)
        {
            self.unsettled.remove(&queued.action.seq);
            self.queue.pop_front();
        }
    }

    /// Whether the endpoint asks for this action.
    pub fn accepts(&self, action: &LoggedAction) -> bool {
        self.endpoint.filter.matches(&Subject::from(&action.action))
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
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
            && self.accepts(action)
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
mod tests;
