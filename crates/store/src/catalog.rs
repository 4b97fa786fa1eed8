//! What the worker's database says of itself: server, tables and keys, publication, slot.

use std::collections::HashMap;

use activity::{Lsn, ReplicaIdentity, TableName};
use postgres_types::PgLsn;

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

pub async fn server(session: &Session) -> Result<Server, Error> {
    let row = session
        .query_one(
            "select current_setting('server_version_num')::int, current_setting('wal_level'),
               current_user::text, current_database()::text, r.rolsuper, r.rolreplication,
               pg_is_in_recovery(),
               case when not pg_is_in_recovery() then pg_current_wal_flush_lsn() end,
               pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             from pg_roles r where r.rolname = current_user",
            &[],
        )
        .await?;
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

/// A table that rules name.
#[derive(Clone, Debug)]
pub struct Table {
    pub oid: u32,
    pub identity: ReplicaIdentity,
    /// The columns that tell rows apart, in the key's order: those of the replica identity's index
    /// where there is one, since a delete sends no others, else the primary key. May be empty.
    pub key: Vec<String>,
    pub columns: Vec<String>,
    pub owner: String,
}

/// The tables among `names` that exist.
pub async fn tables(
    session: &Session,
    names: &[TableName],
) -> Result<HashMap<TableName, Table>, Error> {
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text, c.oid, c.relreplident::text,
               pg_get_userbyid(c.relowner)::text,
               (select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
                from pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
               (select coalesce(array_agg(a.attname::text order by k.place), '{}')
                from pg_index i
                cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
                join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                where i.indrelid = c.oid and k.place <= i.indnkeyatts
                  and i.indexrelid = (
                    select indexrelid from pg_index
                    where indrelid = c.oid and indisvalid
                      and (indisprimary or (indisreplident and c.relreplident = 'i'))
                    order by indisreplident and c.relreplident = 'i' desc limit 1))
             from unnest($1::text[], $2::text[]) as wanted (s, t)
             join pg_namespace n on n.nspname = wanted.s
             join pg_class c on c.relnamespace = n.oid and c.relname = wanted.t
               and c.relkind in ('r', 'p')",
            &[&schemas, &tables],
        )
        .await?;
    let known = rows.iter().map(|row| {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let identity = match row.get::<_, &str>(3) {
            "n" => ReplicaIdentity::Nothing,
            "f" => ReplicaIdentity::Full,
            "i" => ReplicaIdentity::Index,
            _ => ReplicaIdentity::Default,
        };
        let table = Table {
            oid: row.get(2),
            identity,
            owner: row.get(4),
            columns: row.get(5),
            key: row.get(6),
        };
        (name, table)
    });
    Ok(known.collect())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub oid: u32,
    pub owner: String,
    pub via_root: bool,
    pub all_tables: bool,
    /// With the column list, where there is one.
    pub tables: Vec<(TableName, Option<Vec<String>>)>,
}

pub async fn publication(
    session: &Session,
    version: u32,
    name: &str,
) -> Result<Option<Publication>, Error> {
    let Some(found) = session
        .query_opt(
            "select oid, pg_get_userbyid(pubowner)::text, pubviaroot, puballtables
             from pg_publication where pubname = $1",
            &[&name],
        )
        .await?
    else {
        return Ok(None);
    };
    // Column lists exist from Postgres 15 on.
    let listed = if version >= 150_000 {
        "(select array_agg(a.attname::text order by a.attnum) from pg_attribute a
          where a.attrelid = r.prrelid and a.attnum = any(r.prattrs::int2[]))"
    } else {
        "null::text[]"
    };
    let oid: u32 = found.get(0);
    let statement = format!(
        "select n.nspname::text, c.relname::text, {listed}
         from pg_publication_rel r join pg_class c on c.oid = r.prrelid
         join pg_namespace n on n.oid = c.relnamespace
         where r.prpubid = $1 order by 1, 2"
    );
    let rows = session.query(&statement, &[&oid]).await?;
    let tables = rows
        .iter()
        .map(|row| {
            (
                TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
                row.get(2),
            )
        })
        .collect();
    Ok(Some(Publication {
        oid,
        owner: found.get(1),
        via_root: found.get(2),
        all_tables: found.get(3),
        tables,
    }))
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub active_pid: Option<i32>,
    pub confirmed: Option<Lsn>,
    pub wal_status: Option<String>,
    /// Bytes of WAL between the server's end and what has been confirmed.
    pub lag_bytes: i64,
}

pub async fn slot(session: &Session, name: &str) -> Result<Option<Slot>, Error> {
    let row = session
        .query_opt(
            "select plugin::text, database::text, active_pid, confirmed_flush_lsn, wal_status,
               coalesce(pg_wal_lsn_diff(
                 case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                   else pg_current_wal_lsn() end, confirmed_flush_lsn), 0)::bigint
             from pg_replication_slots where slot_name = $1",
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
        lag_bytes: row.get::<_, i64>(5).max(0),
    }))
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
}

pub async fn open_transactions(session: &Session) -> Result<Vec<OpenTransaction>, Error> {
    let rows = session
        .query(
            "select pid, extract(epoch from now() - xact_start)::bigint,
               coalesce(state, 'unknown') from pg_stat_activity
             where backend_xid is not null and pid <> pg_backend_pid()
             union all
             select null, extract(epoch from now() - prepared)::bigint,
               'prepared transaction ' || quote_literal(gid) from pg_prepared_xacts
             order by 2 desc nulls last",
            &[],
        )
        .await?;
    let open = rows.iter().map(|row| OpenTransaction {
        pid: row.get(0),
        age_seconds: row.get(1),
        what: row.get(2),
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
        .query_one("select to_regclass($1) is not null", &[&table.to_string()])
        .await?;
    Ok(row.get(0))
}

/// Whether a role may already write to a table. False where either is missing.
pub async fn may_insert(session: &Session, role: &str, table: &TableName) -> Result<bool, Error> {
    let row = session
        .query_one(
            "select coalesce(bool_and(has_schema_privilege(r.oid, n.oid, 'usage')
               and has_table_privilege(r.oid, c.oid, 'insert')), false)
             from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace
             where r.rolname = $1 and n.nspname = $2 and c.relname = $3",
            &[&role, &table.schema, &table.name],
        )
        .await?;
    Ok(row.get(0))
}

/// The attributes of a role; `None` where there is no such role.
pub async fn role(session: &Session, name: &str) -> Result<Option<Role>, Error> {
    let row = session
        .query_opt(
            "select rolsuper, rolreplication from pg_roles where rolname = $1",
            &[&name],
        )
        .await?;
    Ok(row.map(|row| Role {
        superuser: row.get(0),
        replication: row.get(1),
    }))
}

#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub superuser: bool,
    pub replication: bool,
}
