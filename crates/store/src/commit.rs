//! The one writer's transaction: actions, images and progress, all or nothing.
//!
//! The first statement updates the progress row for our epoch; where another sidecar has taken
//! over it finds no row and nothing is written. Seq is allocated there too, so it has no gaps.

mod columns;
mod quarantine;
mod statements;

use std::sync::Arc;

use activity::{Action, ActionId, Event, Lsn, Origin, Position, Seq, Source, TableName};
use jiff::Timestamp;
use postgres_types::PgLsn;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use self::columns::{Columns, ImageColumns};
use self::quarantine::{Quarantined, quarantine, settle};
use self::statements::Statements;
use crate::actions_table::ActionsTable;
use crate::images::{ImageChange, ImageTables, RowJson, Told};
use crate::log::LoggedAction;
use crate::progress::Half;
use crate::quarantine::Outcome;
use crate::runs::{self, RunChange};
use crate::{Error, Remedy, Session, images, outbox, quote_identifier, reconcile};

/// An action with its identity and time, ready for the log.
#[derive(Clone, Debug)]
pub struct NewAction {
    pub id: ActionId,
    pub action: Action,
    pub source: Source,
    pub origin: Origin,
    pub commit_lsn: Lsn,
    pub committed_at: Timestamp,
    /// The 64-bit id of the transaction.
    pub xid: u64,
}

/// A change that a rule could not make an action of.
#[derive(Clone, Debug)]
pub struct NewFault {
    pub rule: Option<String>,
    pub table: TableName,
    pub key: Option<activity::Key>,
    pub commit_lsn: Lsn,
    pub committed_at: Timestamp,
    /// The 64-bit id of the transaction.
    pub xid: u64,
    pub position: Position,
    /// Holds no value of the row.
    pub reason: String,
    pub kept: Option<Arc<Kept>>,
}

/// What working a change out again takes.
#[derive(Clone)]
pub struct Kept {
    pub event: Event,
    pub key_before: Option<activity::Key>,
    pub old: Option<RowJson>,
    /// Whether more of the old row was known than its key.
    pub old_known: bool,
    pub new: Option<RowJson>,
    /// A JSON object: the OIDs of the columns' types by name.
    pub types: String,
    /// Rules that have worked it out already.
    pub ran: Vec<String>,
    /// A JSON object: what the transaction said of itself.
    pub context: Option<String>,
}

/// Prints no value of the row.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.event.as_str())
    }
}

/// A row of the quarantine that was tried again.
#[derive(Clone, Debug)]
pub struct Retried {
    pub id: i64,
    pub outcome: Outcome,
}

/// Everything that one commit group writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub actions: Vec<NewAction>,
    pub faults: Vec<NewFault>,
    /// At most one change for each key. Those of truncated tables hold what came after.
    pub images: Vec<ImageChange>,
    /// Each table once, however often it was truncated.
    pub truncated: Vec<TableName>,
    pub retried: Vec<Retried>,
    /// Where this is a chunk of a table under reconcile.
    pub advance: Option<reconcile::Advance>,
    /// At most one change of each run.
    pub runs: Vec<RunChange>,
    /// What of the outbox these actions are: it is taken out.
    pub notices: Vec<i64>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
            && self.faults.is_empty()
            && self.images.is_empty()
            && self.truncated.is_empty()
            && self.retried.is_empty()
            && self.advance.is_none()
            && self.runs.is_empty()
            && self.notices.is_empty()
    }

    /// Whether anything of it goes to `project_actions`.
    fn tells(&self) -> bool {
        self.actions.iter().any(|a| a.origin != Origin::Notice)
    }
}

/// Where progress stands once the batch is in.
#[derive(Clone, Debug)]
pub struct Reached {
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub confirm_limit: Lsn,
    pub half: Option<Half>,
}

/// Who writes, and from where: the fence.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    pub epoch: i64,
    /// The newest seq before this batch.
    pub seq: Seq,
}

/// Where a batch goes.
pub struct Into<'a> {
    pub table: &'a ActionsTable,
    pub images: &'a mut ImageTables,
    pub fence: Fence,
    pub reached: &'a Reached,
}

/// Commits a batch. Returns the gate: the WAL position that the stream must have shown before
/// anything of this batch may be confirmed.
///
/// Not cancel safe: a cancelled call may have committed; the caller reads progress anew. An error of
/// remedy [`Remedy::RowAtFault`] asks for [`commit_around_faults`].
pub async fn commit(
    session: &mut Session,
    into: &mut Into<'_>,
    batch: &Batch,
) -> Result<Lsn, Error> {
    let statements = Statements::prepare(session, into.table, batch.tells()).await?;
    let schema = quote_identifier(session.schema());
    let write = Write::new(&statements, &schema, into, batch);
    let transaction = session.transaction().await?;
    if let Err(error) = write.all(&transaction).await {
        // The transaction ends with its connection where even this is refused.
        transaction.rollback().await.ok();
        return Err(explained(session, into.table, error).await?);
    }
    // A deferred constraint refuses its row only here.
    transaction.commit().await?;
    committed(session, into.images, batch).await
}

/// Whether one row of the batch is at fault for it, if only for now: it refers to a row that another
/// transaction holds.
pub fn is_of_a_row(error: &Error) -> bool {
    error.remedy() == Remedy::RowAtFault || error.is_locked_row()
}

/// While rows are tried one by one: a lock that is held at all is held for long, and what is set aside for
/// it is tried again.
const WAIT_BRIEFLY: &str = "set local lock_timeout = '20ms'";
const WAIT_AS_EVER: &str = "set local lock_timeout = '500ms'";

/// Commits a batch of which `project_actions` refuses a row: the rows at fault are found by halving
/// and go to quarantine. Takes a few round trips for each of them. Not cancel safe, like [`commit`].
pub async fn commit_around_faults(
    session: &mut Session,
    into: &mut Into<'_>,
    batch: &Batch,
) -> Result<Lsn, Error> {
    into.table.check_privilege(session).await?;
    let statements = Statements::prepare(session, into.table, true).await?;
    let schema = quote_identifier(session.schema());
    let write = Write::new(&statements, &schema, into, batch);
    let transaction = session.transaction().await?;
    write.around_faults(&transaction).await?;
    transaction.commit().await?;
    committed(session, into.images, batch).await
}

/// Writes the row of a logged action that `project_actions` refused before, and settles what the batch
/// says of the quarantine. Not cancel safe, like [`commit`]; an error of remedy
/// [`Remedy::RowAtFault`] says that it is refused again.
pub async fn rewrite(
    session: &mut Session,
    into: &mut Into<'_>,
    action: &LoggedAction,
    batch: &Batch,
) -> Result<Lsn, Error> {
    let statements = Statements::prepare(session, into.table, true).await?;
    let schema = quote_identifier(session.schema());
    let write = Write::new(&statements, &schema, into, batch);
    let transaction = session.transaction().await?;
    let written = async {
        write.progress(&transaction).await?;
        settle(&transaction, &batch.retried).await?;
        transaction.batch_execute(WAIT_BRIEFLY).await?;
        write.enter_triggers_path(&transaction).await?;
        Columns::of_logged(action)
            .insert_project_actions(&transaction, &statements)
            .await?;
        write.leave_triggers_path(&transaction).await
    };
    if let Err(error) = written.await {
        transaction.rollback().await.ok();
        return Err(explained(session, into.table, error).await?);
    }
    transaction.commit().await?;
    gate(session).await
}

/// A missing privilege is of the whole table: its error says what to grant.
async fn explained(session: &Session, table: &ActionsTable, error: Error) -> Result<Error, Error> {
    let lacks = error.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    if !lacks || error.remedy() != Remedy::Stop {
        return Ok(error);
    }
    table.check_privilege(session).await?;
    let user = quote_identifier(session.user());
    Ok(Error::NotReady(format!(
        "{error}, which writing to {} needs: run `tidings setup`, or grant it to {user}",
        table.table
    )))
}

async fn committed(
    session: &Session,
    images: &mut ImageTables,
    batch: &Batch,
) -> Result<Lsn, Error> {
    for table in &batch.truncated {
        images.raise(table);
    }
    gate(session).await
}

/// The server's insert position: at or past the end of every commit that has returned.
pub async fn gate(session: &Session) -> Result<Lsn, Error> {
    let row = session
        .query_one("select pg_current_wal_insert_lsn()", &[])
        .await?;
    Ok(Lsn::new(u64::from(row.get::<_, PgLsn>(0))))
}

/// One batch on its way into one transaction.
struct Write<'a> {
    statements: &'a Statements,
    /// The sidecar's, quoted.
    schema: &'a str,
    /// The search path that triggers of `project_actions` expect, where it has any.
    triggers_path: Option<String>,
    tables: &'a ImageTables,
    fence: Fence,
    reached: &'a Reached,
    batch: &'a Batch,
}

impl<'a> Write<'a> {
    fn new(
        statements: &'a Statements,
        schema: &'a str,
        into: &'a Into<'_>,
        batch: &'a Batch,
    ) -> Self {
        Self {
            statements,
            schema,
            triggers_path: into.table.search_path(),
            tables: into.images,
            fence: into.fence,
            reached: into.reached,
            batch,
        }
    }

    async fn all(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.progress(transaction).await?;
        let columns = Columns::of(&self.batch.actions);
        let told = Columns::told(&self.batch.actions);
        let project_actions = async {
            match self.triggers_path {
                None => {
                    told.insert_project_actions(transaction, self.statements)
                        .await
                }
                Some(_) => Ok(()),
            }
        };
        let (log, actions, images, faults) = tokio::join!(
            columns.insert_log(transaction, self.statements, self.fence.seq),
            project_actions,
            self.images(transaction),
            self.faults(transaction),
        );
        first_cause([log, actions, images, faults])?;
        settle(transaction, &self.batch.retried).await?;
        runs::settle(transaction, &self.batch.runs).await?;
        outbox::take_out(transaction, &self.batch.notices).await?;
        if self.triggers_path.is_some() {
            self.enter_triggers_path(transaction).await?;
            told.insert_project_actions(transaction, self.statements)
                .await?;
            self.leave_triggers_path(transaction).await?;
        }
        Ok(())
    }

    async fn enter_triggers_path(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        if let Some(path) = &self.triggers_path {
            transaction
                .batch_execute(&format!("set local search_path = {path}"))
                .await?;
        }
        Ok(())
    }

    async fn leave_triggers_path(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        if self.triggers_path.is_some() {
            let path = format!("set local search_path = {}, pg_catalog", self.schema);
            transaction.batch_execute(&path).await?;
        }
        Ok(())
    }

    /// The same, where `project_actions` refuses a row: the rows at fault are found by halving and
    /// set aside in the quarantine; everything else is written.
    async fn around_faults(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let (batch, fence) = (self.batch, self.fence);
        self.progress(transaction).await?;
        Columns::of(&batch.actions)
            .insert_log(transaction, self.statements, fence.seq)
            .await?;
        self.images(transaction).await?;
        self.faults(transaction).await?;
        settle(transaction, &batch.retried).await?;
        runs::settle(transaction, &batch.runs).await?;
        outbox::take_out(transaction, &batch.notices).await?;
        // A deferred constraint would refuse the row at COMMIT, when no row can be told from another.
        transaction
            .batch_execute("set constraints all immediate")
            .await?;
        let mut ranges: Vec<_> = std::iter::once(0..batch.actions.len()).collect();
        let mut refused = Vec::new();
        transaction.batch_execute(WAIT_BRIEFLY).await?;
        self.enter_triggers_path(transaction).await?;
        while let Some(range) = ranges.pop() {
            let Some(actions) = batch.actions.get(range.clone()).filter(|a| !a.is_empty()) else {
                continue;
            };
            let columns = Columns::told(actions);
            let (saved, inserted) = tokio::join!(
                transaction.batch_execute("savepoint halving"),
                columns.insert_project_actions(transaction, self.statements),
            );
            saved?;
            match inserted {
                Ok(()) => {
                    transaction
                        .batch_execute("release savepoint halving")
                        .await?;
                }
                Err(error) if is_of_a_row(&error) => {
                    transaction
                        .batch_execute("rollback to savepoint halving; release savepoint halving")
                        .await?;
                    if actions.len() == 1 {
                        refused.push((range.start, error));
                    } else {
                        let middle = range.start + actions.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.leave_triggers_path(transaction).await?;
        transaction.batch_execute(WAIT_AS_EVER).await?;
        let rows: Vec<Quarantined<'_>> = refused
            .iter()
            .map(|(place, error)| {
                let seq = fence.seq.get() + 1 + *place as i64;
                Quarantined::of_refusal(&batch.actions[*place], Seq::new(seq), error)
            })
            .collect();
        quarantine(transaction, "refused", &rows).await
    }

    /// The fence: finds no row where another sidecar has taken over.
    async fn progress(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Reached {
            commit_lsn,
            end_lsn,
            confirm_limit,
            half,
        } = self.reached;
        let half = half.as_ref();
        let lsn = |lsn: Lsn| PgLsn::from(lsn.get());
        let updated = transaction
            .execute(
                &self.statements.progress,
                &[
                    &self.fence.epoch,
                    &self.fence.seq.get(),
                    &(self.batch.actions.len() as i64),
                    &lsn(*commit_lsn),
                    &lsn(*end_lsn),
                    &lsn(*confirm_limit),
                    &half.map(|h| lsn(h.commit_lsn)),
                    &half.map(|h| lsn(h.position.lsn)),
                    &half.map(|h| i64::from(h.position.index)),
                    &half.map(|h| i64::from(h.next_ordinal)),
                    &half.map(|h| &h.packs),
                ],
            )
            .await?;
        if updated == 1 {
            Ok(())
        } else {
            Err(Error::Fenced(self.fence.epoch))
        }
    }

    async fn images(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Batch {
            images: changes,
            truncated,
            ..
        } = self.batch;
        if !truncated.is_empty() {
            let ids: Result<Vec<i32>, Error> = truncated
                .iter()
                .map(|t| self.tables.get(t).map(|t| t.id))
                .collect();
            images::void(transaction, &ids?).await?;
        }
        let (mut kept, mut gone) = (ImageColumns::default(), ImageColumns::default());
        for change in changes {
            let mut table = self.tables.get(&change.table)?;
            table.generation += i32::from(truncated.contains(&change.table));
            let columns = if change.row.is_some() || table.keeps_deletes {
                &mut kept
            } else {
                &mut gone
            };
            columns.ids.push(table.id);
            columns.keys.push(change.key.as_str());
            columns.generations.push(table.generation);
            columns.xids.push(change.xid as i64);
            columns.rows.push(change.row.as_deref());
            let (told, heir) = match &change.told {
                Told::Yes => (Some(true), None),
                Told::No => (Some(false), None),
                Told::As(key) => (None, Some(key.as_str())),
            };
            columns.told.push(told);
            columns.heirs.push(heir);
        }
        if !kept.ids.is_empty() {
            let ImageColumns {
                ids,
                keys,
                generations,
                xids,
                rows,
                told,
                heirs,
            } = &kept;
            transaction
                .execute(
                    &self.statements.keep_images,
                    &[ids, keys, generations, xids, rows, told, heirs],
                )
                .await?;
        }
        if !gone.ids.is_empty() {
            transaction
                .execute(&self.statements.drop_images, &[&gone.ids, &gone.keys])
                .await?;
        }
        match &self.batch.advance {
            Some(advance) => reconcile::advance(transaction, advance).await,
            None => Ok(()),
        }
    }

    async fn faults(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let rows: Vec<Quarantined<'_>> = self
            .batch
            .faults
            .iter()
            .map(Quarantined::of_fault)
            .collect();
        quarantine(transaction, "rule", &rows).await
    }
}

/// Of statements that were under way together, the error that made the others fail: once one is
/// refused those behind it are too, and the answer to one of those may be looked at first.
fn first_cause(outcomes: [Result<(), Error>; 4]) -> Result<(), Error> {
    let follows = |error: &Error| error.sqlstate() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
    let mut errors: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(follows);
    errors.into_iter().next().map_or(Ok(()), Err)
}
