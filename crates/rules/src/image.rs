//! Images: the last row seen for a key, only the columns that rules name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use activity::{Key, TableName};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

/// Columns of one row as the stream carried them: text, or none for null. A column that is absent
/// is unknown. Stored as a JSON object `{"status": "ready", "name": null}`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Image(BTreeMap<Arc<str>, Option<ByteString>>);

impl Image {
    /// `None` where the column is unknown.
    pub fn get(&self, column: &str) -> Option<Option<&ByteString>> {
        self.0.get(column).map(Option::as_ref)
    }

    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    pub fn into_columns(self) -> impl Iterator<Item = (Arc<str>, Option<ByteString>)> {
        self.0.into_iter()
    }

    /// The same, with the columns that were renamed under the names that they have now too: `names`
    /// has for each column those that it had before.
    pub fn renamed(self, names: &BTreeMap<String, Vec<String>>) -> Self {
        let unknown = names.iter().filter(|(now, _)| self.get(now).is_none());
        let found: Self = unknown
            .filter_map(|(now, before)| {
                let value = before.iter().find_map(|name| self.get(name))?;
                Some((Arc::from(now.as_str()), value.cloned()))
            })
            .collect();
        self.under(found)
    }

    /// This one, with what `over` knows in place of its own.
    pub fn under(mut self, over: Self) -> Self {
        self.0.extend(over.0);
        self
    }
}

impl FromIterator<(Arc<str>, Option<ByteString>)> for Image {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Option<ByteString>)>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

/// Prints the columns only: a value may be a secret.
impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Image")?;
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What loading an image gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    Known(Image),
    /// There is no image of this key.
    Absent,
}

/// A change of one stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWrite {
    pub table: TableName,
    pub key: Key,
    /// `None`: the row was deleted, or its key moved away.
    pub image: Option<Image>,
    /// The key that the row had before the part; `None` for a new row.
    pub key_before: Option<Key>,
    /// Whether the row came into being where nobody watched.
    pub unobserved: bool,
}

/// The images loaded so far. A clone is cheap as long as neither is changed.
#[derive(Clone, Debug, Default)]
pub struct Images(Arc<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    tables: HashMap<TableName, Table>,
    truncated: HashSet<TableName>,
    keeps_deletes: HashSet<TableName>,
    follow_a_gap: HashSet<TableName>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    loaded: HashMap<Key, Loaded>,
    /// Of columns that are unique: which key the database has for a value, and which of the images
    /// here has or had it.
    unique: HashMap<String, HashMap<String, Unique>>,
    /// By the column and the text, or the key, that they were looked for by.
    lent: HashMap<(Option<String>, String), Image>,
}

#[derive(Clone, Debug, Default)]
struct Unique {
    /// `Some(None)`: no stored image has the value.
    stored: Option<Option<Key>>,
    here: Option<Key>,
}

impl Images {
    /// From here on deletes are among the writes even of keys without an image: the table is being
    /// reconciled, and a chunk that was read before may still hold the row.
    pub fn keep_deletes(&mut self, table: TableName) {
        Arc::make_mut(&mut self.0).keeps_deletes.insert(table);
    }

    /// Every row of the table had its image when its changes were lost from sight for a while: a row that
    /// is changed now and has none came into being meanwhile.
    pub fn after_gap(&mut self, table: TableName) {
        Arc::make_mut(&mut self.0).follow_a_gap.insert(table);
    }

    pub(crate) fn follow_a_gap(&self, table: &TableName) -> bool {
        self.0.follow_a_gap.contains(table)
    }

    pub(crate) fn keeps_deletes(&self, table: &TableName) -> bool {
        self.0.keeps_deletes.contains(table)
    }

    /// Sets what is known of a key, in place of what was.
    pub fn insert(&mut self, table: TableName, key: Key, loaded: Loaded) {
        let table = Arc::make_mut(&mut self.0).tables.entry(table).or_default();
        table.insert(key, loaded);
    }

    /// Adds what the database holds of a key, unless more recent news of it are here.
    pub fn load(&mut self, table: TableName, key: Key, loaded: Loaded) {
        if self.get(&table, &key).is_none() {
            self.insert(table, key, loaded);
        }
    }

    /// The same for a row that was looked for by a unique column: its key and image, if there is one.
    pub fn load_unique(
        &mut self,
        table: &TableName,
        column: &str,
        value: &str,
        found: Option<(Key, Image)>,
    ) {
        let key = found.as_ref().map(|(key, _)| key.clone());
        if let Some((key, image)) = found {
            self.load(table.clone(), key, Loaded::Known(image));
        }
        let known = Arc::make_mut(&mut self.0);
        let table = known.tables.entry(table.clone()).or_default();
        table.unique_of(column, value).stored = Some(key);
    }

    /// Adds a row as it is in its table now, for lookups alone: where rows may still have no image, that is
    /// more than nothing. `by` is the column that it was looked for by; `None` is the key.
    pub fn lend(&mut self, table: &TableName, by: Option<&str>, text: &str, image: Image) {
        let known = Arc::make_mut(&mut self.0);
        let table = known.tables.entry(table.clone()).or_default();
        let by = (by.map(str::to_owned), text.to_owned());
        table.lent.insert(by, image);
    }

    pub(crate) fn lent(&self, table: &TableName, by: Option<&str>, text: &str) -> Option<&Image> {
        let lent = &self.0.tables.get(table)?.lent;
        // Most of the time there is none.
        if lent.is_empty() {
            return None;
        }
        lent.get(&(by.map(str::to_owned), text.to_owned()))
    }

    /// Says that rows of the table will be looked for by this column.
    pub(crate) fn index(&mut self, table: &TableName, column: &str) {
        let known = Arc::make_mut(&mut self.0);
        let table = known.tables.entry(table.clone()).or_default();
        table.index(column);
    }

    /// `None` where the image was not loaded. Every key of a truncated table is [`Loaded::Absent`]
    /// until it is written again.
    pub fn get(&self, table: &TableName, key: &Key) -> Option<&Loaded> {
        let found = self.0.tables.get(table);
        let found = found.and_then(|table| table.loaded.get(key));
        found.or_else(|| self.0.truncated.contains(table).then_some(&Loaded::Absent))
    }

    /// The image that has a value in a unique column; the outer `None` where it was not loaded.
    pub(crate) fn find(
        &self,
        table: &TableName,
        column: &str,
        value: &str,
    ) -> Option<Option<(&Key, &Image)>> {
        let truncated = || self.0.truncated.contains(table).then_some(None);
        let Some(known) = self.0.tables.get(table) else {
            return truncated();
        };
        let Some(unique) = known.unique.get(column).and_then(|of| of.get(value)) else {
            return truncated();
        };
        if let Some(found) = unique
            .here
            .as_ref()
            .and_then(|key| known.having(key, column, value))
        {
            return Some(Some(found));
        }
        match &unique.stored {
            Some(key) => Some(
                key.as_ref()
                    .and_then(|key| known.having(key, column, value)),
            ),
            None => truncated(),
        }
    }

    pub fn apply(&mut self, writes: &[ImageWrite]) {
        for write in writes {
            let loaded = match &write.image {
                Some(image) => Loaded::Known(image.clone()),
                None => Loaded::Absent,
            };
            self.insert(write.table.clone(), write.key.clone(), loaded);
        }
    }

    /// Forgets every image of the table, those not loaded included.
    pub fn truncate(&mut self, table: &TableName) {
        let known = Arc::make_mut(&mut self.0);
        let indexed: Vec<String> = known
            .tables
            .remove(table)
            .map(|table| table.unique.into_keys().collect())
            .unwrap_or_default();
        known.truncated.insert(table.clone());
        for column in indexed {
            self.index(table, &column);
        }
    }
}

impl Table {
    fn insert(&mut self, key: Key, loaded: Loaded) {
        if let Loaded::Known(image) = &loaded {
            self.note(&key, image);
        }
        self.loaded.insert(key, loaded);
    }

    /// The image of a key, if it has the value in that column.
    fn having<'a>(
        &'a self,
        key: &'a Key,
        column: &str,
        value: &str,
    ) -> Option<(&'a Key, &'a Image)> {
        match self.loaded.get(key)? {
            Loaded::Known(image) => {
                let held = image.get(column).flatten()?;
                (**held == *value).then_some((key, image))
            }
            Loaded::Absent => None,
        }
    }

    fn note(&mut self, key: &Key, image: &Image) {
        for (column, values) in &mut self.unique {
            if let Some(Some(value)) = image.get(column) {
                values.entry(value.to_string()).or_default().here = Some(key.clone());
            }
        }
    }

    fn index(&mut self, column: &str) {
        if self.unique.contains_key(column) {
            return;
        }
        let values = self.unique.entry(column.to_owned()).or_default();
        for (key, loaded) in &self.loaded {
            if let Loaded::Known(image) = loaded
                && let Some(Some(value)) = image.get(column)
            {
                values.entry(value.to_string()).or_default().here = Some(key.clone());
            }
        }
    }

    fn unique_of(&mut self, column: &str, value: &str) -> &mut Unique {
        self.index(column);
        let values = self.unique.entry(column.to_owned()).or_default();
        values.entry(value.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_stored_as_a_json_object_of_texts_and_nulls() {
        let json = r#"{"name":null,"status":"ready"}"#;
        let image: Image = serde_json::from_str(json).unwrap();
        assert_eq!(image.get("name"), Some(None));
        assert_eq!(image.get("status"), Some(Some(&"ready".into())));
        assert_eq!(image.get("other"), None);
        assert_eq!(serde_json::to_string(&image).unwrap(), json);
        assert_eq!(format!("{image:?}"), r#"Image{"name", "status"}"#);
    }

    #[test]
    fn a_truncated_table_has_no_image_of_any_key() {
        let (table, key) = (TableName::new("public", "t"), Key::new(["1"]));
        let mut images = Images::default();
        assert_eq!(images.get(&table, &key), None);
        images.insert(table.clone(), key.clone(), Loaded::Known(Image::default()));
        images.truncate(&table);
        assert_eq!(images.get(&table, &key), Some(&Loaded::Absent));
    }
}
