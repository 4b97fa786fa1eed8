//! Everything that is stored about one action: why it is here, and what became of it.

use activity::{Lsn, TableName};
use jiff::Timestamp;
use postgres_types::PgLsn;
use serde_json::Value;
use tokio_postgres::error::SqlState;

use crate::{Error, Session};

/// A row of the action log with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub seq: i64,
    pub action_id: String,
    /// The columns of `project_actions`, as a JSON object.
    pub columns: Value,
    /// The rule's variables.
    pub data: Value,
    pub rule: String,
    /// The beginning of the SHA-256 of the pack's text.
    pub rule_version: String,
    pub origin: String,
    pub event: String,
    pub changed: Vec<String>,
    pub table: String,
    pub key: String,
    pub xid: i64,
    pub commit_lsn: Lsn,
    pub change_lsn: Lsn,
    pub committed_at: Timestamp,
    pub recorded_at: Timestamp,
    pub actor: Option<String>,
    pub actor_found: Option<String>,
    /// Why `project_actions` refused it, where it did.
    pub refused: Option<String>,
}

/// An action by its id or its seq. Reads the log through for an id: it is kept by seq.
pub async fn explanation(session: &Session, id: &str) -> Result<Option<Explanation>, Error> {
    let seq: Option<i64> = id.parse().ok();
    let row = session
        .query_opt(
            "select a.seq, a.action_id,
               jsonb_build_object('project_id', a.project_id, 'user_id', a.user_id,
                 'request_id', a.request_id, 'action_type', a.action_type,
                 'action_details', a.action_details, 'status', a.status,
                 'environment', a.environment, 'reference_ids', a.reference_ids,
                 'cost_usd', a.cost_usd, 'created_at', a.created_at),
               a.data, a.rule, a.rule_version, a.origin, a.event,
               coalesce(array(select jsonb_array_elements_text(a.changed)), '{}'),
               a.table_name, a.key, a.xid, a.commit_lsn, a.change_lsn, a.committed_at,
               a.recorded_at, a.actor, a.actor_found,
               (select q.reason from quarantine q where q.seq = a.seq and q.kind = 'refused'
                order by q.quarantine_id desc limit 1)
             from actions a
             where case when $2::bigint is null then a.action_id = $1 else a.seq = $2 end
             order by a.seq limit 1",
            &[&id, &seq],
        )
        .await?;
    let lsn = |lsn: PgLsn| Lsn::new(u64::from(lsn));
    Ok(row.map(|row| Explanation {
        seq: row.get(0),
        action_id: row.get(1),
        columns: row.get(2),
        data: row.get(3),
        rule: row.get(4),
        rule_version: row.get(5),
        origin: row.get(6),
        event: row.get(7),
        changed: row.get(8),
        table: row.get(9),
        key: row.get(10),
        xid: row.get(11),
        commit_lsn: lsn(row.get(12)),
        change_lsn: lsn(row.get(13)),
        committed_at: row.get(14),
        recorded_at: row.get(15),
        actor: row.get(16),
        actor_found: row.get(17),
        refused: row.get(18),
    }))
}

/// Whether the worker's table has the action; `None` where this role may not read it.
pub async fn is_in_table(
    session: &Session,
    table: &TableName,
    action_id: &str,
) -> Result<Option<bool>, Error> {
    let statement = format!("select exists (select from {table} where action_id::text = $1)");
    match session.query_one(&statement, &[&action_id]).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What has become of an action on its way to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub endpoint: String,
    pub enabled: bool,
    /// The endpoint has nothing to do with the action any more.
    pub settled: bool,
    pub attempts: i64,
    /// Of the last attempt that is still in the attempt log.
    pub outcome: Option<String>,
    pub status: Option<i16>,
    pub attempted_at: Option<Timestamp>,
    /// `parked` or `dead`.
    pub parked: Option<String>,
    pub due_at: Option<Timestamp>,
    pub error: Option<String>,
}

/// By the names of the endpoints that there are.
pub async fn deliveries(session: &Session, seq: i64) -> Result<Vec<Delivery>, Error> {
    let rows = session
        .query(
            "select e.name, e.state = 'enabled',
               $1 <= case when e.behind then e.cursor_seq else greatest(e.cursor_seq, d.seq) end,
               (select count(*) from attempts t where t.endpoint_id = e.endpoint_id and t.seq = $1),
               last.outcome, last.status, last.attempted_at, p.state, p.due_at,
               coalesce(p.last_error, last.error)
             from endpoints e
             join delivery_progress d on d.shard = e.shard
             left join parked p on p.endpoint_id = e.endpoint_id and p.seq = $1
             left join lateral (
               select t.outcome, t.status, t.attempted_at, t.error from attempts t
               where t.endpoint_id = e.endpoint_id and t.seq = $1
               order by t.attempt desc, t.attempted_at desc limit 1) last on true
             order by e.name",
            &[&seq],
        )
        .await?;
    let delivery = |row: &tokio_postgres::Row| Delivery {
        endpoint: row.get(0),
        enabled: row.get(1),
        settled: row.get(2),
        attempts: row.get(3),
        outcome: row.get(4),
        status: row.get(5),
        attempted_at: row.get(6),
        parked: row.get(7),
        due_at: row.get(8),
        error: row.get(9),
    };
    Ok(rows.iter().map(delivery).collect())
}

impl Delivery {
    /// One word for it: delivered, parked, dead, waiting, or passed where it was never sent.
    pub fn state(&self) -> &str {
        match (&self.parked, self.outcome.as_deref()) {
            (Some(state), _) => state,
            (None, Some(outcome)) => outcome,
            (None, None) if self.settled => "passed",
            (None, None) if self.enabled => "waiting",
            (None, None) => "disabled",
        }
    }
}
