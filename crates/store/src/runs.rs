//! Runs that messages announced, until they end or time out.

use std::time::Duration;

use activity::Lsn;
use postgres_types::PgLsn;
use serde_json::Value;
use tokio_postgres::{Row, Transaction};

use crate::{Error, Session};

/// Open runs that are kept at most: any role can announce one.
pub const OPEN_MAX: i64 = 10_000;

/// What was announced of a run. The texts hold no NUL.
#[derive(Clone, PartialEq)]
pub struct Run {
    pub run: String,
    pub project_id: Option<String>,
    pub user_id: Option<String>,
    pub request_id: Option<String>,
    pub action_type: String,
    pub action_details: Option<String>,
    pub environment: Option<String>,
    pub reference_ids: Option<Value>,
    pub actor: Option<String>,
    /// The message that said so.
    pub told_lsn: Lsn,
    /// From one second to seven days.
    pub timeout: Duration,
}

/// Prints no value of the message.
impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({}, {:?})", self.told_lsn, self.timeout)
    }
}

/// What a commit does to one run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunChange {
    /// It goes on; its time begins anew.
    Open(Box<Run>),
    Closed(String),
}

const COLUMNS: &str = "run, project_id, user_id, request_id, action_type, action_details, environment, \
    reference_ids, actor, told_lsn, timeout_seconds";

/// Those of these that are open.
pub async fn load(session: &Session, runs: &[&str]) -> Result<Vec<Run>, Error> {
    let statement = format!("select {COLUMNS} from runs where run = any($1)");
    let statement = session.prepared(&statement).await?;
    let rows = session.query(&statement, &[&runs]).await?;
    Ok(rows.iter().map(run).collect())
}

/// How long until the next run times out; `None` while none is open.
pub async fn next_due(session: &Session) -> Result<Option<Duration>, Error> {
    let row = session
        .query_one(
            "select extract(epoch from min(deadline) - clock_timestamp())::float8 from runs",
            &[],
        )
        .await?;
    let seconds: Option<f64> = row.get(0);
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e6))))
}

/// The runs whose time is over, the oldest first.
pub async fn due(session: &Session, limit: i64) -> Result<Vec<Run>, Error> {
    let statement = format!(
        "select {COLUMNS} from runs where deadline <= clock_timestamp() order by deadline, run limit $1"
    );
    let rows = session.query(&statement, &[&limit]).await?;
    Ok(rows.iter().map(run).collect())
}

/// How far the server has flushed its WAL, and so may have sent it; and its time.
pub async fn flushed(session: &Session) -> Result<(Lsn, jiff::Timestamp), Error> {
    let row = session
        .query_one("select pg_current_wal_flush_lsn(), clock_timestamp()", &[])
        .await?;
    Ok((Lsn::new(u64::from(row.get::<_, PgLsn>(0))), row.get(1)))
}

/// At most one change of each run. Past [`OPEN_MAX`] a run is told, but not watched.
pub(crate) async fn settle(
    transaction: &Transaction<'_>,
    changes: &[RunChange],
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut closed = Vec::new();
    for change in changes {
        match change {
            RunChange::Closed(run) => closed.push(run.as_str()),
            RunChange::Open(run) => open(transaction, run).await?,
        }
    }
    if !closed.is_empty() {
        transaction
            .execute("delete from runs where run = any($1)", &[&closed])
            .await?;
    }
    Ok(())
}

async fn open(transaction: &Transaction<'_>, run: &Run) -> Result<(), Error> {
    let seconds = i32::try_from(run.timeout.as_secs()).unwrap_or(i32::MAX);
    transaction
        .execute(
            "insert into runs (run, project_id, user_id, request_id, action_type, action_details,
               environment, reference_ids, actor, told_lsn, timeout_seconds, deadline)
             select $1::text, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10::pg_lsn, $11::integer,
               clock_timestamp() + $11::integer * interval '1 second'
             where exists (select from runs where run = $1)
               or (select count(*) from runs) < $12::bigint
             on conflict (run) do update set project_id = excluded.project_id,
               user_id = excluded.user_id, request_id = excluded.request_id,
               action_type = excluded.action_type, action_details = excluded.action_details,
               environment = excluded.environment, reference_ids = excluded.reference_ids,
               actor = excluded.actor, told_lsn = excluded.told_lsn, told_at = now(),
               timeout_seconds = excluded.timeout_seconds, deadline = excluded.deadline",
            &[
                &run.run,
                &run.project_id,
                &run.user_id,
                &run.request_id,
                &run.action_type,
                &run.action_details,
                &run.environment,
                &run.reference_ids,
                &run.actor,
                &PgLsn::from(run.told_lsn.get()),
                &seconds,
                &OPEN_MAX,
            ],
        )
        .await?;
    Ok(())
}

fn run(row: &Row) -> Run {
    Run {
        run: row.get("run"),
        project_id: row.get("project_id"),
        user_id: row.get("user_id"),
        request_id: row.get("request_id"),
        action_type: row.get("action_type"),
        action_details: row.get("action_details"),
        environment: row.get("environment"),
        reference_ids: row.get("reference_ids"),
        actor: row.get("actor"),
        told_lsn: Lsn::new(u64::from(row.get::<_, PgLsn>("told_lsn"))),
        timeout: Duration::from_secs(u64::from(
            row.get::<_, i32>("timeout_seconds").unsigned_abs(),
        )),
    }
}
