//! What could not be derived or written, in the same commit as everything else; and what came of it
//! later.

use activity::{Key, Seq};
use postgres_types::{PgLsn, ToSql};
use serde_json::Value;
use tokio_postgres::Transaction;

use super::{Kept, NewAction, NewFault, Retried};
use crate::Error;
use crate::quarantine::Outcome;

/// Why a row is set aside that refers to one that another transaction holds.
const LOCKED: &str = "another transaction holds a row that it refers to, such as its project in an open \
                      DELETE; it is tried again by itself";

/// One row for the quarantine. Its reason holds no value of the worker's row.
pub(super) struct Quarantined<'a> {
    rule: Option<&'a str>,
    seq: Option<i64>,
    table: String,
    key: Option<&'a str>,
    commit_lsn: PgLsn,
    change_lsn: PgLsn,
    change_index: i64,
    sqlstate: Option<String>,
    reason: String,
    fault: Option<(&'a NewFault, &'a Kept)>,
}

impl<'a> Quarantined<'a> {
    /// A change that a rule made no action of.
    pub(super) fn of_fault(fault: &'a NewFault) -> Self {
        Self {
            rule: fault.rule.as_deref(),
            seq: None,
            table: fault.table.to_string(),
            key: fault.key.as_ref().map(Key::as_str),
            commit_lsn: PgLsn::from(fault.commit_lsn.get()),
            change_lsn: PgLsn::from(fault.position.lsn.get()),
            change_index: i64::from(fault.position.index),
            sqlstate: None,
            reason: fault.reason.clone(),
            fault: fault.kept.as_deref().map(|kept| (fault, kept)),
        }
    }

    /// An action whose row `project_actions` did not take.
    pub(super) fn of_refusal(action: &'a NewAction, seq: Seq, error: &Error) -> Self {
        let source = &action.source;
        Self {
            rule: Some(&source.rule),
            seq: Some(seq.get()),
            table: source.table.to_string(),
            key: Some(source.key.as_str()),
            commit_lsn: PgLsn::from(action.commit_lsn.get()),
            change_lsn: PgLsn::from(source.position.lsn.get()),
            change_index: i64::from(source.position.index),
            sqlstate: error.sqlstate().map(|state| state.code().to_owned()),
            reason: match error.is_locked_row() {
                true => LOCKED.to_owned(),
                false => error.to_string(),
            },
            fault: None,
        }
    }
}

pub(super) async fn quarantine(
    transaction: &Transaction<'_>,
    kind: &str,
    rows: &[Quarantined<'_>],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let rules: Vec<_> = rows.iter().map(|row| row.rule).collect();
    let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
    let tables: Vec<_> = rows.iter().map(|row| row.table.as_str()).collect();
    let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
    let commits: Vec<_> = rows.iter().map(|row| row.commit_lsn).collect();
    let changes: Vec<_> = rows.iter().map(|row| row.change_lsn).collect();
    let indexes: Vec<_> = rows.iter().map(|row| row.change_index).collect();
    let states: Vec<_> = rows.iter().map(|row| row.sqlstate.as_deref()).collect();
    let reasons: Vec<_> = rows.iter().map(|row| row.reason.as_str()).collect();
    let faults: Vec<_> = rows.iter().map(|row| row.fault).collect();
    let of = |fault: &Option<(&NewFault, &Kept)>| fault.map(|(fault, _)| fault.committed_at);
    let committed: Vec<_> = faults.iter().map(of).collect();
    let of = |fault: &Option<(&NewFault, &Kept)>| fault.map(|(fault, _)| fault.xid as i64);
    let xids: Vec<_> = faults.iter().map(of).collect();
    let kept: Vec<_> = faults.iter().map(|fault| fault.map(|f| f.1)).collect();
    let events: Vec<_> = kept.iter().map(|k| k.map(|k| k.event.as_str())).collect();
    let olds: Vec<_> = kept
        .iter()
        .map(|k| k.and_then(|k| k.old.as_deref()))
        .collect();
    let olds_known: Vec<_> = kept
        .iter()
        .map(|k| k.is_some_and(|k| k.old_known))
        .collect();
    let news: Vec<_> = kept
        .iter()
        .map(|k| k.and_then(|k| k.new.as_deref()))
        .collect();
    let types: Vec<_> = kept.iter().map(|k| k.map(|k| k.types.as_str())).collect();
    let before = |k: &Option<&'_ Kept>| k.and_then(|k| k.key_before.clone());
    let keys_before: Vec<_> = kept.iter().map(before).collect();
    let keys_before: Vec<_> = keys_before
        .iter()
        .map(|k| k.as_ref().map(Key::as_str))
        .collect();
    let ran = |k: &Option<&Kept>| Value::from(k.map(|k| k.ran.clone()).unwrap_or_default());
    let ran: Vec<String> = kept.iter().map(|k| ran(k).to_string()).collect();
    let contexts: Vec<_> = kept
        .iter()
        .map(|k| k.and_then(|k| k.context.as_deref()))
        .collect();
    let parameters: [&(dyn ToSql + Sync); 20] = [
        &kind,
        &rules,
        &seqs,
        &tables,
        &keys,
        &commits,
        &changes,
        &indexes,
        &states,
        &reasons,
        &committed,
        &xids,
        &events,
        &olds,
        &olds_known,
        &news,
        &types,
        &keys_before,
        &ran,
        &contexts,
    ];
    transaction
        .execute(
            "insert into quarantine (kind, rule, seq, table_name, key, commit_lsn, change_lsn,
               change_index, sqlstate, reason, committed_at, xid, event, old, old_known, new, types,
               key_before, ran, context, retry_requested_at)
             select $1, rule, seq, table_name, key, commit_lsn, change_lsn, change_index, sqlstate,
               reason, committed_at, xid, event, old::jsonb, old_known, new::jsonb, types::jsonb,
               key_before, array(select jsonb_array_elements_text(ran::jsonb)), context::jsonb,
               case when sqlstate = '55P03' then now() end
             from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::pg_lsn[],
               $7::pg_lsn[], $8::bigint[], $9::text[], $10::text[], $11::timestamptz[],
               $12::bigint[], $13::text[], $14::text[], $15::boolean[], $16::text[], $17::text[],
               $18::text[], $19::text[], $20::text[])
               as q (rule, seq, table_name, key, commit_lsn, change_lsn, change_index, sqlstate,
                 reason, committed_at, xid, event, old, old_known, new, types, key_before, ran, context)",
            &parameters,
        )
        .await?;
    Ok(())
}

/// Takes out of the quarantine what was worked off, and says of the rest why it stays.
pub(super) async fn settle(
    transaction: &Transaction<'_>,
    retried: &[Retried],
) -> Result<(), Error> {
    if retried.is_empty() {
        return Ok(());
    }
    let (mut gone, mut outcomes, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kept, mut reasons) = (Vec::new(), Vec::new());
    for Retried { id, outcome } in retried {
        match outcome {
            Outcome::Written(_) | Outcome::Silent => {
                gone.push(*id);
                outcomes.push(outcome.as_str());
                actions.push(outcome.actions());
            }
            Outcome::Failed(reason) => {
                kept.push(*id);
                reasons.push(reason.as_str());
            }
        }
    }
    if !gone.is_empty() {
        transaction
            .execute(
                "delete from quarantine where quarantine_id = any($1)",
                &[&gone],
            )
            .await?;
        transaction
            .execute(
                "insert into retried (quarantine_id, outcome, actions)
                 select * from unnest($1::bigint[], $2::text[], $3::integer[])",
                &[&gone, &outcomes, &actions],
            )
            .await?;
        transaction
            .execute(
                "delete from retried where retried_at < now() - interval '1 day'",
                &[],
            )
            .await?;
    }
    if !kept.is_empty() {
        transaction
            .execute(
                "update quarantine as q
                 set reason = failed.reason, retries = retries + 1, retry_requested_at = null
                 from unnest($1::bigint[], $2::text[]) as failed (id, reason)
                 where q.quarantine_id = failed.id",
                &[&kept, &reasons],
            )
            .await?;
    }
    Ok(())
}
