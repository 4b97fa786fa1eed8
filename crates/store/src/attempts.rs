//! Reading the attempt log.

use activity::Seq;
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::{Error, Session};

/// One HTTP request that was made.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub endpoint_id: String,
    pub seq: Seq,
    pub at: Timestamp,
    /// From 1.
    pub number: i32,
    /// delivered, parked, dead or deferred.
    pub outcome: String,
    pub status: Option<i16>,
    pub latency: Latency,
    pub address: Option<String>,
    pub error: Option<String>,
    pub error_kind: Option<String>,
    pub excerpt: Option<String>,
    pub replay_id: Option<String>,
    /// The actions of a digest.
    pub covers: Option<Vec<i64>>,
}

/// In milliseconds. The parts are there where a connection was made for the request.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub total: f32,
    pub dns: Option<f32>,
    pub connect: Option<f32>,
    pub wait: Option<f32>,
}

const COLUMNS: &str = "endpoint_id, seq, attempted_at, attempt, outcome, status, latency_ms, dns_ms, \
    connect_ms, wait_ms, address, error, error_kind, response_excerpt, replay_id, covers";

/// The attempts at the newest actions that the endpoint got, newest first: the log of attempts is kept
/// by seq, so the newest attempt of an old action is not among them.
pub async fn newest(
    session: &Session,
    endpoint_id: &str,
    limit: i64,
) -> Result<Vec<Attempt>, Error> {
    let statement = format!(
        "select {COLUMNS} from attempts where endpoint_id = $1
         order by seq desc, attempt desc, attempted_at desc limit $2"
    );
    let rows = session.query(&statement, &[&endpoint_id, &limit]).await?;
    Ok(rows.iter().map(from_row).collect())
}

/// Every attempt at one action, of all endpoints or one, in the order in which they were made.
/// Includes digests that cover it, as far as they begin within the 100,000 actions before.
pub async fn of_action(
    session: &Session,
    seq: Seq,
    endpoint_id: Option<&str>,
) -> Result<Vec<Attempt>, Error> {
    // By endpoint, since that is what attempts are kept by.
    let statement = format!(
        "select a.* from endpoints e cross join lateral (
           select {COLUMNS} from attempts t where t.endpoint_id = e.endpoint_id and t.seq = $1
           union all
           select {COLUMNS} from attempts t
           where jsonb_exists(e.options, 'digest') and t.endpoint_id = e.endpoint_id
             and t.seq between $1 - 100000 and $1 - 1 and $1 = any(t.covers)
         ) as a
         where $2::text is null or e.endpoint_id = $2
         order by a.attempted_at"
    );
    let rows = session
        .query(&statement, &[&seq.get(), &endpoint_id])
        .await?;
    Ok(rows.iter().map(from_row).collect())
}

fn from_row(row: &Row) -> Attempt {
    Attempt {
        endpoint_id: row.get("endpoint_id"),
        seq: Seq::new(row.get("seq")),
        at: row.get("attempted_at"),
        number: row.get("attempt"),
        outcome: row.get("outcome"),
        status: row.get("status"),
        latency: Latency {
            total: row.get("latency_ms"),
            dns: row.get("dns_ms"),
            connect: row.get("connect_ms"),
            wait: row.get("wait_ms"),
        },
        address: row.get("address"),
        error: row.get("error"),
        error_kind: row.get("error_kind"),
        excerpt: row.get("response_excerpt"),
        replay_id: row.get("replay_id"),
        covers: row.get("covers"),
    }
}
