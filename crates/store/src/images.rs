//! The last row seen for each key of every table that a rule names.

use std::collections::{BTreeSet, HashMap};

use activity::{Key, TableName};

use crate::{Error, Session};

/// The numbers and generations of the tables that have images.
#[derive(Debug, Default)]
pub struct ImageTables(pub(crate) HashMap<TableName, ImageTable>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageTable {
    pub(crate) id: i32,
    pub(crate) generation: i32,
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
}

/// Registers tables that are new, voids the images of those that no rule names any more, and reads
/// the numbers of all of them. Writes only where something differs.
pub async fn tables(session: &Session, names: &[TableName]) -> Result<ImageTables, Error> {
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
    session
        .execute(
            "update image_tables as i set watched = n.named,
               generation = generation + case when n.named then 0 else 1 end
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
            },
        )
    });
    Ok(ImageTables(known.collect()))
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
               and image.generation = wanted.generation",
            &[&ids, &generations, &texts],
        )
        .await?;
    let loaded = rows.iter().filter_map(|row| {
        let table = by_id.get(&row.get::<_, i32>(0))?;
        Some(((*table).clone(), Key::from_stored(row.get(1)), row.get(2)))
    });
    Ok(loaded.collect())
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
    pub(crate) fn get(&self, table: &TableName) -> Result<ImageTable, Error> {
        let unknown = || Error::Unreadable(format!("table {table} has no number in image_tables"));
        self.0.get(table).copied().ok_or_else(unknown)
    }

    pub(crate) fn raise(&mut self, table: &TableName) {
        if let Some(known) = self.0.get_mut(table) {
            known.generation += 1;
        }
    }
}
