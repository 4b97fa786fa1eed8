//! Reads for lanes apart from the head: the log for those behind, and due retries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use activity::Seq;
use jiff::Timestamp;
use store::log::LoggedAction;
use store::{Error, delivery, log};

use super::lane::{Job, Lane};
use super::session::{Deliverer, answer};

/// Actions read from the log at once for a lane that is behind.
const READ_BEHIND_COUNT: i64 = 250;

impl Deliverer<'_> {
    /// Reads the log for the lanes that are behind, each from its own cursor.
    pub(super) async fn read_behind(&mut self) -> Result<(), Error> {
        let reading: Vec<Arc<str>> = self.lanes.standings().reading().cloned().collect();
        for id in reading {
            if let Some(cursor) = self.lanes.get(&id).and_then(Lane::wants_log) {
                let actions = answer(log::after(&self.reader, cursor, READ_BEHIND_COUNT)).await?;
                let (actions, read_to) = self.read(cursor, actions);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.feed(cursor, &actions, read_to, self.head, Instant::now());
                    self.more |= lane.wants_log().is_some();
                }
            }
            self.read_held(&id).await?;
            self.moved = true;
            self.lanes.wake(&id);
        }
        Ok(())
    }

    async fn read_held(&mut self, id: &str) -> Result<(), Error> {
        let wanted = self.lanes.get(id).and_then(Lane::wants_held);
        let Some((project, after)) = wanted.map(|(project, after)| (project.to_owned(), after))
        else {
            return Ok(());
        };
        let project_id = (!project.is_empty()).then_some(project.as_str());
        let actions = log::of_project(&self.reader, project_id, after, READ_BEHIND_COUNT);
        let (actions, read_to) = self.read(after, answer(actions).await?);
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.feed_held(&project, after, &actions, read_to, self.head);
            self.more |= lane.wants_held().is_some();
        }
        Ok(())
    }

    /// Less than was asked for: that is all there is, the head included.
    fn read(&self, after: Seq, actions: Vec<LoggedAction>) -> (Vec<Arc<LoggedAction>>, Seq) {
        let last = actions.last().map_or(after, |action| action.seq);
        let all = actions.len() < READ_BEHIND_COUNT as usize;
        let actions = actions.into_iter().map(Arc::new).collect();
        (actions, if all { last.max(self.head) } else { last })
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
        let seqs: Vec<i64> = new
            .iter()
            .flat_map(|(_, parked)| parked.covers.iter().chain([&parked.seq]))
            .map(|seq| seq.get())
            .collect();
        let actions: HashMap<Seq, Arc<LoggedAction>> = answer(log::of(&self.reader, &seqs))
            .await?
            .into_iter()
            .map(|action| (action.seq, Arc::new(action)))
            .collect();
        for (id, parked) in new {
            let attempts = parked.attempts;
            let delivery = (id.clone(), parked.seq);
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            match actions.get(&parked.seq) {
                None => {
                    lane.head_is_through(parked.seq);
                    self.buried.push(delivery);
                }
                Some(action) if !lane.accepts(action) => {
                    lane.head_is_through(parked.seq);
                    self.withdrawn.push(delivery);
                }
                Some(action) if lane.room_for_retries() > 0 => lane.push_retry(Job {
                    rest: parked
                        .covers
                        .iter()
                        .filter(|seq| **seq != parked.seq)
                        .filter_map(|seq| actions.get(seq).cloned())
                        .collect(),
                    replay: parked.replay_id.map(Into::into),
                    ..Job::retry(action.clone(), attempts)
                }),
                Some(_) => {}
            }
            self.lanes.wake(&id);
        }
        Ok(())
    }
}
