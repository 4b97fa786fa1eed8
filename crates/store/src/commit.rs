//! The one writer's transaction: actions, images and progress, all or nothing.
//!
//! The first statement updates the progress row for our epoch; where another sidecar has taken
//! over it finds no row and nothing is written. Seq is allocated there too, so it has no gaps.

use activity::{Action, ActionId, Lsn, Origin, Position, Seq, Source, TableName};
use jiff::Timestamp;
use postgres_types::{PgLsn, ToSql};
use tokio_postgres::{Statement, Transaction};

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

/// The statements that every commit runs, prepared once in the life of a session.
struct Statements {
    progress: Statement,
    log: Statement,
    project_actions: Statement,
    keep_images: Statement,
    drop_images: Statement,
}

impl Statements {
    async fn prepare(session: &Session, table: &ActionsTable) -> Result<Self, Error> {
        Ok(Self {
            progress: session.prepared(UPDATE_PROGRESS).await?,
            log: session.prepared(INSERT_LOG).await?,
            project_actions: session.prepared(table.insert_statement()).await?,
            keep_images: session.prepared(KEEP_IMAGES).await?,
            drop_images: session.prepared(DROP_IMAGES).await?,
        })
    }
}

const UPDATE_PROGRESS: &str = "update progress set seq = seq + $3, commit_lsn = $4, end_lsn = $5,
       confirm_limit = greatest(confirm_limit, $6), half_commit_lsn = $7, half_lsn = $8,
       half_index = $9, half_ordinal = $10, half_packs = $11
     where epoch = $1 and seq = $2";

const KEEP_IMAGES: &str = "insert into images (table_id, key, generation, xid, row)
     select id, key, generation, xid, image::jsonb
     from unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[], $5::text[])
       as changed (id, key, generation, xid, image)
     on conflict (table_id, key) do update
       set generation = excluded.generation, xid = excluded.xid, row = excluded.row";

const DROP_IMAGES: &str =
    "delete from images using unnest($1::integer[], $2::text[]) as gone (id, key)
     where images.table_id = gone.id and images.key = gone.key";

const INSERT_LOG: &str = "insert into actions (seq, action_id, project_id, user_id, request_id,
       action_type, action_details, status, environment, reference_ids, cost_usd, created_at, data,
       committed_at, rule, origin, table_name, key, xid, commit_lsn, change_lsn)
     select seq, action_id, project_id, user_id, request_id, action_type,
       action_details, status, environment, reference_ids::jsonb, cost_usd::numeric,
       created_at, data::jsonb, committed_at, rule, origin, table_name, key, xid,
       commit_lsn, change_lsn
     from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
       $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
       $12::bigint[], $13::text[], $14::timestamptz[], $15::text[], $16::text[],
       $17::text[], $18::text[], $19::bigint[], $20::pg_lsn[], $21::pg_lsn[])
       as action (seq, action_id, project_id, user_id, request_id, action_type,
         action_details, status, environment, reference_ids, cost_usd, created_at, data,
         committed_at, rule, origin, table_name, key, xid, commit_lsn, change_lsn)";

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
        tokio::try_join!(
            columns.insert_log(transaction, self.statements, self.fence.seq),
            columns.insert_project_actions(transaction, self.statements),
            self.images(transaction),
            self.faults(transaction),
        )?;
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
        // A deferred constraint would refuse the row at COMMIT, when no row can be told from another.
        transaction
            .batch_execute("set constraints all immediate")
            .await?;
        let mut ranges = vec![0..batch.actions.len()];
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
                        .await?
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

#[derive(Default)]
struct ImageColumns<'a> {
    ids: Vec<i32>,
    keys: Vec<&'a str>,
    generations: Vec<i32>,
    xids: Vec<i64>,
    rows: Vec<&'a str>,
}

/// Actions turned on their side: one array a column, for unnest.
#[derive(Default)]
struct Columns<'a> {
    actions: &'a [NewAction],
    ids: Vec<&'a str>,
    projects: Vec<Option<&'a str>>,
    users: Vec<Option<&'a str>>,
    requests: Vec<Option<&'a str>>,
    types: Vec<&'a str>,
    details: Vec<Option<&'a str>>,
    statuses: Vec<Option<&'a str>>,
    environments: Vec<Option<&'a str>>,
    references: Vec<Option<String>>,
    costs: Vec<Option<&'a str>>,
    created: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(actions: &'a [NewAction]) -> Self {
        let mut columns = Self {
            actions,
            ..Self::default()
        };
        for NewAction {
            id,
            action,
            committed_at,
            ..
        } in actions
        {
            columns.ids.push(id.as_str());
            columns.projects.push(action.project_id.as_deref());
            columns.users.push(action.user_id.as_deref());
            columns.requests.push(action.request_id.as_deref());
            columns.types.push(&action.action_type);
            columns.details.push(action.action_details.as_deref());
            columns.statuses.push(action.status.as_deref());
            columns.environments.push(action.environment.as_deref());
            columns
                .references
                .push(action.reference_ids.as_ref().map(ToString::to_string));
            columns.costs.push(action.cost_usd.as_deref());
            columns
                .created
                .push(committed_at.as_microsecond().div_euclid(1_000_000));
        }
        columns
    }

    async fn insert_log(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        after: Seq,
    ) -> Result<(), Error> {
        if self.actions.is_empty() {
            return Ok(());
        }
        let mut seqs = Vec::new();
        let mut data = Vec::new();
        let mut committed = Vec::new();
        let (mut rules, mut origins, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut xids) = (Vec::new(), Vec::new());
        let (mut commits, mut changes) = (Vec::new(), Vec::new());
        for (number, action) in (after.get() + 1..).zip(self.actions) {
            seqs.push(number);
            data.push(serde_json::to_string(&action.action.data).expect("a JSON object prints"));
            committed.push(action.committed_at);
            rules.push(action.source.rule.as_str());
            origins.push(action.origin.as_str());
            tables.push(action.source.table.to_string());
            keys.push(action.source.key.as_str());
            xids.push(action.xid as i64);
            commits.push(PgLsn::from(action.commit_lsn.get()));
            changes.push(PgLsn::from(action.source.position.lsn.get()));
        }
        let parameters: [&(dyn ToSql + Sync); 21] = [
            &seqs,
            &self.ids,
            &self.projects,
            &self.users,
            &self.requests,
            &self.types,
            &self.details,
            &self.statuses,
            &self.environments,
            &self.references,
            &self.costs,
            &self.created,
            &data,
            &committed,
            &rules,
            &origins,
            &tables,
            &keys,
            &xids,
            &commits,
            &changes,
        ];
        transaction.execute(&statements.log, &parameters).await?;
        Ok(())
    }

    async fn insert_project_actions(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
    ) -> Result<(), Error> {
        if self.actions.is_empty() {
            return Ok(());
        }
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &self.ids,
            &self.projects,
            &self.users,
            &self.requests,
            &self.types,
            &self.details,
            &self.statuses,
            &self.environments,
            &self.references,
            &self.created,
            &self.costs,
        ];
        transaction
            .execute(&statements.project_actions, &parameters)
            .await?;
        Ok(())
    }
}
