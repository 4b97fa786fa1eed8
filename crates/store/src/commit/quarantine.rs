//! What could not be derived or written, in the same commit as everything else.

use activity::{Key, Seq};
use postgres_types::PgLsn;
use tokio_postgres::Transaction;

use super::{NewAction, NewFault};
use crate::Error;

/// One row for the quarantine. Holds no value of the worker's row but its key.
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
            reason: error.to_string(),
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
    transaction
        .execute(
            "insert into quarantine (kind, rule, seq, table_name, key, commit_lsn, change_lsn,
               change_index, sqlstate, reason)
             select $1, q.* from unnest($2::text[], $3::bigint[], $4::text[], $5::text[],
               $6::pg_lsn[], $7::pg_lsn[], $8::bigint[], $9::text[], $10::text[]) as q",
            &[
                &kind, &rules, &seqs, &tables, &keys, &commits, &changes, &indexes, &states,
                &reasons,
            ],
        )
        .await?;
    Ok(())
}
