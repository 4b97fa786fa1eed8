//! Gathers what there is to know of slots, and of where progress stands to them.

use api::standing::State;
use store::catalog;
use store::progress::{self, Progress};
use wal::Connection;

use super::Patient;
use crate::doctor::check::Check;
use crate::doctor::{failover, retained_wal, slot};
use crate::failure::chain;
use crate::{Failure, capture, standing};

impl Patient<'_> {
    pub(super) async fn of_slots(&mut self, set_up: bool) {
        let own = &self.settings.capture.slot;
        let rebuilds = self.settings.capture.rebuilds_per_hour;
        let database = self.target.database();
        let trouble = self.trouble(set_up).await;
        let (slot, slots) = (self.own_slot(), &self.slots);
        let checks = [
            slot::slot(own, database, slot, set_up, rebuilds, trouble.as_deref()),
            retained_wal::retained_wal(slot, &self.server.settings),
            slot::orphan_slots(slots, own, database),
            slot::idle_slots(slots, own, database),
            failover::failover(&self.server, slots, own, database, &self.hosts),
        ];
        self.checks.extend(checks);
        let open = catalog::open_transactions(self.wide()).await;
        let open = open.map(|open| vec![slot::open_transactions(&open)]);
        self.note(&["open_transactions"], open.map_err(Failure::from));
    }

    /// Why the stream that somebody reads does not get on.
    async fn trouble(&self, set_up: bool) -> Option<String> {
        let seen = match set_up {
            true => store::status::capture(&self.session).await.ok()??,
            false => return None,
        };
        let standing = standing::of_slot(&self.settings.capture, &seen);
        standing.reason.filter(|_| standing.state == State::Active)
    }

    pub(super) async fn lineage(
        &self,
        progress: &Result<Option<Progress>, store::Error>,
        wire: Option<&mut Connection>,
    ) -> Result<Vec<Check>, Failure> {
        const NAME: &str = "lineage";
        let skipped = |why: &str| Ok(vec![Check::skipped(NAME, why)]);
        let stored = match progress {
            Ok(Some(stored)) => stored,
            Ok(None) => return skipped("nothing was set up yet"),
            Err(error) => return skipped(&chain(error)),
        };
        let Some(wire) = wire else {
            return skipped("it is told by a replication connection, and there is none");
        };
        let Some(publication) = self.publication().await? else {
            return skipped("there is no publication");
        };
        let server = catalog::server(&self.session).await?;
        let oid = publication.oid;
        let mut found = match capture::look(&self.session, wire, &server, stored, oid).await {
            Ok(found) => found,
            Err(fault) => return skipped(&fault.to_string()),
        };
        // A sidecar may be running: the limit is raised before the slot moves, and the WAL grows before progress
        // does, so progress is read after the one and before the other.
        let Some(stored) = progress::read(&self.session).await? else {
            return skipped("nothing is set up any more");
        };
        found.flushed = catalog::server(&self.session).await?.flush_lsn;
        let is_readable = |slot: &catalog::Slot| slot.wal_status.as_deref() != Some("lost");
        let has_slot = found.slot.as_ref().is_some_and(is_readable);
        let rebuilds = self.settings.capture.rebuilds_per_hour;
        let verdict = capture::judge(&stored, &found);
        Ok(vec![slot::lineage(&stored, verdict, has_slot, rebuilds)])
    }
}
