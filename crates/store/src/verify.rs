//! What the action log and `project_actions` hold of each other. Reads alone, a row at a time.

use std::pin::pin;

use activity::{ActionId, Lsn, TableName};
use postgres_types::ToSql;
use tokio_postgres::Row;

use crate::{Error, Session};

/// One row that has no counterpart.
#[derive(Clone, Debug)]
pub struct Lone {
    pub action_id: String,
    pub action_type: Option<String>,
    pub project_id: Option<String>,
    /// Unix seconds.
    pub created_at: Option<i64>,
}

/// What is read of `project_actions`, whatever its columns' types are.
pub struct Actions {
    /// A derived table `p`.
    rows: String,
}

/// Seconds by which the worker's own row and ours may lie apart.
const APART_MAX: i64 = 600;

impl Actions {
    /// The error says which column is missing.
    pub async fn describe(session: &Session, table: &TableName) -> Result<Self, Error> {
        let columns = session
            .query(
                "select a.attname::text, t.typname::text from pg_attribute a
                 join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
                 join pg_type t on t.oid = a.atttypid
                 where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped",
                &[&table.schema, &table.name],
            )
            .await?;
        let kind = |name: &str| {
            let column = columns.iter().find(|row| row.get::<_, &str>(0) == name);
            column.map(|row| row.get::<_, String>(1))
        };
        if kind("action_id").is_none() {
            return Err(Error::NotReady(format!(
                "table {table} does not exist or has no column action_id: run `tidings setup`"
            )));
        }
        let text = |name: &str| match kind(name) {
            Some(_) => format!("{name}::text"),
            None => "null::text".to_owned(),
        };
        let created = match kind("created_at").as_deref() {
            Some("timestamptz" | "timestamp" | "date") => "extract(epoch from created_at)::bigint",
            Some("int8" | "int4" | "numeric") => "created_at::bigint",
            Some(_) | None => "null::bigint",
        };
        let rows = format!(
            "(select {} as action_id, {} as action_type, {} as project_id, {created} as created_at \
             from {table}) as p",
            text("action_id"),
            text("action_type"),
            text("project_id"),
        );
        Ok(Self { rows })
    }

    /// Actions of the log that the table lacks and that it did not refuse.
    pub async fn gaps(
        &self,
        session: &Session,
        since: Option<i64>,
        each: impl FnMut(Lone),
    ) -> Result<(), Error> {
        let sql = format!(
            "select a.action_id, a.action_type, a.project_id, a.created_at
             from actions a left join {} on p.action_id = a.action_id
             where p.action_id is null and ($1::bigint is null or a.created_at >= $1)
               and a.origin <> 'notice'
               and not exists (select from quarantine q where q.seq = a.seq)",
            self.rows
        );
        stream(session, &sql, &[&since], each).await
    }

    /// Rows that carry an id of ours and are not in the log. The worker's own ids may look like ours; but
    /// those name a position that the WAL has reached.
    pub async fn phantoms(
        &self,
        session: &Session,
        since: Option<i64>,
        reached: Lsn,
        mut each: impl FnMut(Lone),
    ) -> Result<(), Error> {
        let sql = format!(
            "select p.action_id, p.action_type, p.project_id, p.created_at
             from {} left join actions a on a.action_id = p.action_id
             where a.action_id is null and ($1::bigint is null or p.created_at >= $1)
               and p.action_id ~ '^[-0-9A-Z_a-z]{{21}}$'",
            self.rows
        );
        let ours = |lone: Lone| {
            let id = lone.action_id.parse::<ActionId>();
            if id.is_ok_and(|id| id.commit_lsn() > Lsn::ZERO && id.commit_lsn() <= reached) {
                each(lone);
            }
        };
        stream(session, &sql, &[&since], ours).await
    }

    /// Rows of the worker's own code without an action of ours of the same project and type at about
    /// that time.
    pub async fn unseen(
        &self,
        session: &Session,
        since: Option<i64>,
        each: impl FnMut(Lone),
    ) -> Result<(), Error> {
        let sql = format!(
            "select p.action_id, p.action_type, p.project_id, p.created_at
             from {} left join actions own on own.action_id = p.action_id
             left join actions a on a.project_id = p.project_id and a.action_type = p.action_type
               and abs(a.created_at - p.created_at) <= $2
             where own.action_id is null and a.action_id is null
               and ($1::bigint is null or p.created_at >= $1)",
            self.rows
        );
        stream(session, &sql, &[&since, &APART_MAX], each).await
    }

    /// Actions of ours without a row of the worker's own code of the same project and type at about that
    /// time.
    pub async fn unlogged(
        &self,
        session: &Session,
        since: Option<i64>,
        each: impl FnMut(Lone),
    ) -> Result<(), Error> {
        let sql = format!(
            "with legacy as (
               select p.* from {} left join actions own on own.action_id = p.action_id
               where own.action_id is null)
             select a.action_id, a.action_type, a.project_id, a.created_at
             from actions a left join legacy p on a.project_id = p.project_id
               and a.action_type = p.action_type and abs(a.created_at - p.created_at) <= $2
             where p.action_id is null and ($1::bigint is null or a.created_at >= $1)
               and a.origin <> 'notice'",
            self.rows
        );
        stream(session, &sql, &[&since, &APART_MAX], each).await
    }
}

/// Those of `(key, rule)` of a table that the log has no action of.
pub async fn untold(
    session: &Session,
    table: &TableName,
    wanted: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let keys: Vec<&str> = wanted.iter().map(|(key, _)| key.as_str()).collect();
    let rules: Vec<&str> = wanted.iter().map(|(_, rule)| rule.as_str()).collect();
    let rows = session
        .query(
            "select w.key, w.rule from unnest($2::text[], $3::text[]) as w (key, rule)
             where not exists (select from actions a
               where a.table_name = $1 and a.key = w.key and a.rule = w.rule)
               and not exists (select from quarantine q
               where q.table_name = $1 and q.key = w.key and q.rule = w.rule)",
            &[&table.to_string(), &keys, &rules],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn stream(
    session: &Session,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    mut each: impl FnMut(Lone),
) -> Result<(), Error> {
    use futures_util::TryStreamExt;
    let rows = session.query_raw(sql, parameters.iter().copied()).await?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        each(lone(&row));
    }
    Ok(())
}

fn lone(row: &Row) -> Lone {
    Lone {
        action_id: row.get(0),
        action_type: row.get(1),
        project_id: row.get(2),
        created_at: row.get(3),
    }
}
