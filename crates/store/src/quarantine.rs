//! What could not be derived or written: looked at, asked to be tried again, discarded.
//!
//! Only the one writer takes a change out of the quarantine as an action; a command marks it.

use activity::{Key, Lsn, Position};
use jiff::Timestamp;
use postgres_types::PgLsn;
use serde_json::Value;
use tokio_postgres::Row;

use crate::images::RowJson;
use crate::{Error, Session};

/// A row of the quarantine.
#[derive(Clone)]
pub struct Entry {
    pub id: i64,
    pub quarantined_at: Timestamp,
    pub kind: Kind,
    /// With its pack; `None` where the change concerns all rules of the table.
    pub rule: Option<String>,
    /// As SQL writes it.
    pub table: String,
    pub key: Option<Key>,
    pub commit_lsn: Lsn,
    pub position: Position,
    pub reason: String,
    pub retries: i32,
    pub requested: bool,
    pub change: Option<Kept>,
}

/// What working a change out again takes.
#[derive(Clone)]
pub struct Kept {
    pub committed_at: Timestamp,
    /// The 64-bit id of the transaction.
    pub xid: u64,
    pub event: String,
    pub key_before: Option<Key>,
    pub old: Option<RowJson>,
    pub old_known: bool,
    pub new: Option<RowJson>,
    /// The OIDs of the columns' types by name.
    pub types: Value,
    pub ran: Vec<String>,
    /// What the transaction said of itself.
    pub context: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A rule did not make an action of a change.
    Rule,
    /// `project_actions` did not take the row of this action.
    Refused { seq: i64 },
}

/// Which rows of the quarantine a command is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Empty: all.
    pub ids: Vec<i64>,
    pub rule: Option<String>,
}

/// What came of a change that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many actions.
    Written(i32),
    /// The rules have nothing to say of it.
    Silent,
    /// It stays, for this reason.
    Failed(String),
}

impl Outcome {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Written(_) => "written",
            Self::Silent => "silent",
            Self::Failed(_) => "failed",
        }
    }

    pub const fn actions(&self) -> i32 {
        match self {
            Self::Written(actions) => *actions,
            Self::Silent | Self::Failed(_) => 0,
        }
    }
}

const COLUMNS: &str = "quarantine_id, quarantined_at, kind, rule, seq, table_name, key, commit_lsn, \
    change_lsn, change_index, reason, retries, retry_requested_at is not null as requested, \
    committed_at, xid, event, key_before, old::text, old_known, new::text, types, ran, context";
const IN_ORDER: &str = "commit_lsn, change_lsn, change_index, rule, quarantine_id";

/// The oldest changes that somebody asked to have tried again, in the order in which they happened: at
/// most `limit`, and no more of them than hold `bytes` and one more.
pub async fn requested(session: &Session, limit: i64, bytes: i64) -> Result<Vec<Entry>, Error> {
    let statement = format!(
        "with oldest as (
           select * from quarantine where retry_requested_at is not null
           order by {IN_ORDER} limit $1
         ), sized as (
           select *, sum(coalesce(octet_length(old::text), 0) + coalesce(octet_length(new::text), 0))
             over (order by {IN_ORDER} rows between unbounded preceding and 1 preceding) as before
           from oldest)
         select {COLUMNS} from sized where coalesce(before, 0) <= $2 order by {IN_ORDER}"
    );
    let statement = session.prepared(&statement).await?;
    let rows = session.query(&statement, &[&limit, &bytes]).await?;
    rows.iter().map(entry).collect()
}

/// The oldest, in the order in which they happened.
pub async fn list(session: &Session, limit: i64) -> Result<Vec<Entry>, Error> {
    let statement = format!("select {COLUMNS} from quarantine order by {IN_ORDER} limit $1");
    let rows = session.query(&statement, &[&limit]).await?;
    rows.iter().map(entry).collect()
}

pub async fn find(session: &Session, id: i64) -> Result<Option<Entry>, Error> {
    let statement = format!("select {COLUMNS} from quarantine where quarantine_id = $1");
    let row = session.query_opt(&statement, &[&id]).await?;
    row.as_ref().map(entry).transpose()
}

/// Asks the writer to try these again. Returns their ids in the order in which that will be done.
///
/// Where the old row of a change was not known, or only in part, it is taken from the quarantined
/// change of the same row before it.
pub async fn request(session: &mut Session, selection: &Selection) -> Result<Vec<i64>, Error> {
    let transaction = session.transaction().await?;
    transaction
        .execute(
            "update quarantine as q set old = p.before || q.old, old_known = true
             from (
               select a.quarantine_id, (
                 select b.new from quarantine b
                 where b.kind = 'rule' and b.table_name = a.table_name
                   and b.key = coalesce(a.key_before, a.key)
                   and (b.commit_lsn, b.change_lsn, b.change_index)
                     < (a.commit_lsn, a.change_lsn, a.change_index)
                 order by b.commit_lsn desc, b.change_lsn desc, b.change_index desc,
                   length(b.new::text) desc nulls last
                 limit 1) as before
               from quarantine a
               where a.kind = 'rule' and a.old is not null
                 and (cardinality($1::bigint[]) = 0 or a.quarantine_id = any($1))
                 and ($2::text is null or a.rule = $2)) as p
             where p.quarantine_id = q.quarantine_id and (p.before || q.old) <> q.old",
            &[&selection.ids, &selection.rule],
        )
        .await?;
    transaction
        .execute(
            "update quarantine set retry_requested_at = now()
             where retry_requested_at is null
               and (cardinality($1::bigint[]) = 0 or quarantine_id = any($1))
               and ($2::text is null or rule = $2)",
            &[&selection.ids, &selection.rule],
        )
        .await?;
    let statement = format!(
        "select quarantine_id from quarantine
         where retry_requested_at is not null
           and (cardinality($1::bigint[]) = 0 or quarantine_id = any($1))
           and ($2::text is null or rule = $2)
         order by {IN_ORDER}"
    );
    let rows = transaction
        .query(&statement, &[&selection.ids, &selection.rule])
        .await?;
    transaction.commit().await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What has come of requested changes so far; those that still wait are left out.
pub async fn outcomes(session: &Session, ids: &[i64]) -> Result<Vec<(i64, Outcome)>, Error> {
    let rows = session
        .query(
            "select quarantine_id, outcome, actions, null as reason from retried
             where quarantine_id = any($1)
             union all
             select quarantine_id, 'failed', 0, reason from quarantine
             where quarantine_id = any($1) and retry_requested_at is null",
            &[&ids],
        )
        .await?;
    let outcome = |row: &Row| match (row.get(1), row.get::<_, Option<String>>(3)) {
        (_, Some(reason)) => Outcome::Failed(reason),
        ("written", None) => Outcome::Written(row.get(2)),
        (_, None) => Outcome::Silent,
    };
    Ok(rows.iter().map(|row| (row.get(0), outcome(row))).collect())
}

/// Which of these are gone without having been worked off: somebody discarded them.
pub async fn discarded(session: &Session, ids: &[i64]) -> Result<Vec<i64>, Error> {
    let rows = session
        .query(
            "select id from unnest($1::bigint[]) as wanted (id)
             where not exists (select from quarantine where quarantine_id = id)
               and not exists (select from retried where quarantine_id = id)",
            &[&ids],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Gives changes up, with the values that were kept of them. Returns how many.
pub async fn discard(session: &Session, selection: &Selection) -> Result<u64, Error> {
    let discarded = session
        .execute(
            "delete from quarantine
             where (cardinality($1::bigint[]) = 0 or quarantine_id = any($1))
               and ($2::text is null or rule = $2)",
            &[&selection.ids, &selection.rule],
        )
        .await?;
    Ok(discarded)
}

fn entry(row: &Row) -> Result<Entry, Error> {
    let id: i64 = row.get("quarantine_id");
    let lsn = |name: &str| Lsn::new(u64::from(row.get::<_, PgLsn>(name)));
    let index: i64 = row.get("change_index");
    let unreadable =
        |what: &str| Error::Unreadable(format!("quarantine {id}: {what} is unreadable"));
    let key = |name: &str| row.get::<_, Option<String>>(name).map(Key::from_stored);
    let kind = match row.get::<_, Option<i64>>("seq") {
        Some(seq) => Kind::Refused { seq },
        None => Kind::Rule,
    };
    let change = row.get::<_, Option<String>>("event").map(|event| Kept {
        committed_at: row.get("committed_at"),
        xid: row.get::<_, i64>("xid").unsigned_abs(),
        event,
        key_before: key("key_before"),
        old: row.get("old"),
        old_known: row.get("old_known"),
        new: row.get("new"),
        types: row.get::<_, Option<Value>>("types").unwrap_or_default(),
        ran: row.get("ran"),
        context: row.get("context"),
    });
    Ok(Entry {
        id,
        quarantined_at: row.get("quarantined_at"),
        kind,
        rule: row.get("rule"),
        table: row.get("table_name"),
        key: key("key"),
        commit_lsn: lsn("commit_lsn"),
        position: Position {
            lsn: lsn("change_lsn"),
            index: u32::try_from(index).map_err(|_| unreadable("change_index"))?,
        },
        reason: row.get("reason"),
        retries: row.get("retries"),
        requested: row.get("requested"),
        change,
    })
}
