//! The last row seen for each key of every table that a rule names.

mod preload;

use std::collections::{BTreeSet, HashMap};

use activity::{Key, TableName};

use crate::attributes::FormerNames;
use crate::{Error, Session, quote_identifier, quote_literal};

pub use preload::{all, known};

/// How many images one statement goes through at most, where it may find none: however many there are, none
/// takes long.
const SPAN_IMAGES: i64 = 20_000;

/// The numbers and generations of the tables that have images.
#[derive(Debug, Default)]
pub struct ImageTables(
    pub(crate) HashMap<TableName, ImageTable>,
    /// Of tables that have renamed columns.
    pub(crate) HashMap<TableName, FormerNames>,
);

#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageTable {
    pub(crate) id: i32,
    pub(crate) generation: i32,
    /// While the table is reconciled: what is deleted leaves a tombstone.
    pub(crate) keeps_deletes: bool,
    /// The same, and every row had its image before.
    pub(crate) follows_a_gap: bool,
}

/// A row as JSON text: an object of column name to text or null.
pub type RowJson = String;

/// What becomes of one key's image.
#[derive(Clone, Debug)]
pub struct ImageChange {
    pub table: TableName,
    pub key: Key,
    /// `None`: the row is gone.
    pub row: Option<RowJson>,
    /// The 64-bit id of the transaction.
    pub xid: u64,
    pub told: Told,
}

/// Whether an action has told of the row, or it came into being while Tidings watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    No,
    /// As the database has it for the row that had this key before.
    As(Key),
}

/// An image as it is stored, tombstones included.
#[derive(Clone, Debug)]
pub struct Stored {
    pub xid: u64,
    pub told: bool,
    /// `None`: the row was deleted.
    pub row: Option<RowJson>,
}

/// Gives tables that have none a place for their images.
pub(crate) async fn register(session: &Session, names: &[TableName]) -> Result<(), Error> {
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    session
        .execute(
            "insert into image_tables (schema_name, table_name)
             select s, t from unnest($1::text[], $2::text[]) as named (s, t)
             where not exists (
               select from image_tables where schema_name = s and table_name = t)
             on conflict do nothing",
            &[&schemas, &tables],
        )
        .await?;
    Ok(())
}

/// Registers tables that are new, voids the images of those that no rule names any more, and reads
/// the numbers of all of them. Writes only where something differs.
pub async fn tables(session: &Session, names: &[TableName]) -> Result<ImageTables, Error> {
    register(session, names).await?;
    let (schemas, tables): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|t| (t.schema.as_str(), t.name.as_str()))
        .unzip();
    session
        .execute(
            "update image_tables as i set watched = n.named,
               generation = generation + case when n.named then 0 else 1 end,
               columns = case when n.named then columns end
             from (select t.table_id, exists (
                     select from unnest($1::text[], $2::text[]) as named (s, t)
                     where named.s = t.schema_name and named.t = t.table_name) as named
                   from image_tables t) as n
             where i.table_id = n.table_id and i.watched <> n.named",
            &[&schemas, &tables],
        )
        .await?;
    let rows = session
        .query(
            "select schema_name, table_name, table_id, generation from image_tables",
            &[],
        )
        .await?;
    let known = rows.iter().map(|row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (
            table,
            ImageTable {
                id: row.get(2),
                generation: row.get(3),
                keeps_deletes: false,
                follows_a_gap: false,
            },
        )
    });
    Ok(ImageTables(known.collect(), HashMap::new()))
}

/// Reads the images of `keys`; keys that have none are left out of the answer.
pub async fn load(
    session: &Session,
    tables: &ImageTables,
    keys: &BTreeSet<(TableName, Key)>,
) -> Result<Vec<(TableName, Key, RowJson)>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_id = HashMap::new();
    let (mut ids, mut generations, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (table, key) in keys {
        let known = tables.get(table)?;
        by_id.insert(known.id, table);
        ids.push(known.id);
        generations.push(known.generation);
        texts.push(key.as_str());
    }
    let rows = session
        .query(
            "select image.table_id, image.key, image.row::text
             from unnest($1::integer[], $2::integer[], $3::text[]) as wanted (id, generation, key)
             join images as image on image.table_id = wanted.id and image.key = wanted.key
               and image.generation = wanted.generation and image.row is not null",
            &[&ids, &generations, &texts],
        )
        .await?;
    let loaded = rows.iter().filter_map(|row| {
        let table = by_id.get(&row.get::<_, i32>(0))?;
        Some(((*table).clone(), Key::from_stored(row.get(1)), row.get(2)))
    });
    Ok(loaded.collect())
}

/// An image that has a value in a unique column.
#[derive(Clone, Debug)]
pub struct ByColumn {
    pub value: String,
    pub key: Key,
    pub row: RowJson,
}

/// Reads the images that have one of `values` in a column, of two with the same value the one that
/// changed last. [`index`] makes that quick.
pub async fn load_by_column(
    session: &Session,
    tables: &ImageTables,
    table: &TableName,
    column: &str,
    values: &[String],
) -> Result<Vec<ByColumn>, Error> {
    let known = tables.get(table)?;
    let column = quote_literal(column);
    // The table's number and the column stand in the text, so that the partial index serves.
    let statement = format!(
        "select distinct on (row ->> {column}) row ->> {column}, key, row::text from images
         where table_id = {} and generation = $1 and md5(row ->> {column}) = any($2)
           and row ->> {column} = any($3)
         order by row ->> {column}, xid desc",
        known.id
    );
    let statement = session.prepared(&statement).await?;
    let hashes: Vec<String> = session
        .query_one(
            "select array_agg(md5(v)) from unnest($1::text[]) as v",
            &[&values],
        )
        .await?
        .get(0);
    let rows = session
        .query(&statement, &[&known.generation, &hashes, &values])
        .await?;
    let found = rows.iter().map(|row| ByColumn {
        value: row.get(0),
        key: Key::from_stored(row.get(1)),
        row: row.get(2),
    });
    Ok(found.collect())
}

/// Makes the index that lookups by a column go by, where it is not there yet. Values are hashed, since a
/// long one would fit no index. Over many images that takes long: no limit of this session's ends it from
/// here on, but it ends with its client. Not for the session of the writer, which others end.
pub async fn index(session: &Session, table: &TableName, column: &str) -> Result<(), Error> {
    register(session, std::slice::from_ref(table)).await?;
    let literal = quote_literal(column);
    let row = session
        .query_one(
            "select table_id, name, exists (select from pg_indexes
               where schemaname = $1 and tablename = 'images' and indexname = name)
             from (select table_id, 'images_' || table_id || '_' || md5($4) as name
                   from image_tables where schema_name = $2 and table_name = $3) as wanted",
            &[&session.schema(), &table.schema, &table.name, &column],
        )
        .await?;
    let (id, name, exists): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
    if exists {
        return Ok(());
    }
    session.batch_execute("set statement_timeout = 0").await?;
    // There are systems on which the server can not look.
    let _ = session
        .batch_execute("set client_connection_check_interval = '1s'")
        .await;
    session
        .batch_execute(&format!(
            "create index if not exists {} on images (md5(row ->> {literal})) where table_id = {id}",
            quote_identifier(&name)
        ))
        .await?;
    Ok(())
}

/// Reads the images of keys of one table as they are stored; keys that have none, not even a
/// tombstone, are left out.
pub async fn stored(
    session: &Session,
    tables: &ImageTables,
    table: &TableName,
    keys: &[&Key],
) -> Result<HashMap<Key, Stored>, Error> {
    let known = tables.get(table)?;
    let texts: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    let rows = session
        .query(
            "select key, xid, told, row::text from images
             where table_id = $1 and generation = $2 and key = any($3)",
            &[&known.id, &known.generation, &texts],
        )
        .await?;
    let stored = rows.iter().map(|row| {
        let stored = Stored {
            xid: row.get::<_, i64>(1).unsigned_abs(),
            told: row.get(2),
            row: row.get(3),
        };
        (Key::from_stored(row.get(0)), stored)
    });
    Ok(stored.collect())
}

/// Which images.
#[derive(Clone, Debug)]
pub enum Wanted {
    All,
    /// Those that lack one of these columns and, where asked for, those of rows that nothing told of.
    Gaps {
        columns: Vec<String>,
        untold: bool,
    },
}

/// Keys of a table's images after `after`, in order. Keys that are kept as a hash are left out: no row can be
/// found by them. Fewer than `limit` where there are no more. No statement goes through more than a span of
/// them, since a whole table of which none is wanted would outlast any limit of time.
pub async fn keys(
    session: &Session,
    table_id: i32,
    after: Option<&str>,
    wanted: &Wanted,
    limit: i64,
) -> Result<Vec<Key>, Error> {
    let (lacking, untold) = match wanted {
        Wanted::All => (None, false),
        Wanted::Gaps { columns, untold } => (Some(columns), *untold),
    };
    let mut keys = Vec::new();
    // No key is empty.
    let mut after = after.unwrap_or_default().to_owned();
    loop {
        let until: Option<String> = session
            .query_opt(
                "select key from images where table_id = $1 and key > $2
                 order by key offset $3 limit 1",
                &[&table_id, &after, &(SPAN_IMAGES - 1)],
            )
            .await?
            .map(|row| row.get(0));
        let left = limit - keys.len() as i64;
        let rows = session
            .query(
                "select i.key from images i join image_tables t using (table_id)
                 where i.table_id = $1 and i.generation = t.generation and i.row is not null
                   and i.key > $2 and ($3::text is null or i.key <= $3) and i.key like '[%'
                   and ($4::text[] is null or not i.row ?& $4 or $5 and not i.told)
                 order by i.key limit $6",
                &[&table_id, &after, &until, &lacking, &untold, &left],
            )
            .await?;
        keys.extend(rows.iter().map(|row| Key::from_stored(row.get(0))));
        match until {
            Some(until) if (keys.len() as i64) < limit => after = until,
            Some(_) | None => return Ok(keys),
        }
    }
}

/// Images whose last change is of a transaction that this cluster has not reached are of none from here on.
pub(crate) async fn age(session: &Session) -> Result<(), Error> {
    let mut after = Some((0, String::new()));
    while let Some((table_id, key)) = after {
        // What was written anew meanwhile is left alone.
        let row = session
            .query_one(
                "with span as materialized (
                   select table_id, key, xid from images where (table_id, key) > ($1, $2)
                   order by table_id, key limit $3
                 ), aged as (
                   update images set xid = 0 from span
                   where images.table_id = span.table_id and images.key = span.key
                     and images.xid = span.xid
                     and span.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                 ), last as (
                   select table_id, key from span order by table_id desc, key desc limit 1
                 )
                 select (select table_id from last), (select key from last)",
                &[&table_id, &key, &SPAN_IMAGES],
            )
            .await?;
        let last: (Option<i32>, Option<String>) = (row.get(0), row.get(1));
        after = last.0.zip(last.1);
    }
    Ok(())
}

/// Raises the generations of truncated tables: their images are void from here on.
pub(crate) async fn void(
    session: &tokio_postgres::Transaction<'_>,
    ids: &[i32],
) -> Result<(), Error> {
    let statement = "update image_tables set generation = generation + 1 where table_id = any($1)";
    session.execute(statement, &[&ids]).await?;
    Ok(())
}

impl ImageTables {
    pub fn contains(&self, table: &TableName) -> bool {
        self.0.contains_key(table)
    }

    pub(crate) fn get(&self, table: &TableName) -> Result<ImageTable, Error> {
        let unknown = || Error::Unreadable(format!("table {table} has no number in image_tables"));
        self.0.get(table).copied().ok_or_else(unknown)
    }

    /// Whether a delete leaves a tombstone: while the table is reconciled.
    pub fn keeps_deletes(&self, table: &TableName) -> bool {
        self.0.get(table).is_some_and(|known| known.keeps_deletes)
    }

    /// Whether a row that is changed and has no image came into being where nobody watched: the table is
    /// reconciled, and every row of it had an image before.
    pub fn follow_a_gap(&self, table: &TableName) -> bool {
        self.0.get(table).is_some_and(|known| known.follows_a_gap)
    }

    /// Those under reconcile from now on, and whether every row of them had its image before.
    pub fn keep_deletes<'a>(&mut self, tables: impl IntoIterator<Item = (&'a TableName, bool)>) {
        for known in self.0.values_mut() {
            (known.keeps_deletes, known.follows_a_gap) = (false, false);
        }
        for (table, complete) in tables {
            if let Some(known) = self.0.get_mut(table) {
                (known.keeps_deletes, known.follows_a_gap) = (true, complete);
            }
        }
    }

    pub fn id(&self, table: &TableName) -> Option<i32> {
        self.0.get(table).map(|known| known.id)
    }

    pub fn generation(&self, table: &TableName) -> Option<i32> {
        self.0.get(table).map(|known| known.generation)
    }

    pub(crate) fn raise(&mut self, table: &TableName) {
        if let Some(known) = self.0.get_mut(table) {
            known.generation += 1;
        }
    }
}
