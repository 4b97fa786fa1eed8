//! Commits settlements, and tries again what the database has no room or time for.

use std::time::Instant;

use store::delivery::{self, Settlement};
use store::{Error, Remedy};

use super::session::{Deliverer, answer};
use super::settle::settlement;
use crate::backoff::Backoff;

impl Deliverer<'_> {
    /// Commits what is over, and how far the lanes have come. What the database has no room or time
    /// for now is kept, and committed before anything else.
    pub(super) async fn settle(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let settlement = match self.refused.take() {
            Some((again_at, settlement)) if Instant::now() < again_at => {
                self.refused = Some((again_at, settlement));
                return Ok(());
            }
            Some((_, settlement)) => settlement,
            None => self.gather(),
        };
        if settlement.is_empty() {
            return Ok(());
        }
        match answer(delivery::settle(&mut self.session, &settlement)).await {
            Ok(()) => backoff.reset(),
            // A row at fault is that of an endpoint that is being removed: gone the next time.
            Err(error) if matches!(error.remedy(), Remedy::Again | Remedy::RowAtFault) => {
                let pause = backoff.next(rand::random());
                tracing::warn!(
                    %error, retry.pause_ms = pause.as_millis() as u64,
                    "outcomes can not be stored; nothing is sent meanwhile"
                );
                self.refused = Some((Instant::now() + pause, settlement));
                self.moved = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.stored(&settlement);
        Ok(())
    }

    pub(super) fn gather(&mut self) -> Settlement {
        self.moved = false;
        let done = std::mem::take(&mut self.done);
        let mut settlement = settlement(&mut self.lanes, &self.owned, self.head, done);
        settlement.withdrawn = std::mem::take(&mut self.withdrawn);
        settlement.buried = std::mem::take(&mut self.buried);
        settlement
    }

    pub(super) fn stored(&mut self, settlement: &Settlement) {
        self.owned.stored(settlement);
        for record in &settlement.attempts {
            if let Some(lane) = self.lanes.get_mut(&record.endpoint_id) {
                lane.settled(record);
                // A project may have been waiting for this.
                self.lanes.wake(&record.endpoint_id);
            }
        }
        for moved in &settlement.cursors {
            if let Some(lane) = self.lanes.get_mut(&moved.endpoint_id) {
                lane.cursor_stored(moved);
            }
        }
        for moved in &settlement.held {
            if let Some(lane) = self.lanes.get_mut(&moved.endpoint_id) {
                lane.held_stored(moved);
            }
        }
    }
}
