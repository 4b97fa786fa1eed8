//! How far delivery has got: shards, attempts, parked deliveries.

use std::collections::HashMap;

use activity::{ActionId, Seq};
use jiff::Timestamp;
use tokio_postgres::Transaction;

use crate::{Error, Session};

/// A shard that this process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub number: i16,
    pub epoch: i64,
    /// Settled up to here for the endpoints that are not behind.
    pub seq: Seq,
}

/// Takes the shards that nobody owns. They stay ours as long as this session lives.
pub async fn take_shards(session: &Session, owned: &[i16]) -> Result<Vec<Shard>, Error> {
    let taken: Vec<i16> = session
        .query_one(
            "select coalesce(array_agg(shard) filter (where
               pg_try_advisory_lock(hashtext('tidings deliver ' || $1), shard)), '{}')
             from (select shard from delivery_progress where shard <> all($2)) as free",
            &[&session.schema(), &owned],
        )
        .await?
        .get(0);
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "update delivery_progress set epoch = epoch + 1 where shard = any($1)
             returning shard, epoch, seq",
            &[&taken],
        )
        .await?;
    let shards = rows.iter().map(|row| Shard {
        number: row.get(0),
        epoch: row.get(1),
        seq: Seq::new(row.get(2)),
    });
    Ok(shards.collect())
}

/// What one HTTP request came to, for the attempt log.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    pub at: Timestamp,
    pub seq: Seq,
    pub endpoint_id: String,
    pub action_id: ActionId,
    /// From 1.
    pub attempt: i32,
    pub result: AttemptResult,
    pub status: Option<u16>,
    pub latency_ms: f32,
    pub address: Option<String>,
    pub error: Option<String>,
    pub excerpt: Option<String>,
}

/// Where the delivery goes after the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    Delivered,
    /// Waits for its next attempt.
    Parked {
        due: Timestamp,
    },
    /// No further attempt.
    Dead,
}

/// Where an endpoint reads the log from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMove {
    pub endpoint_id: String,
    pub cursor: Seq,
    pub behind: bool,
}

/// Everything that one settle writes.
#[derive(Debug, Default)]
pub struct Settlement {
    pub attempts: Vec<AttemptRecord>,
    pub cursors: Vec<CursorMove>,
    /// Parked deliveries that the endpoint's filter refuses by now: (endpoint, seq).
    pub withdrawn: Vec<(String, Seq)>,
    /// Parked deliveries whose action is no longer in the log: dead letters.
    pub buried: Vec<(String, Seq)>,
    /// Endpoints to disable, with the reason.
    pub disabled: Vec<(String, String)>,
    /// (shard, epoch, settled up to, newly delivered)
    pub shards: Vec<(Shard, i64)>,
}

impl Settlement {
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
            && self.cursors.is_empty()
            && self.withdrawn.is_empty()
            && self.buried.is_empty()
            && self.disabled.is_empty()
            && self.shards.is_empty()
    }
}

/// Commits a settlement; fenced by the shards' epochs, first of all.
pub async fn settle(session: &mut Session, settlement: &Settlement) -> Result<(), Error> {
    let transaction = session.transaction().await?;
    fence(&transaction, &settlement.shards).await?;
    tokio::try_join!(
        append_attempts(&transaction, &settlement.attempts),
        park(&transaction, &settlement.attempts),
        unpark(&transaction, settlement),
        bury(&transaction, &settlement.buried),
        move_cursors(&transaction, &settlement.cursors),
    )?;
    for (endpoint_id, reason) in &settlement.disabled {
        transaction
            .execute(
                "update endpoints set state = 'disabled', state_reason = $2,
                   revision = nextval('endpoint_revision')
                 where endpoint_id = $1 and state = 'enabled'",
                &[endpoint_id, reason],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn fence(transaction: &Transaction<'_>, shards: &[(Shard, i64)]) -> Result<(), Error> {
    let numbers: Vec<i16> = shards.iter().map(|(shard, _)| shard.number).collect();
    let epochs: Vec<i64> = shards.iter().map(|(shard, _)| shard.epoch).collect();
    let seqs: Vec<i64> = shards.iter().map(|(shard, _)| shard.seq.get()).collect();
    let delivered: Vec<i64> = shards.iter().map(|(_, delivered)| *delivered).collect();
    let updated = transaction
        .execute(
            "update delivery_progress as p
             set seq = greatest(p.seq, s.seq), delivered = p.delivered + s.delivered
             from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[])
               as s (shard, epoch, seq, delivered)
             where p.shard = s.shard and p.epoch = s.epoch",
            &[&numbers, &epochs, &seqs, &delivered],
        )
        .await?;
    if updated == shards.len() as u64 {
        Ok(())
    } else {
        Err(Error::Fenced(epochs.first().copied().unwrap_or_default()))
    }
}

async fn append_attempts(
    transaction: &Transaction<'_>,
    attempts: &[AttemptRecord],
) -> Result<(), Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    let at: Vec<Timestamp> = attempts.iter().map(|a| a.at).collect();
    let seqs: Vec<i64> = attempts.iter().map(|a| a.seq.get()).collect();
    let endpoints: Vec<&str> = attempts.iter().map(|a| a.endpoint_id.as_str()).collect();
    let actions: Vec<&str> = attempts.iter().map(|a| a.action_id.as_str()).collect();
    let numbers: Vec<i32> = attempts.iter().map(|a| a.attempt).collect();
    let outcomes: Vec<&str> = attempts
        .iter()
        .map(|a| match a.result {
            AttemptResult::Delivered => "delivered",
            AttemptResult::Parked { .. } => "parked",
            AttemptResult::Dead => "dead",
        })
        .collect();
    let statuses: Vec<Option<i16>> = attempts
        .iter()
        .map(|a| a.status.and_then(|s| i16::try_from(s).ok()))
        .collect();
    let latencies: Vec<f32> = attempts.iter().map(|a| a.latency_ms).collect();
    let addresses: Vec<Option<&str>> = attempts.iter().map(|a| a.address.as_deref()).collect();
    let errors: Vec<Option<&str>> = attempts.iter().map(|a| a.error.as_deref()).collect();
    let excerpts: Vec<Option<&str>> = attempts.iter().map(|a| a.excerpt.as_deref()).collect();
    transaction
        .execute(
            "insert into attempts (attempted_at, seq, endpoint_id, action_id, attempt, outcome,
               status, latency_ms, address, error, response_excerpt)
             select * from unnest($1::timestamptz[], $2::bigint[], $3::text[], $4::text[],
               $5::integer[], $6::text[], $7::smallint[], $8::real[], $9::text[], $10::text[],
               $11::text[])",
            &[
                &at, &seqs, &endpoints, &actions, &numbers, &outcomes, &statuses, &latencies,
                &addresses, &errors, &excerpts,
            ],
        )
        .await?;
    Ok(())
}

/// Failed attempts wait for their next time, or are kept as dead letters. An endpoint that was
/// removed meanwhile has no rows any more.
async fn park(transaction: &Transaction<'_>, attempts: &[AttemptRecord]) -> Result<(), Error> {
    let failed: Vec<&AttemptRecord> = attempts
        .iter()
        .filter(|a| a.result != AttemptResult::Delivered)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let endpoints: Vec<&str> = failed.iter().map(|a| a.endpoint_id.as_str()).collect();
    let seqs: Vec<i64> = failed.iter().map(|a| a.seq.get()).collect();
    let actions: Vec<&str> = failed.iter().map(|a| a.action_id.as_str()).collect();
    let numbers: Vec<i32> = failed.iter().map(|a| a.attempt).collect();
    let due: Vec<Option<Timestamp>> = failed
        .iter()
        .map(|a| match a.result {
            AttemptResult::Parked { due } => Some(due),
            AttemptResult::Delivered | AttemptResult::Dead => None,
        })
        .collect();
    let errors: Vec<&str> = failed
        .iter()
        .map(|a| a.error.as_deref().unwrap_or(""))
        .collect();
    transaction
        .execute(
            "insert into parked (endpoint_id, seq, action_id, attempts, state, due_at, last_error)
             select f.endpoint_id, f.seq, f.action_id, f.attempts,
               case when f.due_at is null then 'dead' else 'parked' end, f.due_at, f.last_error
             from unnest($1::text[], $2::bigint[], $3::text[], $4::integer[], $5::timestamptz[],
               $6::text[]) as f (endpoint_id, seq, action_id, attempts, due_at, last_error)
             where exists (select from endpoints e where e.endpoint_id = f.endpoint_id)
             on conflict (endpoint_id, seq) do update set attempts = excluded.attempts,
               state = excluded.state, due_at = excluded.due_at, last_error = excluded.last_error",
            &[&endpoints, &seqs, &actions, &numbers, &due, &errors],
        )
        .await?;
    Ok(())
}

async fn unpark(transaction: &Transaction<'_>, settlement: &Settlement) -> Result<(), Error> {
    let delivered = settlement
        .attempts
        .iter()
        .filter(|a| a.attempt > 1 && a.result == AttemptResult::Delivered)
        .map(|a| (&a.endpoint_id, a.seq));
    let withdrawn = settlement.withdrawn.iter().map(|(id, seq)| (id, *seq));
    let (endpoints, seqs) = pairs(delivered.chain(withdrawn));
    if endpoints.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "delete from parked using unnest($1::text[], $2::bigint[]) as d (endpoint_id, seq)
             where parked.endpoint_id = d.endpoint_id and parked.seq = d.seq",
            &[&endpoints, &seqs],
        )
        .await?;
    Ok(())
}

async fn bury(transaction: &Transaction<'_>, buried: &[(String, Seq)]) -> Result<(), Error> {
    let (endpoints, seqs) = pairs(buried.iter().map(|(id, seq)| (id, *seq)));
    if endpoints.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "update parked set state = 'dead', due_at = null,
               last_error = 'the action is no longer in the log'
             from unnest($1::text[], $2::bigint[]) as b (endpoint_id, seq)
             where parked.endpoint_id = b.endpoint_id and parked.seq = b.seq",
            &[&endpoints, &seqs],
        )
        .await?;
    Ok(())
}

fn pairs<'a>(deliveries: impl Iterator<Item = (&'a String, Seq)>) -> (Vec<&'a str>, Vec<i64>) {
    deliveries.map(|(id, seq)| (id.as_str(), seq.get())).unzip()
}

async fn move_cursors(transaction: &Transaction<'_>, cursors: &[CursorMove]) -> Result<(), Error> {
    if cursors.is_empty() {
        return Ok(());
    }
    let endpoints: Vec<&str> = cursors.iter().map(|c| c.endpoint_id.as_str()).collect();
    let seqs: Vec<i64> = cursors.iter().map(|c| c.cursor.get()).collect();
    let behind: Vec<bool> = cursors.iter().map(|c| c.behind).collect();
    transaction
        .execute(
            "update endpoints as e set cursor_seq = greatest(e.cursor_seq, c.seq), behind = c.behind
             from unnest($1::text[], $2::bigint[], $3::boolean[]) as c (endpoint_id, seq, behind)
             where e.endpoint_id = c.endpoint_id",
            &[&endpoints, &seqs, &behind],
        )
        .await?;
    Ok(())
}

/// A delivery that waits, or waited, for its next attempt.
#[derive(Clone, Debug)]
pub struct ParkedDelivery {
    pub endpoint_id: String,
    pub seq: Seq,
    /// Attempts made so far.
    pub attempts: u32,
}

/// At most `limit` due deliveries of each of these endpoints, the longest due first.
pub async fn due(
    session: &Session,
    endpoints: &[&str],
    now: Timestamp,
    limit: i64,
) -> Result<Vec<ParkedDelivery>, Error> {
    let statement = session
        .prepared(
            "select p.endpoint_id, p.seq, p.attempts from unnest($1::text[]) as e (id)
             cross join lateral (
               select endpoint_id, seq, attempts from parked
               where endpoint_id = e.id and state = 'parked' and due_at <= $2
               order by due_at limit $3) as p",
        )
        .await?;
    let rows = session
        .query(&statement, &[&endpoints, &now, &limit])
        .await?;
    let parked = rows.iter().map(|row| ParkedDelivery {
        endpoint_id: row.get(0),
        seq: Seq::new(row.get(1)),
        attempts: row.get::<_, i32>(2).unsigned_abs(),
    });
    Ok(parked.collect())
}

/// What is already settled past the cursors: deliveries of actions after each endpoint's cursor
/// that have an attempt. A restart must not send them again.
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
               select distinct seq from attempts where endpoint_id = c.id and seq > c.seq) as a",
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
