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
}

/// The images loaded so far.
#[derive(Clone, Debug, Default)]
pub struct Images {
    loaded: HashMap<TableName, HashMap<Key, Loaded>>,
    truncated: HashSet<TableName>,
}

impl Images {
    pub fn insert(&mut self, table: TableName, key: Key, loaded: Loaded) {
        self.loaded.entry(table).or_default().insert(key, loaded);
    }

    /// `None` where the image was not loaded. Every key of a truncated table is [`Loaded::Absent`]
    /// until it is written again.
    pub fn get(&self, table: &TableName, key: &Key) -> Option<&Loaded> {
        let found = self.loaded.get(table).and_then(|keys| keys.get(key));
        found.or_else(|| self.truncated.contains(table).then_some(&Loaded::Absent))
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
        self.loaded.remove(table);
        self.truncated.insert(table.clone());
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
