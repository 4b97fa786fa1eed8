//! Takes shards, and gives them up where others have come to share them.

use std::time::Instant;

use store::Error;
use store::delivery::Taken;

use super::{Deliverer, WAIT_SLACK};
use crate::deliver::settler::{Order, Report};
use crate::deliver::shards::{Departure, fair_share};

impl Deliverer<'_> {
    pub(super) fn hear(&mut self, report: Report) -> Result<(), Error> {
        match report {
            Report::Members(members) => self.share(fair_share(members)),
            Report::Settled(settlement, outcome) => {
                self.heard(settlement, outcome);
                Ok(())
            }
            Report::Taken(taken) => {
                self.take_shards(taken);
                Ok(())
            }
            Report::Released(shards) => {
                tracing::info!(deliver.shards = shards.len(), "shards given up");
                self.owned.released(&shards);
                Ok(())
            }
        }
    }

    /// Brings what is owned to a share.
    fn share(&mut self, share: usize) -> Result<(), Error> {
        if self.stopping {
            return Ok(());
        }
        let owned = self.owned.len();
        if owned > share {
            self.leave(owned - share);
            return self.depart(Instant::now());
        }
        if owned < share && !self.taking {
            self.taking = true;
            return self.settler.order(Order::Take {
                owned: self.owned.locked(),
                limit: share - owned,
            });
        }
        Ok(())
    }

    fn take_shards(&mut self, taken: Vec<Taken>) {
        self.taking = false;
        if !taken.is_empty() {
            tracing::info!(deliver.shards = taken.len(), "shards taken");
            let unquiet = self.context.settings.webhooks.timeout + WAIT_SLACK;
            self.owned.take(taken, Instant::now(), unquiet);
            self.revision = (-1, -1);
            self.look_at_roster = true;
        }
        if self.stopping {
            return self.leave(self.owned.len());
        }
        if self.owned.len() == 0 {
            self.context.health.deliver.stand_by();
        } else {
            self.context.health.deliver.up();
        }
    }

    /// Begins nothing more of so many shards. They are given up once what is under way is committed.
    pub(super) fn leave(&mut self, count: usize) {
        let leaving = self.owned.leave(count, Instant::now());
        let ids: Vec<String> = self.ledger.ids_of(&leaving).cloned().collect();
        ids.iter().for_each(|id| self.forget(id));
    }

    /// Gives up what has nothing under way any more, or has had its time.
    pub(super) fn depart(&mut self, now: Instant) -> Result<(), Error> {
        let patience = self.context.settings.webhooks.timeout + WAIT_SLACK;
        for departure in self.owned.departures(now, patience) {
            let Departure {
                shards,
                in_good_order,
            } = departure;
            self.settler.order(Order::Release {
                shards,
                in_good_order,
            })?;
        }
        Ok(())
    }
}
