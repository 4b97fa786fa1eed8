//! The one writer: turns a commit group into one commit, and says what may be confirmed.

mod patience;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use activity::{Lsn, Part, Seq, TableName, Xid};
use rules::{Images, PackSource, Rules, Shape, Shapes, Wanted};
use store::actions_table::ActionsTable;
use store::attributes;
use store::commit::{self, Batch, Fence, Reached};
use store::images::{self, ImageTables};
use store::log::LoggedAction;
use store::progress::{self, Half, Progress};
use store::runs::RunChange;
use store::{Error, Session};
use store::{catalog, partitions, reconcile};
use wal::Confirm;

use super::derive::{Deriver, Gathered};
use super::group::Group;
use super::guard::Guard;
use super::locked::Locked;
use super::runs::{Hearing, Watchdog, is_announcement};
use super::{Context, Fault, load, needed, renamed, visible};

/// Groups from this many changes on are derived without holding up the other tasks of the thread.
const BLOCKING_CHANGES: usize = 256;
/// How often a group may ask for rows to look up: once for each hop, and a few times more where its own
/// changes lead elsewhere.
const ROUNDS_MAX: usize = 1000;

pub struct Writer<'a> {
    pub(super) context: &'a Context,
    pub(super) rules: Arc<Rules>,
    pub(super) session: Session,
    pub(super) guard: Guard,
    table: ActionsTable,
    pub(super) image_tables: ImageTables,
    /// As the database has it.
    pub(super) progress: Progress,
    /// Those that a half-done transaction is finished under.
    half_rules: Option<Rules>,
    /// The shapes of the tables that those name.
    half_shapes: Shapes,
    /// Of the transaction under way.
    next_ordinal: u32,
    /// A recent 64-bit transaction id.
    xid: u64,
    /// The last seq that has a partition.
    covered: Seq,
    /// What the stream must show before anything is confirmed: the end of our last commit.
    gate: Lsn,
    /// Everything that was committed before this is in.
    pub(super) passed: Lsn,
    /// Of the transaction that came last there is more to come.
    pub(super) in_transaction: bool,
    pub(super) watchdog: Watchdog,
    pub(super) locked: Locked,
    /// Whether `status` may still hold the reason of an earlier stop.
    has_stop_reason: bool,
}

impl<'a> Writer<'a> {
    pub async fn begin(
        context: &'a Context,
        rules: Arc<Rules>,
        mut session: Session,
        guard: Guard,
        progress: Progress,
        xid: u64,
    ) -> Result<Self, Fault> {
        let table =
            ActionsTable::describe(&session, &context.settings.capture.actions_table).await?;
        let mut named = guard.tables().to_vec();
        let half_rules = progress.half.as_ref().map(half_rules).transpose()?;
        let half_rules =
            half_rules.map(|rules| rules.with_context(context.settings.capture.context));
        let next_ordinal = progress.half.as_ref().map_or(0, |half| half.next_ordinal);
        // Tables that only the old packs name are still those of the transaction that is half done.
        let mut half_shapes = guard.shapes.clone();
        if let Some(rules) = &half_rules {
            let tables: Vec<TableName> = rules.tables().map(|used| used.table.clone()).collect();
            let found = catalog::tables(&session, &tables).await?;
            half_shapes.extend(found.into_iter().map(|(name, table)| {
                let types = table.columns.into_iter().zip(table.types).collect();
                (
                    name,
                    Shape {
                        key: table.key,
                        types,
                    },
                )
            }));
            named.extend(tables);
        }
        for (before, now) in attributes::follow(&mut session, &named).await? {
            tracing::info!(table.before = %before, table.now = %now, "a renamed table keeps its images");
        }
        images::tables(&session, &named).await?;
        // Another key voids images: their numbers are read after that.
        reconcile::require(&session, &needed(&guard.shapes)).await?;
        let mut image_tables = images::tables(&session, &named).await?;
        let in_transaction = progress.half.is_some();
        attributes::remember(&session, &mut image_tables).await?;
        let gate = commit::gate(&session).await?;
        let watchdog = Watchdog::begin(&session).await?;
        let mut writer = Self {
            context,
            rules,
            session,
            guard,
            table,
            image_tables,
            progress,
            half_rules,
            half_shapes,
            next_ordinal,
            xid,
            covered: Seq::ZERO,
            gate,
            passed: Lsn::ZERO,
            in_transaction,
            watchdog,
            locked: Locked::default(),
            has_stop_reason: true,
        };
        // Before the stream shows anything: what is deleted from here on must leave its tombstone.
        writer.take_up().await?;
        Ok(writer)
    }

    /// Waits until the connection to the database is lost. Cancel safe.
    pub async fn lost(&self) {
        self.session.closed().await;
    }

    /// Compares the catalog with what this session began with. A promoted server may have been met meanwhile.
    pub async fn check(&mut self) -> Result<(), Fault> {
        self.session.check_timeline()?;
        self.table.look_again(&self.session).await?;
        self.guard.check(&self.session).await
    }

    /// Commits a group. Returns what may be confirmed now, where that is anything.
    pub async fn commit(&mut self, mut group: Group) -> Result<Option<Confirm>, Fault> {
        let Err((place, fault)) = self.name(&mut group).await else {
            return self.commit_named(group).await;
        };
        // What was committed before it is not held up by it.
        group.cut(place);
        self.commit_named(group).await?;
        Err(fault)
    }

    async fn commit_named(&mut self, group: Group) -> Result<Option<Confirm>, Fault> {
        let confirmable = group.confirmable();
        let in_transaction = group.parts.last().map(|part| part.end.is_none());
        if !group.parts.is_empty() {
            let batch = self.derive(&group).await?;
            // A transaction that means nothing to us costs no write: it is passed like a mark. But one
            // that is half done must be seen through, or a restart would wait for it for ever.
            if !batch.is_empty() || self.progress.half.is_some() {
                let reached = self.reached(&group, confirmable);
                // The rows have served: a commit that waits must not keep them in memory.
                drop(group);
                self.write(reached, &batch).await?;
                self.context.committed.reach(self.progress.end_lsn);
            }
        }
        self.in_transaction = in_transaction.unwrap_or(self.in_transaction);
        if std::mem::take(&mut self.has_stop_reason) {
            progress::resumed(&self.session, self.progress.epoch).await?;
        }
        self.context.health.capture.moves();
        let Some(position) = confirmable else {
            return Ok(None);
        };
        self.passed = self.passed.max(position);
        if position > self.progress.confirm_limit {
            self.lease(position).await?;
        }
        Ok(Some(Confirm {
            position,
            gate: self.gate,
        }))
    }

    /// A clean stop: keeps the exact position, so that a slot moved meanwhile is noticed.
    pub async fn stop(self, confirmed: Lsn) -> Result<(), Fault> {
        Ok(progress::stop(&self.session, self.progress.epoch, confirmed).await?)
    }

    /// Those in force for what begins now.
    pub(super) fn rules_now(&self) -> &Rules {
        &self.rules
    }

    /// Sees to it that every table comes under the name that rules know; the error says of which part that can
    /// not be. A half-done transaction is
    /// finished under packs that know it as it was.
    async fn name(&self, group: &mut Group) -> Result<(), (usize, Fault)> {
        for (place, part) in group.parts.iter_mut().enumerate() {
            let half = self.progress.half.as_ref().map(|half| half.commit_lsn);
            if half == Some(part.begin.commit_lsn) && self.half_rules.is_some() {
                continue;
            }
            let oids = &self.guard.oids;
            while let Some((known, told)) = renamed::stranger(part, oids) {
                let met = self.meet(part.begin.xid, known, told).await;
                met.map_err(|fault| (place, fault))?;
                renamed::adopt(part, known, oids);
            }
        }
        Ok(())
    }

    /// A table came under another name in a transaction that others may not see yet.
    async fn meet(&self, xid: Xid, known: &TableName, told: &TableName) -> Result<(), Fault> {
        let xids = [xid.widen(self.xid)].into_iter();
        let patience = self.context.settings.capture.commit_patience;
        if !visible::until(&self.session, xids, patience).await? {
            return Err(Fault::Passing(format!(
                "nobody sees transaction {} yet, which calls table {known} {told}",
                xid.0
            )));
        }
        self.guard.meet(&self.session, known, told).await
    }

    /// What a part is derived under: a transaction that is half done is finished under its own packs.
    fn rules(&self, part: &Part) -> (&Rules, &Shapes) {
        let commit_lsn = part.begin.commit_lsn;
        let half = self
            .progress
            .half
            .as_ref()
            .filter(|half| half.commit_lsn == commit_lsn);
        match (half, &self.half_rules) {
            (Some(_), Some(rules)) => (rules, &self.half_shapes),
            _ => (&self.rules, &self.guard.shapes),
        }
    }

    /// Derives a group. Rows that rules look up are loaded as they turn out to be needed: those of the
    /// whole group together, one hop after the other.
    async fn derive(&mut self, group: &Group) -> Result<Batch, Fault> {
        let mut images = self.rules.images();
        for table in self.guard.tables() {
            if self.image_tables.keeps_deletes(table) {
                images.keep_deletes(table.clone());
            }
            if self.image_tables.follow_a_gap(table) {
                images.after_gap(table.clone());
            }
        }
        let mut keys = BTreeSet::new();
        for part in &group.parts {
            let (rules, shapes) = self.rules(part);
            keys.extend(rules.needs(part, shapes));
        }
        load::rows(&self.session, &self.image_tables, &keys, &mut images).await?;
        let mut gathered = Gathered::default();
        let mut hearing = self.hearing(&group.parts).await?;
        let mut done = 0;
        for _ in 0..ROUNDS_MAX {
            let mut derive =
                || self.derive_from(&mut done, group, &mut images, &mut gathered, &mut hearing);
            let missing = if group.changes() < BLOCKING_CHANGES {
                derive()
            } else {
                tokio::task::block_in_place(derive)
            };
            if missing.is_empty() {
                let mut batch = gathered.batch();
                batch.runs = hearing.changes();
                return Ok(batch);
            }
            let (session, tables) = (&self.session, &self.image_tables);
            load::wanted(session, tables, &self.guard.shapes, missing, &mut images).await?;
        }
        Err(Fault::Operator(format!(
            "lookups of one commit group asked for rows {ROUNDS_MAX} times and are not through: a rule \
             looks up without end"
        )))
    }

    /// Derives the parts that are not done, up to one whose lookups miss rows. Those, and what the parts
    /// after it will miss, come back.
    fn derive_from(
        &mut self,
        done: &mut usize,
        group: &Group,
        images: &mut Images,
        gathered: &mut Gathered,
        hearing: &mut Hearing,
    ) -> BTreeSet<Wanted> {
        let parts = group.parts.iter().skip(*done);
        let settings = &self.context.settings.capture;
        for part in parts {
            if settings.context {
                let system_id = &self.progress.lineage.system_id;
                let announced = hearing.part(part, system_id, settings.run_timeout);
                announced
                    .into_iter()
                    .for_each(|action| gathered.push(action));
            }
            if is_announcement(part) {
                *done += 1;
                continue;
            }
            let mut ordinal = if part.first { 0 } else { self.next_ordinal };
            let xid = part.begin.xid.widen(self.xid);
            let derived = self
                .deriver(part)
                .part(part, xid, &mut ordinal, images, gathered);
            if let Err(mut missing) = derived {
                for later in group.parts.iter().skip(*done + 1) {
                    missing.extend(self.deriver(later).missing(later, images));
                }
                return missing;
            }
            self.next_ordinal = ordinal;
            self.xid = xid;
            *done += 1;
        }
        BTreeSet::new()
    }

    fn deriver(&self, part: &Part) -> Deriver<'_> {
        let (rules, shapes) = self.rules(part);
        Deriver {
            rules,
            shapes,
            system_id: &self.progress.lineage.system_id,
        }
    }

    pub(super) async fn write(&mut self, reached: Reached, batch: &Batch) -> Result<(), Fault> {
        let last = Seq::new(self.progress.seq.get() + batch.actions.len() as i64);
        if last > self.covered {
            self.covered = partitions::cover_actions(&self.session, last).await?;
        }
        self.gate = self.commit_patiently(&reached, batch).await?;
        self.progress.seq = last;
        self.progress.commit_lsn = reached.commit_lsn;
        self.progress.end_lsn = reached.end_lsn;
        self.progress.confirm_limit = self.progress.confirm_limit.max(reached.confirm_limit);
        let half_of = |half: &Option<Half>| half.as_ref().map(|half| half.commit_lsn);
        if half_of(&self.progress.half) != half_of(&reached.half) {
            self.half_rules = None;
        }
        self.progress.half = reached.half;
        for change in &batch.runs {
            if let RunChange::Open(run) = change {
                self.watchdog.expect(run.timeout);
            }
        }
        if !batch.actions.is_empty() {
            self.context.appended.notify_one();
        }
        super::session::count(batch);
        Ok(())
    }

    /// Where progress stands once the group is in.
    fn reached(&self, group: &Group, confirmable: Option<Lsn>) -> Reached {
        let whole = group
            .parts
            .iter()
            .rev()
            .find_map(|p| p.end.map(|end| (p.begin.commit_lsn, end)));
        let (commit_lsn, end_lsn) =
            whole.unwrap_or((self.progress.commit_lsn, self.progress.end_lsn));
        let lease = self.context.settings.capture.confirm_lease.as_u64();
        let half = group
            .parts
            .last()
            .filter(|part| part.end.is_none())
            .and_then(|part| {
                Some(Half {
                    commit_lsn: part.begin.commit_lsn,
                    position: part.changes.last()?.position,
                    next_ordinal: self.next_ordinal,
                    packs: serde_json::to_value(self.rules(part).0.sources()).ok()?,
                })
            });
        Reached {
            commit_lsn,
            end_lsn,
            confirm_limit: confirmable.unwrap_or(end_lsn).plus(lease),
            half,
        }
    }

    /// The row of a logged action once more.
    pub(super) async fn rewrite(
        &mut self,
        action: &LoggedAction,
        batch: &Batch,
    ) -> Result<(), Error> {
        let reached = self.unmoved();
        let mut into = commit::Into {
            table: &self.table,
            images: &mut self.image_tables,
            fence: Fence {
                epoch: self.progress.epoch,
                seq: self.progress.seq,
            },
            reached: &reached,
        };
        let patience = self.context.settings.capture.commit_patience;
        let rewrite = commit::rewrite(&mut self.session, &mut into, action, batch);
        self.gate = in_time(patience, rewrite).await?;
        Ok(())
    }

    /// Raises the limit for confirming other tables' WAL: at most one small write for each lease.
    async fn lease(&mut self, position: Lsn) -> Result<(), Fault> {
        let limit = position.plus(self.context.settings.capture.confirm_lease.as_u64());
        progress::lease(&self.session, self.progress.epoch, limit).await?;
        self.progress.confirm_limit = limit;
        self.gate = commit::gate(&self.session).await?;
        Ok(())
    }
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::TimedOut(limit.as_secs())),
    }
}

/// The packs that were in force when the transaction's first part was committed.
fn half_rules(half: &Half) -> Result<Rules, Fault> {
    let refuse = |problem: String| {
        Fault::Operator(format!(
            "a transaction is committed in part under rule packs that do not compile any more: {problem}. \
             Run the version of tidings that began it until it is through"
        ))
    };
    let sources: Vec<PackSource> =
        serde_json::from_value(half.packs.clone()).map_err(|error| refuse(error.to_string()))?;
    Rules::compile(&sources).map_err(|problems| refuse(problems.to_string()))
}
