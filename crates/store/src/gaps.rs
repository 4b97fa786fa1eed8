//! Gaps: what no stream shows. One is opened before anything is done about a slot, and closed by the
//! commit that begins at a new one ([`crate::progress::init`]), so a crash in between is taken up.

use activity::Lsn;
use jiff::Timestamp;
use postgres_types::PgLsn;
use tokio_postgres::Row;

use crate::{Error, Session};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub reason: String,
    pub from: Lsn,
    /// Where the new slot begins; `None` while there is none.
    pub until: Option<Lsn>,
    pub noticed_at: Timestamp,
    /// When that slot was there.
    pub rebuilt_at: Option<Timestamp>,
}

const COLUMNS: &str = "reason, from_lsn, until_lsn, noticed_at, rebuilt_at";

/// Opens a gap where none is open, and gives the one that is. Fenced by an epoch, where there is one: without,
/// the caller holds the slot's lock and nobody captures.
pub async fn open(
    session: &Session,
    epoch: Option<i64>,
    reason: &str,
    by_operator: bool,
) -> Result<Gap, Error> {
    let statement = format!(
        "with fenced as (
           select end_lsn from progress where $1::bigint is null or epoch = $1 for update
         ), made as (
           insert into gaps (reason, from_lsn, by_operator) select $2, end_lsn, $3 from fenced
           where not exists (select from gaps where until_lsn is null)
           returning {COLUMNS}
         )
         select {COLUMNS} from made
         union all select {COLUMNS} from gaps, fenced where until_lsn is null"
    );
    let row = session
        .query_opt(&statement, &[&epoch, &reason, &by_operator])
        .await?;
    let row = row.ok_or(Error::Fenced(epoch.unwrap_or_default()))?;
    Ok(from_row(&row))
}

/// The gap that is open.
pub async fn unfinished(session: &Session) -> Result<Option<Gap>, Error> {
    let statement = format!("select {COLUMNS} from gaps where until_lsn is null");
    let row = session.query_opt(&statement, &[]).await?;
    Ok(row.map(|row| from_row(&row)))
}

/// The newest, open or not.
pub async fn newest(session: &Session) -> Result<Option<Gap>, Error> {
    let there = session
        .query_one("select to_regclass('gaps') is not null", &[])
        .await?;
    // A sidecar of an earlier version set this schema up and has not been started anew.
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let statement = format!("select {COLUMNS} from gaps order by gap_id desc limit 1");
    let row = session.query_opt(&statement, &[]).await?;
    Ok(row.map(|row| from_row(&row)))
}

/// Until when there may be no further new slot, where capture has made this many within an hour. `limit` is at
/// least 1.
pub async fn exhausted_until(session: &Session, limit: u32) -> Result<Option<Timestamp>, Error> {
    let row = session
        .query_opt(
            "select rebuilt_at + interval '1 hour' from gaps
             where rebuilt_at > now() - interval '1 hour' and not by_operator
             order by rebuilt_at desc offset $1 limit 1",
            &[&(i64::from(limit) - 1)],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

fn from_row(row: &Row) -> Gap {
    let lsn = |lsn: PgLsn| Lsn::new(u64::from(lsn));
    Gap {
        reason: row.get(0),
        from: lsn(row.get(1)),
        until: row.get::<_, Option<PgLsn>>(2).map(lsn),
        noticed_at: row.get(3),
        rebuilt_at: row.get(4),
    }
}
