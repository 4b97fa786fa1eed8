//! What ordered endpoints wait for: failing heads, and the projects behind them.

use std::collections::HashMap;

use activity::Seq;

use crate::{Error, Session};

/// A project that is held, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHold {
    /// Empty for actions of no project.
    pub project: String,
    /// Everything of the project up to here is settled, or is the head.
    pub cursor: Seq,
    /// The delivery that everything waits for; `None` once it is no longer parked.
    pub head: Option<Seq>,
}

/// The projects that are held, by endpoint.
pub async fn holds(
    session: &Session,
    endpoints: &[&str],
) -> Result<HashMap<String, Vec<StoredHold>>, Error> {
    let rows = session
        .query(
            "select h.endpoint_id, h.project_id, h.cursor_seq, p.seq as head_seq
             from held h left join parked p on p.endpoint_id = h.endpoint_id
               and p.seq = h.head_seq and p.state = 'parked'
             where h.endpoint_id = any($1)",
            &[&endpoints],
        )
        .await?;
    let mut holds: HashMap<String, Vec<StoredHold>> = HashMap::new();
    for row in rows {
        holds.entry(row.get(0)).or_default().push(StoredHold {
            project: row.get(1),
            cursor: Seq::new(row.get(2)),
            head: row.get::<_, Option<i64>>(3).map(Seq::new),
        });
    }
    Ok(holds)
}

/// What is parked at or past the cursors, by endpoint, at most `limit` each: an endpoint in order goes
/// no further before these are through.
pub async fn heads_after(
    session: &Session,
    cursors: &[(String, Seq)],
    limit: i64,
) -> Result<HashMap<String, Vec<Seq>>, Error> {
    let ids: Vec<&str> = cursors.iter().map(|(id, _)| id.as_str()).collect();
    let seqs: Vec<i64> = cursors.iter().map(|(_, seq)| seq.get()).collect();
    let rows = session
        .query(
            "select c.id, p.seq from unnest($1::text[], $2::bigint[]) as c (id, seq)
             cross join lateral (
               select seq from parked
               where endpoint_id = c.id and parked.seq >= c.seq and state = 'parked'
               order by seq limit $3) as p",
            &[&ids, &seqs, &limit],
        )
        .await?;
    let mut heads: HashMap<String, Vec<Seq>> = HashMap::new();
    for row in rows {
        heads
            .entry(row.get(0))
            .or_default()
            .push(Seq::new(row.get(1)));
    }
    Ok(heads)
}
