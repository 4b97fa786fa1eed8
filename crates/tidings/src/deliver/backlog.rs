//! Reads for lanes apart from the head: the log for those behind, and due retries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use activity::Seq;
use jiff::Timestamp;
use store::log::LoggedAction;
use store::{Error, delivery, log};

use super::lane::Job;
use super::session::{Deliverer, answer};

/// Actions read from the log at once for a lane that is behind.
const READ_BEHIND_COUNT: i64 = 250;

impl Deliverer<'_> {
    /// Reads the log for the lanes that are behind, each from its own cursor.
    pub(super) async fn read_behind(&mut self) -> Result<(), Error> {
        let wanting: Vec<(String, Seq)> = self
            .lanes
            .all()
            .filter_map(|lane| Some((lane.endpoint.id.clone(), lane.wants_log()?)))
            .collect();
        for (id, cursor) in wanting {
            let actions: Vec<Arc<LoggedAction>> =
                answer(log::after(&self.reader, cursor, READ_BEHIND_COUNT))
                    .await?
                    .into_iter()
                    .map(Arc::new)
                    .collect();
            // Less than was asked for: that is all there is, the head included.
            let last = actions.last().map_or(cursor, |action| action.seq);
            let all = actions.len() < READ_BEHIND_COUNT as usize;
            let read_to = if all { last.max(self.head) } else { last };
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.feed(&actions, read_to, self.head, Instant::now());
                self.more |= lane.wants_log().is_some();
            }
            self.moved = true;
            self.lanes.wake(&id);
        }
        Ok(())
    }

    /// Fetches due retries for the lanes that have room.
    pub(super) async fn read_due(&mut self) -> Result<(), Error> {
        let roomy: Vec<String> = self
            .lanes
            .all()
            .filter(|lane| lane.room_for_retries() > 0)
            .map(|lane| lane.endpoint.id.clone())
            .collect();
        let now = Timestamp::now();
        let mut new = Vec::new();
        for id in roomy {
            for parked in answer(delivery::due(&self.reader, &id, 64)).await? {
                let lane = self.lanes.get(&id);
                if parked.due <= now && lane.is_some_and(|l| !l.is_retrying(parked.seq)) {
                    new.push((id.clone(), parked));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = new.iter().map(|(_, parked)| parked.seq.get()).collect();
        let actions: HashMap<Seq, Arc<LoggedAction>> = answer(log::of(&self.reader, &seqs))
            .await?
            .into_iter()
            .map(|action| (action.seq, Arc::new(action)))
            .collect();
        for (id, parked) in new {
            let delivery = (id.clone(), parked.seq);
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            match actions.get(&parked.seq) {
                None => self.buried.push(delivery),
                Some(action) if !lane.accepts(action) => self.withdrawn.push(delivery),
                Some(action) if lane.room_for_retries() > 0 => lane.push_retry(Job {
                    action: action.clone(),
                    attempt: parked.attempts + 1,
                }),
                Some(_) => {}
            }
            self.lanes.wake(&id);
        }
        Ok(())
    }
}
