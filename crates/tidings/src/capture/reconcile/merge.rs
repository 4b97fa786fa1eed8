//! What a chunk and the images of its keys come to. Pure.
//!
//! The stream has shown everything that the chunk's snapshot sees. So an image whose last change the
//! snapshot sees, or that no change made, is of the snapshot's time or older: the row is right. Any
//! other image, tombstones included, is newer than the chunk.

use std::collections::HashMap;

use activity::{Key, Origin, Relation, Row, Value};
use bytestring::ByteString;
use rules::Image;
use store::attributes::FormerNames;
use store::images::Stored;
use store::reconcile::Purpose;
use store::snapshot::Snapshot;

/// One key of a chunk that the stream has not changed since.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared<'a> {
    pub key: &'a Key,
    /// `None`: the row is gone.
    pub row: Option<&'a Row>,
    /// `None`: there is none. Its columns have the names of now.
    pub image: Option<Image>,
    /// The same as it is stored, under names that columns may have had before.
    pub stored: Option<Image>,
    /// Whether an action has told of it.
    pub told: bool,
    pub found: Found,
}

/// What is to be said of it. The image becomes as the row is in any case but [`Found::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Same,
    /// What a new row gives.
    New(Origin),
    /// What a changed row gives.
    Changed,
    /// What a deleted row gives.
    Deleted,
    /// Nothing, and the image stays: a fill does not tell of what is gone.
    Gone,
}

/// Compares the keys of a chunk with what is stored of them. `stored` holds an entry for each key with
/// an image or a tombstone. The error names the key of an image that can not be read.
pub fn compare<'a>(
    rows: &'a [(Key, Option<Row>)],
    snapshot: &Snapshot,
    stored: &HashMap<Key, Stored>,
    purpose: Purpose,
    complete: bool,
    former: Option<&FormerNames>,
) -> Result<Vec<Compared<'a>>, String> {
    let mut compared = Vec::new();
    for (key, row) in rows {
        let known = stored.get(key);
        if known.is_some_and(|known| !snapshot.sees(known.xid)) {
            continue;
        }
        let told = known.is_some_and(|known| known.told);
        let image = known.and_then(|known| known.row.as_deref());
        let image: Option<Image> = image
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| format!("image {key}: {error}"))?;
        let stored = image.clone();
        let image = match former {
            Some(names) => image.map(|image| image.renamed(names)),
            None => image,
        };
        let row = row.as_ref();
        let Some(found) = found(purpose, complete, row, image.as_ref(), told) else {
            continue;
        };
        compared.push(Compared {
            key,
            row,
            image,
            stored,
            told,
            found,
        });
    }
    Ok(compared)
}

fn found(
    purpose: Purpose,
    complete: bool,
    row: Option<&Row>,
    image: Option<&Image>,
    told: bool,
) -> Option<Found> {
    Some(match (purpose, image, row) {
        (_, None, None) => return None,
        (Purpose::Fill, Some(_), None) => Found::Gone,
        (Purpose::Fill, _, Some(_)) => Found::Same,
        (_, Some(_), None) => Found::Deleted,
        // Where every row had an image, one without came into being since.
        (_, None, Some(_)) if complete => Found::New(Origin::Reconciled),
        (Purpose::Reconcile, None, Some(_)) => Found::Same,
        (Purpose::Backfill, None, Some(_)) => Found::New(Origin::Backfill),
        (Purpose::Backfill, Some(_), Some(_)) if !told => Found::New(Origin::Backfill),
        (_, Some(image), Some(row)) if differs(image, row) => Found::Changed,
        (_, Some(_), Some(_)) => Found::Same,
    })
}

/// Whether a row has another value in a column that the image holds. Of a column that it does not hold
/// nobody knows what was there.
pub fn differs(image: &Image, row: &Row) -> bool {
    let columns = row.relation.columns.iter().zip(&row.values);
    let mut known = columns.filter_map(|(column, value)| Some((image.get(&column.name)?, value)));
    known.any(|(held, value)| held.map(|text| &**text) != text(value).map(|text| &**text))
}

/// The names of the columns in which row and image differ.
pub fn differing<'a>(compared: &Compared<'a>) -> Vec<&'a str> {
    let (Some(image), Some(row)) = (&compared.image, compared.row) else {
        return Vec::new();
    };
    let columns = row.relation.columns.iter().zip(&row.values);
    columns
        .filter(|(column, value)| {
            let held = image.get(&column.name);
            held.is_some_and(|held| held.map(|text| &**text) != text(value).map(|text| &**text))
        })
        .map(|(column, _)| column.name.as_str())
        .collect()
}

/// The image with the columns that it lacks, as the row has them: those did not change as far as
/// anybody knows.
pub fn complete(image: &Image, row: Option<&Row>) -> Image {
    let held = image
        .columns()
        .filter_map(|name| Some((name.into(), image.get(name)?.cloned())));
    let columns = row
        .into_iter()
        .flat_map(|row| row.relation.columns.iter().zip(&row.values));
    let lacking = columns
        .filter(|(column, _)| image.get(&column.name).is_none())
        .map(|(column, value)| (column.name.as_str().into(), text(value).cloned()));
    held.chain(lacking).collect()
}

/// What becomes of an image where the row is read without columns that rules name, since they were
/// dropped or renamed: those stay as they were last seen, for changes that were set aside meanwhile.
pub fn with_lost_columns(
    image: Image,
    stored: &Image,
    relation: &Relation,
    is_named: impl Fn(&str) -> bool,
) -> Image {
    let is_read = |name: &str| relation.columns.iter().any(|column| column.name == name);
    let lost: Image = stored
        .columns()
        .filter(|name| is_named(name) && !is_read(name))
        .filter_map(|name| Some((name.into(), stored.get(name)?.cloned())))
        .collect();
    lost.under(image)
}

fn text(value: &Value) -> Option<&ByteString> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Unchanged => None,
    }
}

#[cfg(test)]
mod tests;
