//! Brings images from the database to where rules read them.

use std::collections::{BTreeMap, BTreeSet};

use activity::{Key, TableName};
use rules::{By, Image, Images, Loaded, Shapes, Wanted};
use store::images::{self, ImageTables};
use store::rows::{by_key, key_texts};
use store::{Remedy, Session, reconcile};

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

/// Loads what lookups asked for. Of a table whose rows do not all have an image yet, a row without one is
/// lent as it is now: the most that can be known of it.
pub async fn wanted(
    session: &Session,
    tables: &ImageTables,
    shapes: &Shapes,
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
    let mut absent = Absent::new();
    for (table, key) in keys {
        if into.get(&table, &key) == Some(&Loaded::Absent) {
            absent.entry((table, None)).or_default().push(key);
        }
    }
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
            if image.is_none() {
                let by = (table.clone(), Some(column.clone()));
                let missed = Key::new([value.as_str()]);
                absent.entry(by).or_default().push(missed);
            }
            into.load_unique(&table, &column, value, image);
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    lend(session, shapes, absent, into).await
}

/// Rows without an image, by their table and the column that they were looked for by; `None` is the key.
type Absent = BTreeMap<(TableName, Option<String>), Vec<Key>>;

async fn lend(
    session: &Session,
    shapes: &Shapes,
    absent: Absent,
    into: &mut Images,
) -> Result<(), Fault> {
    let complete = reconcile::complete(session).await?;
    for ((table, column), keys) in absent {
        let Some(shape) = shapes.get(&table).filter(|_| !complete.contains(&table)) else {
            continue;
        };
        let columns: Vec<String> = shape.types.keys().cloned().collect();
        let by = column.as_ref().map_or(&shape.key[..], std::slice::from_ref);
        let found = match by_key(session, &table, by, &columns, &keys).await {
            Ok(found) => found,
            Err(error) if error.remedy() == Remedy::Reconnect => return Err(error.into()),
            Err(error) => {
                // A lock, a grant that is missing: the reconcile says so where it lasts.
                tracing::debug!(%table, %error, "rows to look up can not be read from their table");
                continue;
            }
        };
        for (key, row) in found {
            let image = serde_json::from_str(&row)
                .map_err(|error| Fault::Operator(format!("row {key} of table {table}: {error}")))?;
            let text = match (&column, key_texts(&key)) {
                (None, _) => key.as_str().to_owned(),
                (Some(_), texts) => texts.unwrap_or_default().concat(),
            };
            into.lend(&table, column.as_deref(), &text, image);
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
