use activity::Lsn;
use postgres_types::PgLsn;
use tokio_postgres::Row;

use crate::{Error, Session};

/// A replication slot, with what decides how long it may be left alone.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub name: String,
    /// `None`: a physical one, which standbys use.
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub active_pid: Option<i32>,
    pub temporary: bool,
    pub confirmed: Option<Lsn>,
    pub wal_status: Option<String>,
    /// Bytes of WAL that may still be written before it is in danger; `None` without a limit.
    pub safe_wal_size: Option<i64>,
    /// Bytes of WAL that it keeps.
    pub retained: i64,
    /// Transactions since the oldest one whose catalog rows it keeps.
    pub catalog_age: Option<i32>,
    /// Kept on standbys, too (Postgres 17).
    pub failover: bool,
    /// For how long nobody has read it (Postgres 17).
    pub inactive_seconds: Option<i64>,
    /// Why it can not be read any more (Postgres 17).
    pub invalidated: Option<String>,
}

pub async fn slots(session: &Session, version: u32) -> Result<Vec<Slot>, Error> {
    let since_17 = match version {
        170_000.. => {
            "failover, extract(epoch from now() - inactive_since)::bigint, invalidation_reason"
        }
        _ => "false, null::bigint, null::text",
    };
    let statement = format!(
        "select slot_name::text, plugin::text, database::text, active_pid, temporary,
           confirmed_flush_lsn, wal_status, safe_wal_size,
           coalesce(pg_wal_lsn_diff(
             case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
               else pg_current_wal_lsn() end, restart_lsn), 0)::bigint,
           age(catalog_xmin), {since_17}
         from pg_replication_slots order by 1"
    );
    let rows = session.query(&statement, &[]).await?;
    let slot = |row: &Row| Slot {
        name: row.get(0),
        plugin: row.get(1),
        database: row.get(2),
        active_pid: row.get(3),
        temporary: row.get(4),
        confirmed: row
            .get::<_, Option<PgLsn>>(5)
            .map(|lsn| Lsn::new(u64::from(lsn))),
        wal_status: row.get(6),
        safe_wal_size: row.get(7),
        retained: row.get::<_, i64>(8).max(0),
        catalog_age: row.get(9),
        failover: row.get(10),
        inactive_seconds: row.get(11),
        invalidated: row.get(12),
    };
    Ok(rows.iter().map(slot).collect())
}
