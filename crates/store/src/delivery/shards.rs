//! Shards, and the processes that share them.

use activity::Seq;

use crate::endpoints::SHARDS;
use crate::{Error, Session};

/// A shard that this process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub number: i16,
    pub epoch: i64,
    /// Settled up to here for the endpoints that are not behind.
    pub seq: Seq,
}

/// A shard as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub shard: Shard,
    /// Its last owner gave it up in good order: nothing of it is under way.
    pub released: bool,
}

/// The second half of the lock that every process that delivers shares; the shards have those below.
const MEMBER: i32 = SHARDS as i32;

/// Makes this session one that holds locks: the server ends it, and its locks with it, once it has not
/// been heard of for 8 s, be its process stopped or its host gone. It must ask something more often.
/// From here on it counts among the [`members`].
pub async fn hold(session: &Session) -> Result<(), Error> {
    session
        .batch_execute(
            "set idle_session_timeout = '8s'; set idle_in_transaction_session_timeout = '8s';
             set tcp_keepalives_idle = 2; set tcp_keepalives_interval = 2;
             set tcp_keepalives_count = 3; set tcp_user_timeout = '8s'",
        )
        .await?;
    session
        .execute(
            "select pg_advisory_lock_shared(hashtext('tidings deliver ' || $1), $2)",
            &[&session.schema(), &MEMBER],
        )
        .await?;
    Ok(())
}

/// How many processes share the shards, this one included. Writes nothing.
pub async fn members(session: &Session) -> Result<usize, Error> {
    let statement = session
        .prepared(
            "select count(*) from pg_locks
             where locktype = 'advisory' and mode = 'ShareLock' and granted and objsubid = 2
               and database = (select oid from pg_database where datname = current_database())
               and classid::bigint = hashtext('tidings deliver ' || $1)::bigint & 4294967295
               and objid::bigint = $2",
        )
        .await?;
    let row = session
        .query_one(&statement, &[&session.schema(), &i64::from(MEMBER)])
        .await?;
    Ok(usize::try_from(row.get::<_, i64>(0)).unwrap_or_default())
}

/// Takes at most `limit` of the shards that nobody owns. They stay ours as long as this session lives.
pub async fn take_shards(
    session: &Session,
    owned: &[i16],
    limit: usize,
) -> Result<Vec<Taken>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let free = session
        .prepared(
            "with free as materialized (
               select shard from delivery_progress where shard <> all($2) order by random())
             select shard from free
             where pg_try_advisory_lock(hashtext('tidings deliver ' || $1), shard) limit $3",
        )
        .await?;
    let taken: Vec<i16> = session
        .query(&free, &[&session.schema(), &owned, &limit])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "update delivery_progress as p set epoch = p.epoch + 1, released = false
             from (select shard, released from delivery_progress where shard = any($1)
                   order by shard for update) as found
             where p.shard = found.shard
             returning p.shard, p.epoch, p.seq, found.released",
            &[&taken],
        )
        .await?;
    let taken = rows.iter().map(|row| Taken {
        shard: Shard {
            number: row.get(0),
            epoch: row.get(1),
            seq: Seq::new(row.get(2)),
        },
        released: row.get(3),
    });
    Ok(taken.collect())
}

/// Gives shards up. In good order: nothing of them is under way any more, and all of it is settled.
pub async fn release_shards(
    session: &Session,
    shards: &[Shard],
    in_good_order: bool,
) -> Result<(), Error> {
    let numbers: Vec<i16> = shards.iter().map(|shard| shard.number).collect();
    let epochs: Vec<i64> = shards.iter().map(|shard| shard.epoch).collect();
    if in_good_order {
        session
            .execute(
                "update delivery_progress as p set released = true
                 from unnest($1::smallint[], $2::bigint[]) as s (shard, epoch)
                 where p.shard = s.shard and p.epoch = s.epoch",
                &[&numbers, &epochs],
            )
            .await?;
    }
    session
        .execute(
            "select pg_advisory_unlock(hashtext('tidings deliver ' || $1), shard)
             from unnest($2::smallint[]) as s (shard)",
            &[&session.schema(), &numbers],
        )
        .await?;
    Ok(())
}
