//! Brings images from the database to where rules read them.

use std::collections::{BTreeMap, BTreeSet};

use activity::{Key, TableName};
use rules::{By, Image, Images, Loaded, Wanted};
use store::Session;
use store::images::{self, ImageTables};

use super::Fault;

/// Loads the images of rows by their keys; keys that have none are known to have none.
pub async fn rows(
    session: &Session,
    tables: &ImageTables,
    keys: &BTreeSet<(TableName, Key)>,
    into: &mut Images,
) -> Result<(), Fault> {
    for (table, key, row) in images::load(session, tables, keys).await? {
        let image = parse(tables, &table, &key, &row)?;
        into.load(table, key, Loaded::Known(image));
    }
    for (table, key) in keys {
        into.load(table.clone(), key.clone(), Loaded::Absent);
    }
    Ok(())
}

/// Loads what lookups asked for.
pub async fn wanted(
    session: &Session,
    tables: &ImageTables,
    wanted: BTreeSet<Wanted>,
    into: &mut Images,
) -> Result<(), Fault> {
    let mut keys = BTreeSet::new();
    let mut values: BTreeMap<(TableName, String), Vec<String>> = BTreeMap::new();
    for Wanted { table, by } in wanted {
        match by {
            By::Key(key) => {
                keys.insert((table, key));
            }
            By::Column { column, value } => {
                values.entry((table, column)).or_default().push(value);
            }
        }
    }
    rows(session, tables, &keys, into).await?;
    for ((table, column), values) in values {
        let found = images::load_by_column(session, tables, &table, &column, &values).await?;
        for value in &values {
            let found = found.iter().find(|found| found.value == *value);
            let image = match found {
                Some(found) => Some((
                    found.key.clone(),
                    parse(tables, &table, &found.key, &found.row)?,
                )),
                None => None,
            };
            into.load_unique(&table, &column, value, image);
        }
    }
    Ok(())
}

/// A stored image, its columns under the names that they have now.
fn parse(tables: &ImageTables, table: &TableName, key: &Key, row: &str) -> Result<Image, Fault> {
    let image: Image = serde_json::from_str(row)
        .map_err(|error| Fault::Operator(format!("image {key} of table {table}: {error}")))?;
    Ok(match tables.former_names(table) {
        Some(names) => image.renamed(names),
        None => image,
    })
}
