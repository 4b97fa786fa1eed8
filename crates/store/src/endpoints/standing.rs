//! How one endpoint stands.

use activity::Seq;
use jiff::Timestamp;

use crate::{Error, Session};

/// Of one endpoint, as the database has it.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Everything up to here is settled.
    pub position: Seq,
    /// The newest action of the log.
    pub head: Seq,
    pub parked: i64,
    pub dead: i64,
    /// When the first parked delivery is tried again.
    pub next_due: Option<Timestamp>,
    /// Projects whose head fails, where order within a project is asked for.
    pub held: i64,
    /// Replays under way.
    pub replays: i64,
}

impl Standing {
    /// Actions of the log that it has still to pass.
    pub fn behind(&self) -> i64 {
        (self.head.get() - self.position.get()).max(0)
    }
}

/// Nothing where there is no endpoint of that id.
pub async fn standing(session: &Session, id: &str) -> Result<Option<Standing>, Error> {
    let row = session
        .query_opt(
            "select case when e.behind then e.cursor_seq else greatest(e.cursor_seq, d.seq) end,
               coalesce((select seq from progress), 0),
               (select count(*) from parked p
                where p.endpoint_id = e.endpoint_id and p.state = 'parked'),
               (select count(*) from parked p
                where p.endpoint_id = e.endpoint_id and p.state = 'dead'),
               (select min(due_at) from parked p
                where p.endpoint_id = e.endpoint_id and p.state = 'parked'),
               (select count(*) from held h where h.endpoint_id = e.endpoint_id),
               (select count(*) from replays r
                where r.endpoint_id = e.endpoint_id and r.state = 'running')
             from endpoints e join delivery_progress d using (shard)
             where e.endpoint_id = $1",
            &[&id],
        )
        .await?;
    Ok(row.map(|row| Standing {
        position: Seq::new(row.get(0)),
        head: Seq::new(row.get(1)),
        parked: row.get(2),
        dead: row.get(3),
        next_due: row.get(4),
        held: row.get(5),
        replays: row.get(6),
    }))
}
