//! What `status` tells, read from Postgres alone.

use std::time::Duration;

use activity::{Lsn, Seq};
use postgres_types::PgLsn;

use crate::{Error, Session, quote_literal};

/// Whether somebody captures.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The session in the progress row, where it lives and streams from the slot.
    pub reader: Option<Reader>,
    pub has_slot: bool,
    /// How many sessions wait to take this slot over.
    pub standbys: i64,
    pub stop_reason: Option<String>,
    /// Why the rules in force are not those of the settings.
    pub rules_error: Option<String>,
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub seq: Seq,
    /// By the server's own measure of the stream; `None` where nobody streams.
    pub lag_seconds: Option<f64>,
}

/// A stream, as the server sees it.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub pid: i32,
    /// For how long its sidecar's writer has asked nothing, which it does twice a second. `None`: there is no
    /// writer of it any more.
    pub silent: Option<Duration>,
}

/// Makes a session known as the writer beside the stream of this process of the server: what it asks, or that it
/// asks nothing, is to be seen by any session of our role, and costs no write.
pub async fn announce(session: &Session, stream: i32) -> Result<(), Error> {
    let name = format!("set application_name = '{WRITER}{stream}'");
    Ok(session.batch_execute(&name).await?)
}

/// What the name of such a session begins with.
const WRITER: &str = "tidings writer of ";

/// The SQL that makes a session known as one that waits for this slot, until [`stop_waiting`] or its own end: by a
/// lock that any number share. The name of a session has no room for that of a slot.
pub fn start_waiting(slot: &str) -> String {
    format!("select pg_advisory_lock_shared({})", waiting(slot))
}

pub fn stop_waiting(slot: &str) -> String {
    format!("select pg_advisory_unlock_shared({})", waiting(slot))
}

fn waiting(slot: &str) -> String {
    let slot = quote_literal(slot);
    format!("hashtextextended('tidings standby ' || {slot}, 0)")
}

/// Where the server's WAL ends.
pub async fn wal_end(session: &Session) -> Result<Lsn, Error> {
    let row = session
        .query_one("select pg_current_wal_lsn()", &[])
        .await?;
    Ok(Lsn::new(u64::from(row.get::<_, PgLsn>(0))))
}

pub async fn capture(session: &Session) -> Result<Option<Capture>, Error> {
    let row = session
        .query_opt(
            // Whoever creates a slot holds it too, and streams nothing yet.
            "select case when owner.query not like 'select lsn from pg_create_logical%' then owner.pid end,
               p.stop_reason, p.commit_lsn, p.end_lsn, p.seq,
               (select count(*) from pg_locks l
                where l.locktype = 'advisory' and l.mode = 'ShareLock' and l.granted and l.objsubid = 1
                  and l.database = (select oid from pg_database where datname = current_database())
                  and (l.classid::bigint << 32 | l.objid::bigint)
                    = hashtextextended('tidings standby ' || p.slot, 0)),
               case when owner.pid is not null then
                 coalesce((select extract(epoch from r.flush_lag)
                           from pg_stat_replication r where r.pid = owner.pid), 0)::float8 end,
               p.rules_error, s.slot_name is not null,
               (select min(case when w.state = 'active' then 0 else greatest(0, coalesce(
                   extract(epoch from clock_timestamp() - w.state_change), 0)) end)::float8
                from pg_stat_activity w where w.usename = current_user
                  and w.application_name = $1::text || owner.pid)
             from progress p
             left join pg_replication_slots s on s.slot_name = p.slot
             left join pg_stat_activity owner on owner.pid = p.owner_pid
               and owner.backend_start = p.owner_backend_start and s.active_pid = owner.pid",
            &[&WRITER],
        )
        .await?;
    Ok(row.map(|row| Capture {
        reader: row.get::<_, Option<i32>>(0).map(|pid| Reader {
            pid,
            silent: row.get::<_, Option<f64>>(9).map(Duration::from_secs_f64),
        }),
        has_slot: row.get(8),
        stop_reason: row.get(1),
        commit_lsn: Lsn::new(u64::from(row.get::<_, PgLsn>(2))),
        end_lsn: Lsn::new(u64::from(row.get::<_, PgLsn>(3))),
        seq: Seq::new(row.get(4)),
        standbys: row.get(5),
        lag_seconds: row.get(6),
        rules_error: row.get(7),
    }))
}

#[derive(Clone, Copy, Debug)]
pub struct Deliveries {
    pub delivered: i64,
    pub parked: i64,
    /// Actions of the log that endpoints have still to settle, summed over those not disabled.
    pub behind: i64,
    pub dead: i64,
}

pub async fn deliveries(session: &Session) -> Result<Deliveries, Error> {
    let row = session
        .query_one(
            "select (select coalesce(sum(delivered), 0)::bigint from delivery_progress),
               (select count(*) from parked where state = 'parked'),
               (select coalesce(sum(greatest(0, head.seq - case when e.behind then e.cursor_seq
                   else greatest(e.cursor_seq, d.seq) end)), 0)::bigint
                from endpoints e join delivery_progress d using (shard)
                cross join (select coalesce(max(seq), 0) as seq from progress) as head
                where e.state <> 'disabled'),
               (select count(*) from parked where state = 'dead')",
            &[],
        )
        .await?;
    Ok(Deliveries {
        delivered: row.get(0),
        parked: row.get(1),
        behind: row.get(2),
        dead: row.get(3),
    })
}

/// How many endpoints are in each state, and why those that are disabled are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub enabled: i64,
    pub paused: i64,
    /// (name, reason), by name.
    pub disabled: Vec<(String, String)>,
}

pub async fn endpoints(session: &Session) -> Result<Endpoints, Error> {
    let row = session
        .query_one(
            "select count(*) filter (where state = 'enabled'),
               count(*) filter (where state = 'paused') from endpoints",
            &[],
        )
        .await?;
    let disabled = session
        .query(
            "select name, coalesce(state_reason, '') from endpoints
             where state = 'disabled' order by name",
            &[],
        )
        .await?;
    Ok(Endpoints {
        enabled: row.get(0),
        paused: row.get(1),
        disabled: disabled
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
    })
}

pub async fn quarantined(session: &Session) -> Result<i64, Error> {
    Ok(session
        .query_one("select count(*) from quarantine", &[])
        .await?
        .get(0))
}

/// The rules that have failed on a change, with how often and the newest reason.
pub async fn failing_rules(session: &Session) -> Result<Vec<(String, i64, String)>, Error> {
    let rows = session
        .query(
            "select rule, count(*), (array_agg(reason order by quarantine_id desc))[1]
             from quarantine where kind = 'rule' and rule is not null group by rule",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}
