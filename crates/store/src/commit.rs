//! The one writer's transaction: actions, images and progress, all or nothing.
//!
//! The first statement updates the progress row for our epoch; where another sidecar has taken
//! over it finds no row and nothing is written. Seq is allocated there too, so it has no gaps.

mod columns;
mod statements;

use activity::{Action, ActionId, Lsn, Origin, Position, Seq, Source, TableName};
use jiff::Timestamp;
use postgres_types::PgLsn;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use self::columns::{Columns, ImageColumns};
use self::statements::Statements;
use crate::actions_table::ActionsTable;
use crate::images::{ImageChange, ImageTables};
use crate::progress::Half;
use crate::{Error, Remedy, Session, images};

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
    pub position: Position,
    /// Holds no value of the row.
    pub reason: String,
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
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
            && self.faults.is_empty()
            && self.images.is_empty()
            && self.truncated.is_empty()
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

/// Commits a batch. Returns the gate: the WAL position that the stream must have shown before
/// anything of this batch may be confirmed.
///
/// Not cancel safe: a cancelled call may have committed; the caller reads progress anew.
pub async fn commit(
    session: &mut Session,
    table: &ActionsTable,
    tables: &mut ImageTables,
    fence: Fence,
    reached: &Reached,
    batch: &Batch,
) -> Result<Lsn, Error> {
    let statements = Statements::prepare(session, table).await?;
    let write = Write {
        statements: &statements,
        tables,
        fence,
        reached,
        batch,
    };
    let transaction = session.transaction().await?;
    let written = match write.all(&transaction).await {
        // A deferred constraint refuses its row only here.
        Ok(()) => transaction.commit().await.map_err(Error::from),
        Err(error) => {
            // The transaction ends with its connection where even this is refused.
            transaction.rollback().await.ok();
            Err(error)
        }
    };
    match written {
        Ok(()) => {}
        Err(error) if error.remedy() == Remedy::RowAtFault => {
            table.check_privilege(session).await?;
            let transaction = session.transaction().await?;
            write.around_faults(&transaction).await?;
            transaction.commit().await?;
        }
        Err(error) => return Err(error),
    }
    for table in &batch.truncated {
        tables.raise(table);
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
    tables: &'a ImageTables,
    fence: Fence,
    reached: &'a Reached,
    batch: &'a Batch,
}

impl Write<'_> {
    async fn all(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.progress(transaction).await?;
        let columns = Columns::of(&self.batch.actions);
        let (log, actions, images, faults) = tokio::join!(
            columns.insert_log(transaction, self.statements, self.fence.seq),
            columns.insert_project_actions(transaction, self.statements),
            self.images(transaction),
            self.faults(transaction),
        );
        first_cause([log, actions, images, faults])
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
        // A deferred constraint would refuse the row at COMMIT, when no row can be told from another.
        transaction
            .batch_execute("set constraints all immediate")
            .await?;
        let mut ranges: Vec<_> = std::iter::once(0..batch.actions.len()).collect();
        while let Some(range) = ranges.pop() {
            let Some(actions) = batch.actions.get(range.clone()).filter(|a| !a.is_empty()) else {
                continue;
            };
            transaction.batch_execute("savepoint halving").await?;
            let columns = Columns::of(actions);
            match columns
                .insert_project_actions(transaction, self.statements)
                .await
            {
                Ok(()) => {
                    transaction
                        .batch_execute("release savepoint halving")
                        .await?;
                }
                Err(error) if error.remedy() == Remedy::RowAtFault => {
                    transaction
                        .batch_execute("rollback to savepoint halving; release savepoint halving")
                        .await?;
                    if actions.len() == 1 {
                        let seq = fence.seq.get() + 1 + range.start as i64;
                        write_refusal(transaction, &actions[0], Seq::new(seq), &error).await?;
                    } else {
                        let middle = range.start + actions.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
            let columns = if change.row.is_some() {
                &mut kept
            } else {
                &mut gone
            };
            columns.ids.push(table.id);
            columns.keys.push(change.key.as_str());
            columns.generations.push(table.generation);
            columns.xids.push(change.xid as i64);
            columns.rows.extend(change.row.as_deref());
        }
        if !kept.ids.is_empty() {
            let ImageColumns {
                ids,
                keys,
                generations,
                xids,
                rows,
            } = &kept;
            transaction
                .execute(
                    &self.statements.keep_images,
                    &[ids, keys, generations, xids, rows],
                )
                .await?;
        }
        if !gone.ids.is_empty() {
            transaction
                .execute(&self.statements.drop_images, &[&gone.ids, &gone.keys])
                .await?;
        }
        Ok(())
    }

    async fn faults(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        for fault in &self.batch.faults {
            transaction
                .execute(
                    "insert into quarantine
                       (kind, rule, table_name, key, commit_lsn, change_lsn, change_index, reason)
                     values ('rule', $1, $2, $3, $4, $5, $6, $7)",
                    &[
                        &fault.rule,
                        &fault.table.to_string(),
                        &fault.key.as_ref().map(activity::Key::as_str),
                        &PgLsn::from(fault.commit_lsn.get()),
                        &PgLsn::from(fault.position.lsn.get()),
                        &i64::from(fault.position.index),
                        &fault.reason,
                    ],
                )
                .await?;
        }
        Ok(())
    }
}

/// Of statements that were under way together, the error that made the others fail: once one is
/// refused those behind it are too, and the answer to one of those may be looked at first.
fn first_cause(outcomes: [Result<(), Error>; 4]) -> Result<(), Error> {
    let follows =
        |error: &Error| error.sqlstate() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
    let mut errors: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(follows);
    errors.into_iter().next().map_or(Ok(()), Err)
}

async fn write_refusal(
    transaction: &Transaction<'_>,
    action: &NewAction,
    seq: Seq,
    error: &Error,
) -> Result<(), Error> {
    transaction
        .execute(
            "insert into quarantine (kind, rule, seq, table_name, key, commit_lsn, change_lsn,
               change_index, sqlstate, reason)
             values ('refused', $1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &action.source.rule,
                &seq.get(),
                &action.source.table.to_string(),
                &action.source.key.as_str(),
                &PgLsn::from(action.commit_lsn.get()),
                &PgLsn::from(action.source.position.lsn.get()),
                &i64::from(action.source.position.index),
                &error.sqlstate().map(|state| state.code().to_owned()),
                &error.to_string(),
            ],
        )
        .await?;
    Ok(())
}
