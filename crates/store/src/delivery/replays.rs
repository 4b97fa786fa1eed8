//! Replays: runs of an endpoint through a range of the log once more.

use activity::Seq;

use crate::{Error, Session};

/// A replay that is to be worked off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningReplay {
    pub id: String,
    pub endpoint_id: String,
    /// Beside the endpoint's own filter; empty: all.
    pub types: Vec<String>,
    pub projects: Vec<String>,
    /// Everything up to here is attempted.
    pub cursor: Seq,
    /// The last action of it.
    pub until: Seq,
    /// Attempts a second at most.
    pub per_second: Option<u32>,
}

/// What a settlement stores of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayMove {
    pub id: String,
    pub cursor: Seq,
    /// First attempts that are newly over.
    pub attempted: i64,
    pub done: bool,
}

/// The replays of endpoints of these shards that run.
pub async fn running_replays(
    session: &Session,
    shards: &[i16],
) -> Result<Vec<RunningReplay>, Error> {
    let statement = session
        .prepared(
            "select replay_id, endpoint_id, r.types, r.projects, r.cursor_seq, until_seq, per_second
             from replays r join endpoints e using (endpoint_id)
             where r.state = 'running' and e.shard = any($1) order by r.created_at, replay_id",
        )
        .await?;
    let rows = session.query(&statement, &[&shards]).await?;
    let replays = rows.iter().map(|row| RunningReplay {
        id: row.get(0),
        endpoint_id: row.get(1),
        types: row.get(2),
        projects: row.get(3),
        cursor: Seq::new(row.get(4)),
        until: Seq::new(row.get(5)),
        per_second: row.get::<_, Option<i32>>(6).map(i32::unsigned_abs),
    });
    Ok(replays.collect())
}

/// The actions past its cursor that a replay has attempted already.
pub async fn attempted_in_replay(
    session: &Session,
    replay: &RunningReplay,
) -> Result<Vec<Seq>, Error> {
    let rows = session
        .query(
            "select distinct seq from attempts
             where endpoint_id = $1 and seq > $2 and replay_id = $3 and outcome <> 'deferred'",
            &[&replay.endpoint_id, &replay.cursor.get(), &replay.id],
        )
        .await?;
    Ok(rows.iter().map(|row| Seq::new(row.get(0))).collect())
}
