//! What the worker's database says of itself: server, tables and keys, publication, slot.

mod publication;
mod survey;
mod tables;

use activity::{Lsn, TableName};
use postgres_types::PgLsn;
use tokio_postgres::Row;

pub use publication::{Publication, Published, publication};
pub use survey::{ForeignKey, Survey, SurveyedColumn, SurveyedTable, WordsFrom, survey};
pub use tables::{Generated, Table, Tables, tables};

use crate::{Error, Session};

#[derive(Clone, Debug)]
pub struct Server {
    /// As `server_version_num`: 150018.
    pub version: u32,
    pub wal_level: String,
    pub user: String,
    pub database: String,
    pub superuser: bool,
    pub replication: bool,
    pub in_recovery: bool,
    pub flush_lsn: Option<Lsn>,
    /// The 64-bit id that the next transaction will take, or one near it.
    pub next_xid: u64,
}

/// Whether role `r` may open a replication connection. Amazon RDS gives its own role for that, and keeps the
/// attribute to itself.
pub(crate) const REPLICATES: &str = "(r.rolreplication or exists (select from pg_roles g
    where g.rolname = 'rds_replication' and pg_has_role(r.oid, g.oid, 'member')))";

pub async fn server(session: &Session) -> Result<Server, Error> {
    let statement = format!(
        "select current_setting('server_version_num')::int, current_setting('wal_level'),
               current_user::text, current_database()::text, r.rolsuper, {REPLICATES},
               pg_is_in_recovery(),
               case when not pg_is_in_recovery() then pg_current_wal_flush_lsn() end,
               pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             from pg_roles r where r.rolname = current_user"
    );
    let row = session.query_one(&statement, &[]).await?;
    Ok(Server {
        version: row.get::<_, i32>(0).unsigned_abs(),
        wal_level: row.get(1),
        user: row.get(2),
        database: row.get(3),
        superuser: row.get(4),
        replication: row.get(5),
        in_recovery: row.get(6),
        flush_lsn: row
            .get::<_, Option<PgLsn>>(7)
            .map(|lsn| Lsn::new(u64::from(lsn))),
        next_xid: row.get::<_, i64>(8).unsigned_abs(),
    })
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub active_pid: Option<i32>,
    pub confirmed: Option<Lsn>,
    pub wal_status: Option<String>,
    /// Why the server gave it up, in its own word, from Postgres 17 on.
    pub invalidation: Option<String>,
    /// Bytes of WAL between the server's end and what has been confirmed.
    pub lag_bytes: i64,
    /// Bytes of WAL that the server keeps for it.
    pub retained_bytes: i64,
    /// Bytes that may be written before the server may give it up; `None` where it never does.
    pub safe_bytes: Option<i64>,
}

impl Slot {
    /// Whether a slot of this name can be that of a sidecar of this database.
    pub fn is_ours(&self, database: &str) -> bool {
        self.plugin.as_deref() == Some("pgoutput") && self.database.as_deref() == Some(database)
    }
}

pub async fn slot(session: &Session, name: &str) -> Result<Option<Slot>, Error> {
    let row = session
        .query_opt(
            "select plugin::text, database::text, active_pid, confirmed_flush_lsn, wal_status,
               to_jsonb(s) ->> 'invalidation_reason',
               coalesce(pg_wal_lsn_diff(e.lsn, confirmed_flush_lsn), 0)::bigint,
               case when wal_status is distinct from 'lost'
                 then coalesce(pg_wal_lsn_diff(e.lsn, restart_lsn), 0) else 0 end::bigint,
               safe_wal_size
             from pg_replication_slots s
             cross join (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                           else pg_current_wal_lsn() end) as e (lsn)
             where slot_name = $1",
            &[&name],
        )
        .await?;
    Ok(row.map(|row| Slot {
        plugin: row.get(0),
        database: row.get(1),
        active_pid: row.get(2),
        confirmed: row
            .get::<_, Option<PgLsn>>(3)
            .map(|lsn| Lsn::new(u64::from(lsn))),
        wal_status: row.get(4),
        invalidation: row.get(5),
        lag_bytes: row.get::<_, i64>(6).max(0),
        retained_bytes: row.get::<_, i64>(7).max(0),
        safe_bytes: row.get(8),
    }))
}

/// Ends a session of ours that a slot is still busy with although its sidecar is gone: the caller holds the
/// slot's lock. Leaves anybody else's alone.
pub async fn end_leftover(session: &Session, pid: i32) -> Result<(), Error> {
    session
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where pid = $1 and usename = current_user and application_name like 'tidings%'",
            &[&pid],
        )
        .await?;
    Ok(())
}

/// A transaction that the creation of a slot waits for.
#[derive(Clone, Debug)]
pub struct OpenTransaction {
    /// `None`: a prepared transaction, which has no process.
    pub pid: Option<i32>,
    /// `None`: it belongs to a role whose sessions ours may not see into.
    pub age_seconds: Option<i64>,
    /// The prepared transaction's name, or the session's state.
    pub what: String,
    /// Where it was begun; a prepared one can be ended there alone.
    pub database: Option<String>,
}

pub async fn open_transactions(session: &Session) -> Result<Vec<OpenTransaction>, Error> {
    let rows = session
        .query(
            "select pid, extract(epoch from now() - xact_start)::bigint,
               coalesce(state, 'unknown'), datname::text from pg_stat_activity
             where backend_xid is not null and pid <> pg_backend_pid()
             union all
             select null, extract(epoch from now() - prepared)::bigint,
               'prepared transaction ' || quote_literal(gid), database::text
             from pg_prepared_xacts
             order by 2 desc nulls last",
            &[],
        )
        .await?;
    let open = rows.iter().map(|row| OpenTransaction {
        pid: row.get(0),
        age_seconds: row.get(1),
        what: row.get(2),
        database: row.get(3),
    });
    Ok(open.collect())
}

pub async fn schema_exists(session: &Session, schema: &str) -> Result<bool, Error> {
    let row = session
        .query_one(
            "select to_regnamespace(quote_ident($1)) is not null",
            &[&schema],
        )
        .await?;
    Ok(row.get(0))
}

pub async fn table_exists(session: &Session, table: &TableName) -> Result<bool, Error> {
    let row = session
        .query_one(
            "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p'))",
            &[&table.schema, &table.name],
        )
        .await?;
    Ok(row.get(0))
}

/// The sequences that the defaults of a table's columns take numbers from. Those of identity
/// columns are not among them: they ask for no privilege.
pub async fn default_sequences(
    session: &Session,
    table: &TableName,
) -> Result<Vec<TableName>, Error> {
    let statement = format!(
        "select distinct s.schema, s.name from ({DEFAULT_SEQUENCES}) s
         join pg_class c on c.oid = s.of join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = $2 order by 1, 2"
    );
    let rows = session
        .query(&statement, &[&table.schema, &table.name])
        .await?;
    let name = |row: &Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(name).collect())
}

/// Whether a role may already write to a table, the sequences of its defaults included. False where
/// either is missing.
pub async fn may_insert(session: &Session, role: &str, table: &TableName) -> Result<bool, Error> {
    let statement = format!(
        "select coalesce(bool_and(has_schema_privilege(r.oid, n.oid, 'usage')
           and has_table_privilege(r.oid, c.oid, 'insert')
           and not exists (select from ({DEFAULT_SEQUENCES}) s where s.of = c.oid
             and not (has_sequence_privilege(r.oid, s.oid, 'usage, update')
               and has_schema_privilege(r.oid, s.namespace, 'usage')))), false)
         from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace
         where r.rolname = $1 and n.nspname = $2 and c.relname = $3"
    );
    let row = session
        .query_one(&statement, &[&role, &table.schema, &table.name])
        .await?;
    Ok(row.get(0))
}

/// Those of `columns`, each with its table, that a role may not read.
pub async fn unreadable(
    session: &Session,
    role: &str,
    columns: &[(&TableName, &str)],
) -> Result<Vec<(TableName, String)>, Error> {
    let schemas: Vec<&str> = columns.iter().map(|(t, _)| t.schema.as_str()).collect();
    let tables: Vec<&str> = columns.iter().map(|(t, _)| t.name.as_str()).collect();
    let names: Vec<&str> = columns.iter().map(|(_, column)| *column).collect();
    let rows = session
        .query(
            "select wanted.s, wanted.t, wanted.c
             from unnest($2::text[], $3::text[], $4::text[]) with ordinality as wanted (s, t, c, place)
             join pg_namespace n on n.nspname = wanted.s
             join pg_class c on c.relnamespace = n.oid and c.relname = wanted.t
             join pg_attribute a on a.attrelid = c.oid and a.attname = wanted.c
             left join pg_roles r on r.rolname = $1
             where (has_schema_privilege(r.oid, n.oid, 'usage')
               and has_column_privilege(r.oid, c.oid, a.attnum, 'select')) is not true
             order by wanted.place",
            &[&role, &schemas, &tables, &names],
        )
        .await?;
    let column = |row: &Row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, row.get(2))
    };
    Ok(rows.iter().map(column).collect())
}

/// The sequences that column defaults refer to, each with the table that the default is of.
const DEFAULT_SEQUENCES: &str = "select d.adrelid as of, q.oid, q.relnamespace as namespace,
       qn.nspname::text as schema, q.relname::text as name
     from pg_attrdef d
     join pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
       and p.refclassid = 'pg_class'::regclass
     join pg_class q on q.oid = p.refobjid and q.relkind = 'S'
     join pg_namespace qn on qn.oid = q.relnamespace";

/// The attributes of a role; `None` where there is no such role.
pub async fn role(session: &Session, name: &str) -> Result<Option<Role>, Error> {
    let statement = format!(
        "select r.rolsuper, {REPLICATES}, pg_has_role(r.oid, 'member')
         from pg_roles r where r.rolname = $1"
    );
    let row = session.query_opt(&statement, &[&name]).await?;
    Ok(row.map(|row| Role {
        superuser: row.get(0),
        replication: row.get(1),
        member: row.get(2),
    }))
}

#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub superuser: bool,
    pub replication: bool,
    /// Whether the session that asked is a member, and so may hand objects over to it.
    pub member: bool,
}
