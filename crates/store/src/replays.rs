//! Replays as they are asked for, listed and cancelled. The deliver loop works them off.

use activity::Seq;
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::deliveries::patterns;
use crate::endpoints::Filter;
use crate::span::Span;
use crate::{Error, Session};

/// A run of an endpoint through a part of the log once more.
#[derive(Clone, Debug)]
pub struct Replay {
    pub id: String,
    pub endpoint_id: String,
    pub endpoint: String,
    /// enabled, paused or disabled: only the first is sent to.
    pub endpoint_state: String,
    pub types: Vec<String>,
    pub projects: Vec<String>,
    /// Everything up to here is attempted.
    pub cursor: Seq,
    pub until: Seq,
    /// Attempts a second at most.
    pub per_second: Option<i32>,
    /// running, done or cancelled.
    pub state: String,
    /// First attempts made for it.
    pub attempted: i64,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Deliveries of it that wait for their next attempt, and that failed for the last time.
    pub parked: i64,
    pub dead: i64,
}

/// What a replay is to be.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub endpoint_id: &'a str,
    pub types: &'a [String],
    pub projects: &'a [String],
    pub span: Span,
    pub per_second: Option<i32>,
}

const REPLAYS: &str =
    "select r.replay_id, r.endpoint_id, e.name, e.state as endpoint_state, r.types,
    r.projects, r.cursor_seq, r.until_seq, r.per_second, r.state, r.attempted, r.created_at,
    r.finished_at,
    (select count(*) from parked p where p.endpoint_id = r.endpoint_id
       and p.replay_id = r.replay_id and p.state = 'parked') as parked,
    (select count(*) from parked p where p.endpoint_id = r.endpoint_id
       and p.replay_id = r.replay_id and p.state = 'dead') as dead
  from replays r join endpoints e using (endpoint_id)";

/// An id that no replay has.
fn new_id() -> String {
    format!("rp_{}", nanoid::nanoid!())
}

/// Asks for a replay and lets a running sidecar know. Returns its id.
pub async fn start(session: &Session, request: &Request<'_>) -> Result<String, Error> {
    let id = new_id();
    session
        .execute(
            "with started as (
               insert into replays (replay_id, endpoint_id, types, projects, cursor_seq, until_seq,
                 per_second)
               values ($1, $2, $3, $4, $5, $6, $7)
             )
             update endpoints set revision = nextval('endpoint_revision') where endpoint_id = $2",
            &[
                &id,
                &request.endpoint_id,
                &request.types,
                &request.projects,
                &(request.span.first.get() - 1),
                &request.span.last.get(),
                &request.per_second,
            ],
        )
        .await?;
    Ok(id)
}

/// Makes the dead letters of the request due again as deliveries of one replay, which is over with
/// that: what is left of it is parked. In one statement. Returns its id, and how many there are; with
/// none there is no replay.
pub async fn revive(session: &Session, request: &Request<'_>) -> Result<(String, i64), Error> {
    let id = new_id();
    let (exact, prefixes) = patterns(request.types);
    let revived: i64 = session
        .query_one(
            "with revived as (
               update parked p set state = 'parked', due_at = now(), replay_id = $1,
                 attempts = least(p.attempts, 1)
               from actions a
               where a.seq = p.seq and p.endpoint_id = $2 and p.state = 'dead'
                 and p.seq between $5 and $6
                 and (cardinality($7::text[]) + cardinality($8::text[]) = 0
                      or a.action_type = any($7) or exists
                        (select from unnest($8) as beginning where starts_with(a.action_type, beginning)))
                 and (cardinality($4::text[]) = 0 or a.project_id = any($4))
               returning p.seq
             ), replay as (
               insert into replays (replay_id, endpoint_id, types, projects, cursor_seq, until_seq,
                 state, attempted, finished_at)
               select $1, $2, $3, $4, $6, $6, 'done', 0, now()
               where exists (select from revived)
             ), told as (
               update endpoints set revision = nextval('endpoint_revision')
               where endpoint_id = $2 and exists (select from revived)
             )
             select count(*) from revived",
            &[
                &id,
                &request.endpoint_id,
                &request.types,
                &request.projects,
                &request.span.first.get(),
                &request.span.last.get(),
                &exact,
                &prefixes,
            ],
        )
        .await?
        .get(0);
    Ok((id, revived))
}

/// How many actions of the request the endpoint wants; with `dead` only those that are dead letters.
pub async fn count(
    session: &Session,
    request: &Request<'_>,
    wants: &Filter,
    dead: bool,
) -> Result<i64, Error> {
    let (exact, prefixes) = patterns(request.types);
    let (wanted_exact, wanted_prefixes) = patterns(&wants.types);
    let matches = |exact: &str, prefixes: &str| {
        format!(
            "(cardinality({exact}::text[]) + cardinality({prefixes}::text[]) = 0
              or a.action_type = any({exact}) or exists
                (select from unnest({prefixes}) as beginning
                 where starts_with(a.action_type, beginning)))"
        )
    };
    let statement = format!(
        "select count(*) from actions a
         where a.seq between $1 and $2 and {} and {}
           and (cardinality($7::text[]) = 0 or a.project_id = any($7))
           and (cardinality($8::text[]) = 0 or a.project_id = any($8))
           and (cardinality($9::text[]) = 0 or a.environment = any($9))
           and (cardinality($10::text[]) = 0 or a.status = any($10))
           and (not $11 or exists (select from parked p
                where p.endpoint_id = $12 and p.seq = a.seq and p.state = 'dead'))",
        matches("$3", "$4"),
        matches("$5", "$6"),
    );
    Ok(session
        .query_one(
            &statement,
            &[
                &request.span.first.get(),
                &request.span.last.get(),
                &exact,
                &prefixes,
                &wanted_exact,
                &wanted_prefixes,
                &request.projects,
                &wants.projects,
                &wants.environments,
                &wants.statuses,
                &dead,
                &request.endpoint_id,
            ],
        )
        .await?
        .get(0))
}

/// The newest first.
pub async fn list(
    session: &Session,
    endpoint_id: Option<&str>,
    limit: i64,
) -> Result<Vec<Replay>, Error> {
    let statement = format!(
        "{REPLAYS} where $1::text is null or r.endpoint_id = $1
         order by r.created_at desc, r.replay_id limit $2"
    );
    let rows = session.query(&statement, &[&endpoint_id, &limit]).await?;
    Ok(rows.iter().map(from_row).collect())
}

pub async fn find(session: &Session, id: &str) -> Result<Option<Replay>, Error> {
    let statement = format!("{REPLAYS} where r.replay_id = $1");
    let row = session.query_opt(&statement, &[&id]).await?;
    Ok(row.as_ref().map(from_row))
}

/// Ends a replay where it is. What is parked of it is still tried. False where it is not running.
pub async fn cancel(session: &Session, id: &str) -> Result<bool, Error> {
    let row = session
        .query_one(
            "with cancelled as (
               update replays set state = 'cancelled', finished_at = now(),
                 revision = nextval('endpoint_revision')
               where replay_id = $1 and state = 'running'
               returning endpoint_id
             ), told as (
               update endpoints set revision = nextval('endpoint_revision')
               where endpoint_id in (select endpoint_id from cancelled)
             )
             select exists (select from cancelled)",
            &[&id],
        )
        .await?;
    Ok(row.get(0))
}

fn from_row(row: &Row) -> Replay {
    Replay {
        id: row.get("replay_id"),
        endpoint_id: row.get("endpoint_id"),
        endpoint: row.get("name"),
        endpoint_state: row.get("endpoint_state"),
        types: row.get("types"),
        projects: row.get("projects"),
        cursor: Seq::new(row.get("cursor_seq")),
        until: Seq::new(row.get("until_seq")),
        per_second: row.get("per_second"),
        state: row.get("state"),
        attempted: row.get("attempted"),
        created_at: row.get("created_at"),
        finished_at: row.get("finished_at"),
        parked: row.get("parked"),
        dead: row.get("dead"),
    }
}
