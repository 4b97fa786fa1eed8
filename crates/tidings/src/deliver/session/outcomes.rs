//! What attempts come to, until it is committed.

use std::time::Instant;

use jiff::Timestamp;
use store::Error;
use store::delivery::{AttemptResult, Settlement, Streak};
use tokio::task::JoinError;

use super::{Deliverer, Done, SETTLE_COUNT};
use crate::deliver::lane::BreakerChange;
use crate::deliver::leash;
use crate::deliver::settle::{Books, Outcome};
use crate::deliver::settler::Order;

type Over = Result<(i16, Option<Done>), JoinError>;

impl Deliverer<'_> {
    /// Takes an attempt that is over, and those that are by now.
    pub(super) fn take_all(&mut self, over: Over) -> Result<(), Error> {
        self.take(over)?;
        while let Some(over) = self.attempts.try_join_next() {
            self.take(over)?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, over: Over) -> Result<(), Error> {
        // Begun anew, the session makes the attempt again: its delivery is not settled.
        let (shard, done) =
            over.map_err(|error| Error::Unreadable(format!("an attempt died: {error}")))?;
        let done = done.ok_or(Error::TimedOut(leash::LENGTH.as_secs()))?;
        let id = &done.record.endpoint_id;
        if let Some(lane) = self
            .lanes
            .get_mut(id)
            .filter(|lane| lane.generation == done.generation)
        {
            let (now, random) = (Instant::now(), rand::random());
            let job = done.job.clone();
            let change = lane.finished(job, done.record.result, done.verdict, now, random);
            tell(&lane.endpoint.name, change);
        }
        self.reach.met(done.verdict, Instant::now());
        self.lanes.wake(id);
        self.want(id);
        self.outcomes.push(Outcome { shard, done });
        self.moved = true;
        Ok(())
    }

    /// Whether a settlement may begin: one is under way at a time, and a refused one comes first.
    pub(super) fn may_settle(&self) -> bool {
        !self.settling
            && self
                .refused
                .as_ref()
                .is_none_or(|(again_at, _)| *again_at <= Instant::now())
    }

    /// Commits what is over, and how far the lanes have come. What the database has no room or time
    /// for now is kept, and committed before anything else.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if !self.may_settle() {
            return Ok(());
        }
        let settlement = match self.refused.take() {
            Some((_, settlement)) => settlement,
            None => Box::new(self.gather()),
        };
        if !settlement.is_empty() {
            self.settling = true;
            self.settler.order(Order::Settle(settlement))?;
        }
        Ok(())
    }

    fn gather(&mut self) -> Settlement {
        self.moved = false;
        // What a shard that was given up without order comes to is its next owner's to repeat.
        let room = Vec::with_capacity(SETTLE_COUNT);
        let (outcomes, lost) = std::mem::replace(&mut self.outcomes, room)
            .into_iter()
            .partition::<Vec<_>, _>(|outcome| self.owned.of_outcome(outcome.shard).is_some());
        lost.iter()
            .for_each(|outcome| self.owned.over(outcome.shard));
        self.committing = outcomes.iter().map(|outcome| outcome.shard).collect();
        let (streaks, failed) = self.streaks(&outcomes);
        let books = Books {
            lanes: &mut self.lanes,
            replays: &mut self.replays,
            resting: &self.resting,
            owned: &self.owned,
            head: self.head.seq,
            now: Instant::now(),
        };
        let mut settlement = books.settlement(outcomes);
        settlement.withdrawn = std::mem::take(&mut self.withdrawn);
        settlement.buried = std::mem::take(&mut self.buried);
        settlement.streaks = streaks;
        settlement.disabled.extend(failed);
        settlement
    }

    /// Of which endpoints the streak of failures changes, and which have failed for too long.
    fn streaks(&mut self, outcomes: &[Outcome]) -> (Vec<Streak>, Vec<(String, String)>) {
        let span = self.context.settings.webhooks.disable_after;
        let now = Timestamp::now();
        let (mut streaks, mut failed): (Vec<Streak>, Vec<(String, String)>) = Default::default();
        for Outcome { done, .. } in outcomes {
            let (id, result) = (&done.record.endpoint_id, done.record.result);
            let Some(account) = self.ledger.get_mut(id) else {
                continue;
            };
            if account.count(result, done.record.at) {
                streaks.retain(|streak| streak.endpoint_id != *id);
                streaks.push(Streak {
                    endpoint_id: id.clone(),
                    failing_since: account.failing_since,
                });
            }
        }
        let Some(span) = span else {
            return (streaks, failed);
        };
        let fails = |outcome: &&Outcome| {
            matches!(
                outcome.done.record.result,
                AttemptResult::Parked { .. } | AttemptResult::Dead
            )
        };
        for Outcome { done, .. } in outcomes.iter().filter(fails) {
            let id = &done.record.endpoint_id;
            let account = self.ledger.get(id);
            if let Some(since) = account
                .filter(|account| account.has_failed_for(span, now))
                .and_then(|account| account.failing_since)
                && failed.iter().all(|(known, _)| known != id)
            {
                let reason = format!("every attempt has failed since {since:.0}");
                failed.push((id.clone(), reason));
            }
        }
        (streaks, failed)
    }

    pub(super) fn heard(&mut self, settlement: Box<Settlement>, outcome: Result<(), Error>) {
        self.settling = false;
        let Err(error) = outcome else {
            self.backoff.reset();
            return self.stored(&settlement);
        };
        let pause = self.backoff.next(rand::random());
        tracing::warn!(
            %error, retry.pause_ms = pause.as_millis() as u64,
            "outcomes can not be stored; nothing is sent meanwhile"
        );
        self.refused = Some((Instant::now() + pause, settlement));
        self.moved = true;
    }

    fn stored(&mut self, settlement: &Settlement) {
        self.owned.stored(settlement, Instant::now());
        for shard in std::mem::take(&mut self.committing) {
            self.owned.over(shard);
        }
        for record in &settlement.attempts {
            self.ledger.settled(record);
            if let Some(lane) = self.lanes.get_mut(&record.endpoint_id) {
                lane.settled(record);
                // A project may have been waiting for this.
                self.lanes.wake(&record.endpoint_id);
            }
            self.want(&record.endpoint_id);
        }
        for moved in &settlement.cursors {
            if let Some(lane) = self.lanes.get_mut(&moved.endpoint_id) {
                lane.cursor_stored(moved);
            }
            if let Some(resting) = self.resting.get_mut(&moved.endpoint_id) {
                resting.stored |= moved.behind && moved.cursor >= resting.cursor;
            }
        }
        for moved in &settlement.held {
            if let Some(lane) = self.lanes.get_mut(&moved.endpoint_id) {
                lane.held_stored(moved);
            }
        }
    }
}

fn tell(endpoint: &str, change: Option<BreakerChange>) {
    match change {
        Some(BreakerChange::Opened { cooldown }) => tracing::warn!(
            endpoint.name = endpoint,
            retry.pause_ms = cooldown.as_millis() as u64,
            "an endpoint only fails: it is left alone for a while"
        ),
        Some(BreakerChange::Closed) => {
            tracing::info!(endpoint.name = endpoint, "an endpoint is well again");
        }
        None => {}
    }
}
