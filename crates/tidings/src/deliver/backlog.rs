//! What is read apart from the head: endpoints, the log for lanes that are behind, due retries.
//!
//! Endpoints take turns, one reading of each at a time, over a connection of its own: a backlog of
//! any length delays nobody's first attempts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use activity::Seq;
use jiff::Timestamp;
use store::Error;
use store::delivery::{ParkedDelivery, RunningReplay};
use store::log::LoggedAction;
use webhook::Endpoint;

use super::lane::Job;
use super::ledger::Errand;
use super::reader::{Ask, Told};
use super::session::Deliverer;

/// Actions that lanes which are behind may have in memory, all of them together: about 1 kB each.
const BEHIND_MAX: usize = 1 << 16;
/// Those that one of them reads at once, at least and at most.
const READ_MIN: usize = 16;
const READ_MAX: usize = 512;

impl Deliverer<'_> {
    /// Asks for as much as may be under way at a time.
    pub(super) fn read_backlog(&mut self) -> Result<(), Error> {
        while self.backlog.has_room() {
            if std::mem::take(&mut self.look_at_roster) {
                let known = Box::new(self.known());
                self.backlog.ask(Ask::Roster(known))?;
                continue;
            }
            if std::mem::take(&mut self.look_at_partitions) {
                let days = self.context.settings.webhooks.attempt_days;
                self.backlog.ask(Ask::Cover { days })?;
                continue;
            }
            if std::mem::take(&mut self.look_at_replays) {
                let (shards, known) = (self.owned.numbers(), self.replays.ids());
                self.backlog.ask(Ask::Replays { shards, known })?;
                continue;
            }
            let Some(id) = self.ledger.turn() else {
                return Ok(());
            };
            let share = share(self.lanes.stood().behind());
            if let Some((errand, ask)) = self.errand(&id, share) {
                self.ledger.begin(&id, errand);
                self.backlog.ask(ask)?;
            }
        }
        Ok(())
    }

    /// Gives an endpoint a turn, where there may be anything to read for it: most are at the head, with nothing
    /// parked.
    pub(super) fn want(&mut self, id: &str) {
        let lane = self.lanes.get(id);
        let reads =
            lane.is_some_and(|lane| lane.wants_log().is_some() || lane.wants_held().is_some());
        if reads || self.replays.get(id).is_some() || self.ledger.has_due(id) {
            self.ledger.want(id);
        }
    }

    /// What is to be read for an endpoint now, so many actions at once where it is behind.
    fn errand(&self, id: &str, share: usize) -> Option<(Errand, Ask)> {
        let lane = self.lanes.get(id)?;
        let account = self.ledger.get(id)?;
        // The dispatcher will have come as far soon.
        let behind = lane
            .wants_log()
            .filter(|after| *after <= self.head.seq && lane.queued() < share / 2);
        let held = lane.wants_held();
        let replay = self.replays.get(id);
        let window = replay.and_then(|replay| Some((replay, replay.wants()?)));
        let due = account.is_due(Timestamp::now()) && lane.room_for_retries() > 0;
        let errand = account.next(&[
            (Errand::Behind, behind.is_some()),
            (Errand::Due, due),
            (Errand::Held, held.is_some()),
            (Errand::Replay, window.is_some()),
        ])?;
        let (endpoint_id, endpoint, head) = (id.to_owned(), lane.endpoint.clone(), self.head.seq);
        let ask = match errand {
            Errand::Behind => Ask::Behind {
                endpoint,
                after: behind?,
                head,
                limit: i64::try_from(share).unwrap_or(i64::MAX),
            },
            Errand::Due => Ask::Due { endpoint_id },
            Errand::Held => Ask::Held {
                endpoint_id,
                project: held?.0.to_owned(),
                after: held?.1,
                head,
            },
            Errand::Replay => {
                let (replay, (after, until)) = window?;
                Ask::Replay {
                    endpoint,
                    replay: Box::new(replay.running.clone()),
                    after,
                    until,
                }
            }
        };
        Some((errand, ask))
    }

    pub(super) fn take_backlog(&mut self, told: Told) {
        match told {
            Told::Roster(Some(roster)) => self.take_roster(*roster),
            Told::Behind {
                endpoint,
                after,
                actions,
                to,
            } => self.take_behind(&endpoint, after, &actions, to),
            Told::Due {
                endpoint_id,
                now,
                parked,
                more,
            } => {
                let Some(settled) = self.ledger.end(&endpoint_id, Errand::Due) else {
                    return;
                };
                let known = |(delivery, _): &(ParkedDelivery, _)| !settled.contains(&delivery.seq);
                let parked = parked.into_iter().filter(known).collect();
                self.take_due(&endpoint_id, now, parked, more);
            }
            Told::Held {
                endpoint_id,
                project,
                after,
                actions,
                to,
            } => self.take_held(&endpoint_id, &project, after, &actions, to),
            Told::Replays(running) => self.take_replays(running),
            Told::Replay {
                endpoint_id,
                replay_id,
                after,
                actions,
                to,
            } => {
                self.ledger.end(&endpoint_id, Errand::Replay);
                if let Some(replay) = self.replays.get_mut(&endpoint_id)
                    && replay.running.id == replay_id
                {
                    replay.feed(after, actions, to);
                    self.moved = true;
                }
                self.ledger.want(&endpoint_id);
                self.send_replays();
            }
            Told::Covered(day) => self.covered = day,
            Told::Roster(None) | Told::Head { .. } => {}
        }
    }

    fn take_behind(
        &mut self,
        endpoint: &Arc<Endpoint>,
        after: Seq,
        actions: &[Arc<LoggedAction>],
        to: Seq,
    ) {
        let id = &endpoint.id;
        if self.ledger.end(id, Errand::Behind).is_none() {
            return;
        }
        self.ledger.want(id);
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        // What it asks for has changed: it is read once more.
        if !Arc::ptr_eq(&lane.endpoint, endpoint) {
            return;
        }
        let now = Instant::now();
        lane.feed(after, actions, to, self.head.seq, now);
        // The head has moved on since it was asked. What it passed is at hand.
        if let Some(after) = lane.wants_log()
            && let Some(newer) = self.head.since(after)
        {
            lane.feed(after, &newer, self.head.seq, self.head.seq, now);
        }
        self.lanes.wake(id);
        self.moved = true;
    }

    fn take_held(
        &mut self,
        id: &str,
        project: &str,
        after: Seq,
        actions: &[Arc<LoggedAction>],
        to: Seq,
    ) {
        self.ledger.end(id, Errand::Held);
        self.ledger.want(id);
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.feed_held(project, after, actions, to, self.head.seq);
            self.lanes.wake(id);
            self.moved = true;
        }
    }

    fn take_replays(&mut self, replays: Vec<(RunningReplay, Vec<Seq>)>) {
        let running: HashSet<String> = replays.iter().map(|(r, _)| r.id.clone()).collect();
        let lanes = &self.lanes;
        let generation = |id: &str| lanes.get(id).map(|lane| lane.generation);
        self.replays.retain(&running, generation);
        for (replay, attempted) in replays {
            let id = replay.endpoint_id.clone();
            if let Some(generation) = generation(&id) {
                self.replays.begin(replay, attempted, generation);
                self.ledger.want(&id);
            }
        }
    }

    /// Gives the lanes what their replays may send by now.
    pub(super) fn send_replays(&mut self) {
        let now = Instant::now();
        let ids: Vec<String> = self.replays.endpoints().cloned().collect();
        for id in ids {
            if let (Some(replay), Some(lane)) = (self.replays.get_mut(&id), self.lanes.get_mut(&id))
            {
                replay.send(lane, now);
                self.lanes.wake(&id);
                self.ledger.want(&id);
            }
        }
    }

    fn take_due(
        &mut self,
        id: &str,
        now: Timestamp,
        parked: Vec<(ParkedDelivery, Vec<Arc<LoggedAction>>)>,
        more: bool,
    ) {
        let last = parked.last().map(|(delivery, _)| delivery.due);
        let mut unclaimed = None;
        for (delivery, actions) in parked {
            let Some(lane) = self.lanes.get_mut(id) else {
                return;
            };
            if lane.is_retrying(delivery.seq) {
                continue;
            }
            if delivery.due > now || lane.room_for_retries() == 0 {
                unclaimed = unclaimed.or(Some(delivery.due));
                continue;
            }
            self.moved = true;
            let mut actions = actions.into_iter();
            match actions.next() {
                None => {
                    lane.head_is_through(delivery.seq);
                    self.buried.push((id.to_owned(), delivery.seq));
                }
                Some(action) if !lane.accepts(&action) => {
                    lane.head_is_through(delivery.seq);
                    self.withdrawn.push((id.to_owned(), delivery.seq));
                }
                Some(action) => lane.push_retry(Job {
                    rest: actions.collect(),
                    replay: delivery.replay_id.map(Into::into),
                    ..Job::retry(action, delivery.attempts)
                }),
            }
        }
        // What comes after the last that was read is due no sooner.
        if let Some(due) = unclaimed.or(last.filter(|_| more)) {
            self.ledger.note_due(id, due);
        }
        self.ledger.want(id);
        self.lanes.wake(id);
    }
}

/// What each of so many lanes that are behind reads at once; it asks again at half of it.
fn share(lanes: usize) -> usize {
    (BEHIND_MAX / lanes.max(1)).clamp(READ_MIN, READ_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_are_behind_share_what_may_be_in_memory() {
        assert_eq!([share(0), share(1), share(128)], [READ_MAX; 3]);
        assert_eq!(share(1000), 65);
        assert_eq!([share(10_000), share(1 << 20)], [READ_MIN; 2]);
    }
}
