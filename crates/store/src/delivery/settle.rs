//! The one transaction that stores what delivery has come to.

use activity::Seq;
use jiff::Timestamp;
use postgres_types::ToSql;
use tokio_postgres::{Statement, Transaction};

use super::{
    AttemptRecord, AttemptResult, CursorMove, HeldMove, ReplayMove, Settlement, Shard, Streak,
};
use crate::{Error, Session};

/// Commits a settlement; fenced by the shards' epochs, first of all. Not cancel safe: a cancelled call
/// may have committed.
///
/// # Errors
/// [`Error::Fenced`] where a shard of it has another owner by now: nothing of it is stored.
pub async fn settle(session: &mut Session, settlement: &Settlement) -> Result<(), Error> {
    // Prepared once in the life of a session; a transaction prepares nothing.
    let statements = Statements {
        fence: session.prepared(FENCE).await?,
        attempts: session.prepared(APPEND_ATTEMPTS).await?,
        park: session.prepared(PARK).await?,
        unpark: session.prepared(UNPARK).await?,
        cursors: session.prepared(MOVE_CURSORS).await?,
    };
    let transaction = session.transaction().await?;
    let settle = Settle {
        transaction: &transaction,
        statements: &statements,
    };
    settle.fence(&settlement.shards).await?;
    tokio::try_join!(
        settle.append_attempts(&settlement.attempts),
        settle.park(&settlement.attempts),
        settle.unpark(settlement),
        settle.bury(&settlement.buried),
        settle.move_cursors(&settlement.cursors),
        settle.move_held(&settlement.held),
        settle.move_replays(&settlement.replays),
        settle.store_streaks(&settlement.streaks),
    )?;
    for (endpoint_id, reason) in &settlement.disabled {
        settle.disable(endpoint_id, reason).await?;
    }
    transaction.commit().await?;
    Ok(())
}

struct Statements {
    fence: Statement,
    attempts: Statement,
    park: Statement,
    unpark: Statement,
    cursors: Statement,
}

const FENCE: &str = "update delivery_progress as p
    set seq = greatest(p.seq, s.seq), delivered = p.delivered + s.delivered
    from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[])
      as s (shard, epoch, seq, delivered)
    where p.shard = s.shard and p.epoch = s.epoch";

const APPEND_ATTEMPTS: &str = "insert into attempts (attempted_at, seq, endpoint_id, action_id, \
    attempt, outcome, status, latency_ms, dns_ms, connect_ms, wait_ms, address, error, error_kind, \
    response_excerpt, replay_id, covers)
    select a.at, a.seq, a.endpoint_id, a.action_id, a.attempt, a.outcome, a.status, a.latency_ms,
      a.dns_ms, a.connect_ms, a.wait_ms, a.address, a.error, a.error_kind, a.excerpt, a.replay_id,
      a.covers::bigint[]
    from unnest($1::timestamptz[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::text[],
      $7::smallint[], $8::real[], $9::real[], $10::real[], $11::real[], $12::text[], $13::text[],
      $14::text[], $15::text[], $16::text[], $17::text[])
      as a (at, seq, endpoint_id, action_id, attempt, outcome, status, latency_ms, dns_ms, connect_ms,
        wait_ms, address, error, error_kind, excerpt, replay_id, covers)";

const PARK: &str = "insert into parked
      (endpoint_id, seq, action_id, attempts, state, due_at, last_error, replay_id, covers)
    select f.endpoint_id, f.seq, f.action_id, f.attempts,
      case when f.due_at is null then 'dead' else 'parked' end, f.due_at, f.last_error, f.replay_id,
      f.covers::bigint[]
    from unnest($1::text[], $2::bigint[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[],
      $7::text[], $8::text[])
      as f (endpoint_id, seq, action_id, attempts, due_at, last_error, replay_id, covers)
    where exists (select from endpoints e where e.endpoint_id = f.endpoint_id)
    on conflict (endpoint_id, seq) do update set attempts = excluded.attempts,
      state = excluded.state, due_at = excluded.due_at, last_error = excluded.last_error,
      replay_id = excluded.replay_id, covers = excluded.covers";

const UNPARK: &str =
    "delete from parked using unnest($1::text[], $2::bigint[]) as d (endpoint_id, seq)
    where parked.endpoint_id = d.endpoint_id and parked.seq = d.seq";

const MOVE_CURSORS: &str = "update endpoints as e
    set cursor_seq = greatest(e.cursor_seq, c.seq), behind = c.behind
    from unnest($1::text[], $2::bigint[], $3::boolean[]) as c (endpoint_id, seq, behind)
    where e.endpoint_id = c.endpoint_id";

struct Settle<'a> {
    transaction: &'a Transaction<'a>,
    statements: &'a Statements,
}

impl Settle<'_> {
    async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
        Ok(self.transaction.execute(sql, parameters).await?)
    }

    async fn fence(&self, shards: &[(Shard, i64)]) -> Result<(), Error> {
        let numbers: Vec<i16> = shards.iter().map(|(shard, _)| shard.number).collect();
        let epochs: Vec<i64> = shards.iter().map(|(shard, _)| shard.epoch).collect();
        let seqs: Vec<i64> = shards.iter().map(|(shard, _)| shard.seq.get()).collect();
        let delivered: Vec<i64> = shards.iter().map(|(_, delivered)| *delivered).collect();
        let updated = self
            .transaction
            .execute(
                &self.statements.fence,
                &[&numbers, &epochs, &seqs, &delivered],
            )
            .await?;
        if updated == shards.len() as u64 {
            Ok(())
        } else {
            Err(Error::Fenced(epochs.first().copied().unwrap_or_default()))
        }
    }

    async fn append_attempts(&self, attempts: &[AttemptRecord]) -> Result<(), Error> {
        if attempts.is_empty() {
            return Ok(());
        }
        let of = |f: fn(&AttemptRecord) -> Option<&str>| attempts.iter().map(f).collect::<Vec<_>>();
        let milliseconds =
            |f: fn(&AttemptRecord) -> Option<f32>| attempts.iter().map(f).collect::<Vec<_>>();
        let at: Vec<Timestamp> = attempts.iter().map(|a| a.at).collect();
        let seqs: Vec<i64> = attempts.iter().map(|a| a.seq.get()).collect();
        let numbers: Vec<i32> = attempts.iter().map(|a| a.attempt).collect();
        let statuses: Vec<Option<i16>> = attempts
            .iter()
            .map(|a| a.status.and_then(|s| i16::try_from(s).ok()))
            .collect();
        let covers: Vec<Option<String>> = attempts.iter().map(|a| array(&a.covers)).collect();
        self.transaction
            .execute(
                &self.statements.attempts,
                &[
                    &at,
                    &seqs,
                    &of(|a| Some(&a.endpoint_id)),
                    &of(|a| Some(a.action_id.as_str())),
                    &numbers,
                    &of(|a| Some(a.result.as_str())),
                    &statuses,
                    &milliseconds(|a| Some(a.latency_ms)),
                    &milliseconds(|a| a.dns_ms),
                    &milliseconds(|a| a.connect_ms),
                    &milliseconds(|a| a.wait_ms),
                    &of(|a| a.address.as_deref()),
                    &of(|a| a.error.as_deref()),
                    &of(|a| a.error_kind),
                    &of(|a| a.excerpt.as_deref()),
                    &of(|a| a.replay_id.as_deref()),
                    &covers,
                ],
            )
            .await?;
        Ok(())
    }

    /// Failed attempts wait for their next time, or are kept as dead letters. An endpoint that was
    /// removed meanwhile has no rows any more.
    async fn park(&self, attempts: &[AttemptRecord]) -> Result<(), Error> {
        let failed: Vec<(&AttemptRecord, Option<Timestamp>)> = attempts
            .iter()
            .filter_map(|a| match a.result {
                AttemptResult::Parked { due } => Some((a, Some(due))),
                AttemptResult::Dead => Some((a, None)),
                AttemptResult::Delivered | AttemptResult::Deferred => None,
            })
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let of = |f: fn(&AttemptRecord) -> Option<&str>| {
            failed.iter().map(|(a, _)| f(a)).collect::<Vec<_>>()
        };
        let seqs: Vec<i64> = failed.iter().map(|(a, _)| a.seq.get()).collect();
        let numbers: Vec<i32> = failed.iter().map(|(a, _)| a.attempt).collect();
        let due: Vec<Option<Timestamp>> = failed.iter().map(|(_, due)| *due).collect();
        let covers: Vec<Option<String>> = failed.iter().map(|(a, _)| array(&a.covers)).collect();
        self.transaction
            .execute(
                &self.statements.park,
                &[
                    &of(|a| Some(&a.endpoint_id)),
                    &seqs,
                    &of(|a| Some(a.action_id.as_str())),
                    &numbers,
                    &due,
                    &of(|a| Some(a.error.as_deref().unwrap_or_default())),
                    &of(|a| a.replay_id.as_deref()),
                    &covers,
                ],
            )
            .await?;
        Ok(())
    }

    async fn unpark(&self, settlement: &Settlement) -> Result<(), Error> {
        // A replay may deliver what is parked or dead.
        let delivered = settlement
            .attempts
            .iter()
            .filter(|a| a.attempt > 1 || a.replay_id.is_some())
            .filter(|a| a.result == AttemptResult::Delivered)
            .map(|a| (&a.endpoint_id, a.seq));
        let withdrawn = settlement.withdrawn.iter().map(|(id, seq)| (id, *seq));
        let (endpoints, seqs) = pairs(delivered.chain(withdrawn));
        if endpoints.is_empty() {
            return Ok(());
        }
        self.transaction
            .execute(&self.statements.unpark, &[&endpoints, &seqs])
            .await?;
        Ok(())
    }

    async fn bury(&self, buried: &[(String, Seq)]) -> Result<(), Error> {
        let (endpoints, seqs) = pairs(buried.iter().map(|(id, seq)| (id, *seq)));
        if endpoints.is_empty() {
            return Ok(());
        }
        self.execute(
            "update parked set state = 'dead', due_at = null,
               last_error = 'the action is no longer in the log'
             from unnest($1::text[], $2::bigint[]) as b (endpoint_id, seq)
             where parked.endpoint_id = b.endpoint_id and parked.seq = b.seq",
            &[&endpoints, &seqs],
        )
        .await?;
        Ok(())
    }

    async fn move_cursors(&self, cursors: &[CursorMove]) -> Result<(), Error> {
        if cursors.is_empty() {
            return Ok(());
        }
        let endpoints: Vec<&str> = cursors.iter().map(|c| c.endpoint_id.as_str()).collect();
        let seqs: Vec<i64> = cursors.iter().map(|c| c.cursor.get()).collect();
        let behind: Vec<bool> = cursors.iter().map(|c| c.behind).collect();
        self.transaction
            .execute(&self.statements.cursors, &[&endpoints, &seqs, &behind])
            .await?;
        Ok(())
    }

    /// One statement for what is held and one for what is not any more: a project is in one of them.
    async fn move_held(&self, moves: &[HeldMove]) -> Result<(), Error> {
        let (kept, gone): (Vec<&HeldMove>, Vec<&HeldMove>) =
            moves.iter().partition(|held| held.cursor.is_some());
        let names = |moves: &[&HeldMove]| -> (Vec<String>, Vec<String>) {
            moves
                .iter()
                .map(|held| (held.endpoint_id.clone(), held.project_id.clone()))
                .unzip()
        };
        if !kept.is_empty() {
            let (endpoints, projects) = names(&kept);
            let cursors: Vec<i64> = kept
                .iter()
                .filter_map(|held| Some(held.cursor?.get()))
                .collect();
            let heads: Vec<Option<i64>> = kept.iter().map(|held| held.head.map(Seq::get)).collect();
            self.execute(
                "insert into held (endpoint_id, project_id, cursor_seq, head_seq)
                 select h.endpoint_id, h.project_id, h.cursor_seq, h.head_seq
                 from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
                   as h (endpoint_id, project_id, cursor_seq, head_seq)
                 where exists (select from endpoints e where e.endpoint_id = h.endpoint_id)
                 on conflict (endpoint_id, project_id) do update
                   set cursor_seq = excluded.cursor_seq, head_seq = excluded.head_seq",
                &[&endpoints, &projects, &cursors, &heads],
            )
            .await?;
        }
        if !gone.is_empty() {
            let (endpoints, projects) = names(&gone);
            self.execute(
                "delete from held using unnest($1::text[], $2::text[]) as g (endpoint_id, project_id)
                 where held.endpoint_id = g.endpoint_id and held.project_id = g.project_id",
                &[&endpoints, &projects],
            )
            .await?;
        }
        Ok(())
    }

    async fn move_replays(&self, moves: &[ReplayMove]) -> Result<(), Error> {
        if moves.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = moves.iter().map(|m| m.id.as_str()).collect();
        let cursors: Vec<i64> = moves.iter().map(|m| m.cursor.get()).collect();
        let attempted: Vec<i64> = moves.iter().map(|m| m.attempted).collect();
        let done: Vec<bool> = moves.iter().map(|m| m.done).collect();
        self.execute(
            "update replays as r set cursor_seq = greatest(r.cursor_seq, m.cursor_seq),
               attempted = r.attempted + m.attempted,
               state = case when m.done and r.state = 'running' then 'done' else r.state end,
               finished_at = case when m.done and r.state = 'running' then now()
                 else r.finished_at end
             from unnest($1::text[], $2::bigint[], $3::bigint[], $4::boolean[])
               as m (replay_id, cursor_seq, attempted, done)
             where r.replay_id = m.replay_id",
            &[&ids, &cursors, &attempted, &done],
        )
        .await?;
        Ok(())
    }

    async fn store_streaks(&self, streaks: &[Streak]) -> Result<(), Error> {
        if streaks.is_empty() {
            return Ok(());
        }
        let endpoints: Vec<&str> = streaks.iter().map(|s| s.endpoint_id.as_str()).collect();
        let since: Vec<Option<Timestamp>> = streaks.iter().map(|s| s.failing_since).collect();
        self.execute(
            "update endpoints as e set failing_since = s.failing_since
             from unnest($1::text[], $2::timestamptz[]) as s (endpoint_id, failing_since)
             where e.endpoint_id = s.endpoint_id",
            &[&endpoints, &since],
        )
        .await?;
        Ok(())
    }

    /// Leaves a notice for the one writer, where it was not disabled already.
    async fn disable(&self, endpoint_id: &str, reason: &str) -> Result<(), Error> {
        self.execute(
            "with disabled as (
               update endpoints set state = 'disabled', state_reason = $2, failing_since = null,
                 revision = nextval('endpoint_revision')
               where endpoint_id = $1 and state <> 'disabled' returning endpoint_id, name)
             insert into outbox (kind, payload)
             select 'endpoint_disabled', jsonb_build_object(
               'endpoint_id', endpoint_id, 'endpoint', name, 'reason', $2::text)
             from disabled",
            &[&endpoint_id, &reason],
        )
        .await?;
        Ok(())
    }
}

fn pairs<'a>(deliveries: impl Iterator<Item = (&'a String, Seq)>) -> (Vec<&'a str>, Vec<i64>) {
    deliveries.map(|(id, seq)| (id.as_str(), seq.get())).unzip()
}

/// An array as Postgres reads it; `None` for an empty one. Arrays of arrays must be of one length, so
/// each goes as text.
fn array(seqs: &[Seq]) -> Option<String> {
    let seqs: Vec<String> = seqs.iter().map(ToString::to_string).collect();
    (!seqs.is_empty()).then(|| format!("{{{}}}", seqs.join(",")))
}
