//! Gathers what there is to know of slots, and of where progress stands to them.

use api::standing::State;
use store::catalog;
use store::progress::{self, Progress};
use wal::Connection;

use super::Patient;
use crate::capture::Verdict;
use crate::capture::budget::percent;
use crate::doctor::check::Check;
use crate::doctor::retained_wal::Budget;
use crate::doctor::{failover, retained_wal, slot};
use crate::failure::chain;
use crate::{Failure, capture, standing};

impl Patient<'_> {
    pub(super) async fn of_slots(&mut self, set_up: bool) {
        let own = &self.settings.capture.slot;
        let database = self.target.database();
        let trouble = self.trouble(set_up).await;
        let budget = self.budget().await;
        let refused = match slot::end(own, database, self.own_slot()).filter(|_| set_up) {
            Some(why) => self.refused(&why).await,
            None => None,
        };
        let (slot, slots) = (self.own_slot(), &self.slots);
        let checks = [
            slot::slot(own, database, slot, set_up, refused, trouble.as_deref()),
            retained_wal::retained_wal(slot, slots, &self.server.settings, budget),
            slot::orphan_slots(slots, own, database),
            slot::idle_slots(slots, own, database),
            failover::failover(&self.server, slots, own, &self.target, &self.hosts),
        ];
        self.checks.extend(checks);
        let open = catalog::open_transactions(self.wide()).await;
        let open = open.map(|open| vec![slot::open_transactions(&open)]);
        self.note(&["open_transactions"], open.map_err(Failure::from));
    }

    /// Why `run` makes no new slot, as it judges itself. What can not be read of earlier ones `setup` and
    /// `grants` tell.
    async fn refused(&self, why: &str) -> Option<String> {
        let limit = self.settings.capture.rebuilds_per_hour;
        let refused = capture::refusal(&self.session, limit, why).await;
        refused.ok().flatten()
    }

    /// The budget of the slot, judged as `status` does.
    async fn budget(&self) -> Option<Budget> {
        let capture = &self.settings.capture;
        let bytes = capture.max_retained_wal?.as_u64();
        let slot = catalog::slot(&self.session, &capture.slot).await;
        let percent = slot.ok().flatten().map(|slot| percent(&slot, bytes));
        Some(Budget { bytes, percent })
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
        let verdict = capture::judge(&stored, &found);
        let refused = match &verdict {
            Verdict::Rebuild(why) => self.refused(why).await,
            Verdict::Resume | Verdict::Follow { .. } | Verdict::Refuse(_) => None,
        };
        Ok(vec![slot::lineage(&stored, verdict, has_slot, refused)])
    }
}
