//! What a lane sends next, and what it does with the outcome.

use std::time::Instant;

use activity::Seq;
use store::delivery::AttemptResult;
use store::endpoints::Order;

use super::breaker::{Admission, BreakerChange};
use super::{Class, Job, Lane, Verdict};

/// Due retries that wait in memory.
const RETRIES_MAX: usize = 32;
/// The same for replays.
const REPLAYS_MAX: usize = 32;
/// Of the attempts under way, replays are at most one of so many.
const REPLAY_SHARE: usize = 4;

/// How many attempts are under way, by class.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnderWay {
    first: usize,
    held: usize,
    retry: usize,
    replay: usize,
}

impl UnderWay {
    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::First => &mut self.first,
            Class::Held => &mut self.held,
            Class::Retry => &mut self.retry,
            Class::Replay => &mut self.replay,
        }
    }

    fn all(self) -> usize {
        self.retry + self.not_retries()
    }

    fn not_retries(self) -> usize {
        self.first + self.held + self.replay
    }
}

impl Class {
    const COUNT: usize = 4;

    fn next(self) -> Self {
        match self {
            Self::First => Self::Retry,
            Self::Retry => Self::Held,
            Self::Held => Self::Replay,
            Self::Replay => Self::First,
        }
    }
}

impl Lane {
    /// How many due retries it can take.
    pub fn room_for_retries(&self) -> usize {
        RETRIES_MAX.saturating_sub(self.retrying.len())
    }

    /// Whether a due delivery is not on its way already.
    pub fn is_retrying(&self, seq: Seq) -> bool {
        self.retrying.contains(&seq)
    }

    pub fn push_retry(&mut self, job: Job) {
        if self.retrying.insert(job.seq()) {
            self.retries.push_back(job);
        }
    }

    /// How many deliveries of replays it can take.
    pub fn room_for_replays(&self) -> usize {
        REPLAYS_MAX.saturating_sub(self.replaying.len())
    }

    /// Whether it is: another replay may have the same delivery on its way.
    pub fn push_replay(&mut self, job: Job) -> bool {
        let new = self.replaying.insert(job.seq());
        if new {
            self.replays.push_back(job);
        }
        new
    }

    /// A parked delivery will not be tried again: the filter refuses it, or its action is gone.
    pub fn head_is_through(&mut self, seq: Seq) {
        self.heads.remove(&seq);
        self.holds.head_is_through(seq);
    }

    /// Since when every attempt has met with a fault of our own network.
    pub fn cut_off(&self) -> Option<Instant> {
        self.gate.cut_off()
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.all() == 0
    }

    /// Whether [`Lane::next`] might give something, now or by itself later.
    pub fn has_work(&self) -> bool {
        let places = self.gate.places(self.terms.in_flight);
        let waits = !self.queue.is_empty()
            || !self.retries.is_empty()
            || !self.replays.is_empty()
            || self.holds.is_ready();
        !self.paused && ((waits && self.under_way.all() < places) || !self.groups.is_empty())
    }

    /// When [`Lane::next`] may be asked again, where it gives nothing for no other reason than time.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let gate = match self.gate.admission(now) {
            Admission::At(at) => Some(at),
            Admission::Now | Admission::Later => None,
        };
        let digest = self.terms.digest.and_then(|d| self.groups.next_at(d));
        gate.into_iter().chain(digest).min()
    }

    /// The next attempt to make, if the limits allow one. The classes take turns; retries leave a place
    /// to the others, and they to retries.
    pub fn next(&mut self, now: Instant) -> Option<Job> {
        if self.paused {
            return None;
        }
        if let Some(digest) = self.terms.digest {
            for job in self.groups.due(digest, now) {
                self.enqueue(job, now);
            }
        }
        let places = self.gate.places(self.terms.in_flight);
        if self.under_way.all() >= places || self.gate.admission(now) != Admission::Now {
            return None;
        }
        let mut class = self.last;
        let job = (0..Class::COUNT).find_map(|_| {
            class = class.next();
            self.take(class, places)
        })?;
        self.last = job.class;
        *self.under_way.of(job.class) += 1;
        *self.busy.entry(job.project().to_owned()).or_default() += 1;
        self.gate.sent(now);
        Some(job)
    }

    fn take(&mut self, class: Class, places: usize) -> Option<Job> {
        let reserved = (places - 1).max(1);
        let in_order = self.terms.order == Order::Project;
        match class {
            Class::Retry if self.under_way.retry >= reserved => None,
            Class::Retry => {
                let busy = &self.busy;
                let may = |job: &Job| !in_order || !busy.contains_key(job.project());
                let index = self.retries.iter().position(may)?;
                self.retries.remove(index)
            }
            Class::First | Class::Held | Class::Replay
                if self.under_way.not_retries() >= reserved =>
            {
                None
            }
            Class::First | Class::Held if !self.heads.is_empty() => None,
            Class::First => {
                let (busy, holds) = (&self.busy, &self.holds);
                let may = |job: &Job| {
                    !holds.holds(job.project()) && (!in_order || !busy.contains_key(job.project()))
                };
                let index = self.queue.iter().position(may)?;
                self.queue.remove(index)
            }
            Class::Held => self.holds.next(&self.busy),
            Class::Replay if self.under_way.replay >= (places / REPLAY_SHARE).max(1) => None,
            Class::Replay => self.replays.pop_front(),
        }
    }

    /// An attempt is over, though not yet committed. `random` in 0..1 spreads what comes after.
    pub fn finished(
        &mut self,
        job: Job,
        result: AttemptResult,
        verdict: Verdict,
        now: Instant,
        random: f64,
    ) -> Option<BreakerChange> {
        *self.under_way.of(job.class) -= 1;
        if let Some(count) = self.busy.get_mut(job.project()) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(job.project());
            }
        }
        if let (Class::First, Some(last)) = (job.class, job.rest.last())
            && result != AttemptResult::Deferred
        {
            self.spans.insert(job.seq(), last.seq);
        }
        match (result, job.class) {
            (AttemptResult::Deferred, _) => self.put_back(job),
            (AttemptResult::Parked { .. }, Class::First) => match self.terms.order {
                Order::Parallel => {}
                Order::Project => self.hold(&job),
                Order::Endpoint => {
                    self.heads.insert(job.seq());
                    self.read_again_after(job.seq());
                }
            },
            (AttemptResult::Parked { .. }, Class::Held) => self.hold(&job),
            (AttemptResult::Parked { .. }, Class::Retry | Class::Replay) => {}
            (AttemptResult::Delivered | AttemptResult::Dead, Class::Retry | Class::Replay) => {
                self.head_is_through(job.seq());
            }
            (AttemptResult::Delivered | AttemptResult::Dead, Class::First | Class::Held) => {}
        }
        self.gate.over(verdict, self.terms.in_flight, now, random)
    }

    /// The attempt does not count: it is made again, before anything else of its class.
    fn put_back(&mut self, job: Job) {
        match job.class {
            Class::First => self.queue.push_front(job),
            Class::Held => self.holds.put_back(job),
            Class::Retry => self.retries.push_front(job),
            Class::Replay => self.replays.push_front(job),
        }
    }

    /// What waits of the project is the hold's from now on.
    fn hold(&mut self, job: &Job) {
        self.holds.fail(job);
        let unsettled = &mut self.unsettled;
        let mut give_back = |waiting: &Job| {
            waiting.seqs().for_each(|seq| {
                unsettled.remove(&seq);
            });
        };
        if let Some(group) = self.groups.end(job.project()) {
            give_back(&group);
        }
        self.queue.retain(|waiting| {
            let keep = waiting.project() != job.project();
            if !keep {
                give_back(waiting);
            }
            keep
        });
    }
}
