//! The part of the action log that belongs to a span of time.

use activity::Seq;
use jiff::Timestamp;

use crate::{Error, Session};

/// Actions `first..=last`; empty where `last` is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: Seq,
    pub last: Seq,
}

impl Span {
    pub fn is_empty(&self) -> bool {
        self.last < self.first
    }

    /// How many seqs it holds.
    pub fn len(&self) -> i64 {
        (self.last.get() - self.first.get() + 1).max(0)
    }
}

/// The actions committed from `since` on and before `until`, where they are given.
///
/// The log is in the order of commits, but no index is kept by time, and a change that was worked off
/// later stands behind newer ones with the time of its commit. When an action was recorded only rises
/// with its seq, and is never before its commit: the log is halved by that time, and read from there by
/// the commit's. What stands among others of the span belongs to it.
pub async fn between(
    session: &Session,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Span, Error> {
    let row = session
        .query_one(
            "select coalesce((select seq from actions order by seq limit 1), 1),
               coalesce((select seq from actions order by seq desc limit 1), 0)",
            &[],
        )
        .await?;
    let whole = Span {
        first: Seq::new(row.get(0)),
        last: Seq::new(row.get(1)),
    };
    let first = match since {
        Some(since) => committed_from(session, whole, since).await?,
        None => whole.first,
    };
    let last = match until {
        Some(until) => Seq::new(committed_from(session, whole, until).await?.get() - 1),
        None => whole.last,
    };
    Ok(Span { first, last })
}

/// The first action committed at `time` or later; the one past the end where there is none.
async fn committed_from(session: &Session, whole: Span, time: Timestamp) -> Result<Seq, Error> {
    let (mut low, mut high) = (whole.first.get(), whole.last.get() + 1);
    let probe = session
        .prepared("select seq, recorded_at >= $2 from actions where seq >= $1 order by seq limit 1")
        .await?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = session.query_opt(&probe, &[&middle, &time]).await?;
        match found.map(|row| (row.get::<_, i64>(0), row.get::<_, bool>(1))) {
            Some((seq, false)) => low = seq + 1,
            Some((_, true)) | None => high = middle,
        }
    }
    let row = session
        .query_opt(
            "select seq from actions where seq >= $1 and committed_at >= $2 order by seq limit 1",
            &[&low, &time],
        )
        .await?;
    Ok(Seq::new(row.map_or(whole.last.get() + 1, |row| row.get(0))))
}

/// The seq of an action by its id. Ids rise with the log but for what was worked off later, or has
/// seen another cluster: those are looked for by reading the log through.
pub async fn seq_of(session: &Session, action_id: &str) -> Result<Option<Seq>, Error> {
    let row = session
        .query_one(
            "select coalesce((select seq from actions order by seq limit 1), 1),
               coalesce((select seq from actions order by seq desc limit 1), 0) + 1",
            &[],
        )
        .await?;
    let (mut low, mut high): (i64, i64) = (row.get(0), row.get(1));
    let probe = session
        .prepared("select seq, action_id from actions where seq >= $1 order by seq limit 1")
        .await?;
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(row) = session.query_opt(&probe, &[&middle]).await? else {
            high = middle;
            continue;
        };
        match row.get::<_, &str>(1).cmp(action_id) {
            std::cmp::Ordering::Equal => return Ok(Some(Seq::new(row.get(0)))),
            std::cmp::Ordering::Less => low = row.get::<_, i64>(0) + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    let row = session
        .query_opt(
            "select seq from actions where action_id = $1 order by seq limit 1",
            &[&action_id],
        )
        .await?;
    Ok(row.map(|row| Seq::new(row.get(0))))
}
