//! What waits for its next attempt, and what had one already.

use std::collections::HashMap;

use activity::Seq;
use jiff::Timestamp;

use crate::{Error, Session};

/// A delivery that waits, or waited, for its next attempt.
#[derive(Clone, Debug)]
pub struct ParkedDelivery {
    pub seq: Seq,
    /// Attempts made so far.
    pub attempts: u32,
    pub due: Timestamp,
    /// The replay that it belongs to.
    pub replay_id: Option<String>,
    /// Every action of a digest, `seq` being the first; empty for a delivery of one action.
    pub covers: Vec<Seq>,
}

/// At most `limit` parked deliveries of an endpoint, the longest due first, those that are not due yet
/// included.
pub async fn due(
    session: &Session,
    endpoint_id: &str,
    limit: i64,
) -> Result<Vec<ParkedDelivery>, Error> {
    let statement = session
        .prepared(
            "select seq, attempts, due_at, replay_id, covers from parked
             where endpoint_id = $1 and state = 'parked' order by due_at limit $2",
        )
        .await?;
    let rows = session.query(&statement, &[&endpoint_id, &limit]).await?;
    let parked = rows.iter().map(|row| ParkedDelivery {
        seq: Seq::new(row.get(0)),
        attempts: row.get::<_, i32>(1).unsigned_abs(),
        due: row.get(2),
        replay_id: row.get(3),
        covers: row
            .get::<_, Option<Vec<i64>>>(4)
            .unwrap_or_default()
            .into_iter()
            .map(Seq::new)
            .collect(),
    });
    Ok(parked.collect())
}

/// When the first parked delivery of each of these endpoints is due; those that have none are left out.
pub async fn next_due(
    session: &Session,
    endpoints: &[&str],
) -> Result<HashMap<String, Timestamp>, Error> {
    let rows = session
        .query(
            "select e.id, p.due_at from unnest($1::text[]) as e (id)
             cross join lateral (
               select due_at from parked where endpoint_id = e.id and state = 'parked'
               order by due_at limit 1) as p",
            &[&endpoints],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What is already settled past the cursors: deliveries of actions after each endpoint's cursor
/// that have an attempt. A restart must not send them again. Attempts of replays settle nothing, nor do
/// those that were put off.
pub async fn attempted_after(
    session: &Session,
    cursors: &[(String, Seq)],
) -> Result<HashMap<String, Vec<Seq>>, Error> {
    let ids: Vec<&str> = cursors.iter().map(|(id, _)| id.as_str()).collect();
    let seqs: Vec<i64> = cursors.iter().map(|(_, seq)| seq.get()).collect();
    let rows = session
        .query(
            "select c.id, a.seq from unnest($1::text[], $2::bigint[]) as c (id, seq)
             cross join lateral (
               select distinct coalesce(covered.seq, attempts.seq) as seq from attempts
               left join lateral unnest(attempts.covers) as covered (seq) on true
               where endpoint_id = c.id and attempts.seq > c.seq
                 and replay_id is null and outcome <> 'deferred') as a",
            &[&ids, &seqs],
        )
        .await?;
    let mut attempted: HashMap<String, Vec<Seq>> = HashMap::new();
    for row in rows {
        attempted
            .entry(row.get(0))
            .or_default()
            .push(Seq::new(row.get(1)));
    }
    Ok(attempted)
}
