//! Tables as the stream will tell of them: their columns, and what tells their rows apart.

use std::collections::HashMap;

use activity::{ReplicaIdentity, TableName};
use tokio_postgres::Row;

use crate::{Error, Session};

/// A table that rules name or that is published.
#[derive(Clone, Debug)]
pub struct Table {
    pub oid: u32,
    /// The columns that tell rows apart, in the key's order: those that a delete sends, or, where it
    /// sends the whole row, the primary key. May be empty.
    pub key: Vec<String>,
    pub columns: Vec<String>,
    /// The OIDs of the columns' types, those of domains replaced by what they stand on.
    pub types: Vec<u32>,
    /// The columns that the server makes of others.
    pub generated: Vec<(String, Generated)>,
    /// Of the server, as `server_version_num`: what makes updates fail differs.
    pub version: u32,
    /// Where the server finds no replica identity, in the table itself or in a partition: published,
    /// its updates and deletes fail.
    pub unidentified: Option<(TableName, ReplicaIdentity)>,
    /// Where the whole row is the identity: the table itself or a partition.
    pub full: Option<TableName>,
    /// The partitions that hold rows, in ascending order of their OIDs; empty where it has none.
    pub parts: Vec<u32>,
}

/// How a generated column comes by its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    Stored,
    /// Computed when it is read (Postgres 18).
    Virtual,
}

impl Table {
    /// How this column is generated, where it is.
    pub fn generated(&self, column: &str) -> Option<Generated> {
        let found = self.generated.iter().find(|(name, _)| name == column);
        found.map(|(_, generated)| *generated)
    }
}

pub type Tables = HashMap<TableName, Table>;

/// The tables among `names` that exist.
pub async fn tables(session: &Session, names: &[TableName]) -> Result<Tables, Error> {
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    // Which index is the identity is decided as the server decides it (RelationGetIndexList). It asks
    // the partition that a row is in, never the root. No function here waits for a lock of a table.
    let rows = session
        .query(
            "with recursive wanted as (
               select c.oid, n.nspname::text as schema, c.relname::text as name
               from unnest($1::text[], $2::text[]) as named (s, t)
               join pg_namespace n on n.nspname = named.s
               join pg_class c on c.relnamespace = n.oid and c.relname = named.t
                 and c.relkind in ('r', 'p')
             ), parts as (
               select oid as root, oid from wanted
               union
               select p.root, i.inhrelid from parts p
               join pg_inherits i on i.inhparent = p.oid
               join pg_class c on c.oid = i.inhrelid and c.relispartition
             ), identities as (
               select p.root, p.oid, n.nspname::text as schema, c.relname::text as name,
                 c.relkind = 'r' as holds_rows, c.relreplident::text as kind,
                 (select i.indexrelid from pg_index i
                  where i.indrelid = c.oid and i.indisvalid
                    and case c.relreplident
                          when 'd' then i.indisprimary and i.indimmediate
                          when 'i' then i.indisreplident and i.indimmediate
                          when 'f' then i.indisprimary
                          else false
                        end
                  limit 1) as index
               from parts p
               join pg_class c on c.oid = p.oid
               join pg_namespace n on n.oid = c.relnamespace
             )
             select w.schema, w.name, w.oid,
               (select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
                from pg_attribute a
                where a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped),
               (select coalesce(array_agg(a.attname::text order by k.place), '{}')
                from pg_index i
                cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
                join pg_attribute a on a.attrelid = w.oid and a.attnum = k.attnum
                where i.indexrelid = own.index and k.place <= i.indnkeyatts),
               bare.schema, bare.name, bare.kind, whole.schema, whole.name,
               (select coalesce(array_agg(base.oid order by a.attnum), '{}')
                from pg_attribute a
                cross join lateral (
                  with recursive base as (
                    select t.oid, t.typtype, t.typbasetype from pg_type t where t.oid = a.atttypid
                    union all
                    select t.oid, t.typtype, t.typbasetype
                    from base d join pg_type t on t.oid = d.typbasetype where d.typtype = 'd')
                  select oid from base where typtype <> 'd') base
                where a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped),
               (select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
                from pg_attribute a where a.attrelid = w.oid and a.attgenerated = 's'),
               (select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
                from pg_attribute a where a.attrelid = w.oid and a.attgenerated = 'v'),
               current_setting('server_version_num')::int,
               (select coalesce(array_agg(i.oid order by i.oid), '{}') from identities i
                where i.root = w.oid and i.holds_rows and i.oid <> i.root)
             from wanted w
             join identities own on own.root = w.oid and own.oid = w.oid
             left join lateral (
               select * from identities i
               where i.root = w.oid and i.holds_rows and i.kind <> 'f' and i.index is null
               order by i.oid limit 1) bare on true
             left join lateral (
               select * from identities i
               where i.root = w.oid and i.holds_rows and i.kind = 'f'
               order by i.oid limit 1) whole on true",
            &[&schemas, &tables],
        )
        .await?;
    Ok(rows.iter().map(table).collect())
}

fn table(row: &Row) -> (TableName, Table) {
    let part = |place: usize| {
        let (schema, name): (Option<String>, Option<String>) = (row.get(place), row.get(place + 1));
        Some(TableName::new(schema?, name?))
    };
    let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    let kind = row.get::<_, Option<&str>>(7).unwrap_or_default();
    let of = |place: usize, generated: Generated| {
        let columns = row.get::<_, Vec<String>>(place).into_iter();
        columns.map(move |column| (column, generated))
    };
    let table = Table {
        oid: row.get(2),
        columns: row.get(3),
        key: row.get(4),
        types: row.get(10),
        generated: of(11, Generated::Stored)
            .chain(of(12, Generated::Virtual))
            .collect(),
        version: row.get::<_, i32>(13).unsigned_abs(),
        unidentified: part(5).map(|part| (part, identity(kind))),
        full: part(8),
        parts: row.get(14),
    };
    (name, table)
}

/// As `pg_class.relreplident`.
fn identity(kind: &str) -> ReplicaIdentity {
    match kind {
        "n" => ReplicaIdentity::Nothing,
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        _ => ReplicaIdentity::Default,
    }
}
