use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The primary key of one row as one text, the same for the same key on every replay.
///
/// A JSON array of the key columns' texts in the key's order: `["p_1"]`, `["eu","17"]`. A key
/// longer than [`Key::BYTES_MAX`] is replaced by its SHA-256, so that it always fits an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    pub const BYTES_MAX: usize = 1000;

    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let columns: Vec<&str> = columns.into_iter().collect();
        let text = serde_json::Value::from(columns).to_string();
        if text.len() <= Self::BYTES_MAX {
            return Self(text);
        }
        let mut hashed = String::from("sha256:");
        for byte in Sha256::digest(&text) {
            hashed.push_str(&format!("{byte:02x}"));
        }
        Self(hashed)
    }

    /// A key read back from where [`Key::as_str`] was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_several_columns_can_not_be_taken_for_each_other() {
        assert_eq!(Key::new(["p_1"]).as_str(), r#"["p_1"]"#);
        assert_ne!(Key::new(["a", "b,c"]), Key::new(["a,b", "c"]));
        assert_ne!(Key::new(["a\",\"b"]), Key::new(["a", "b"]));
    }

    #[test]
    fn a_long_key_is_hashed_to_fit_an_index() {
        let long = "x".repeat(5000);
        assert_eq!(
            Key::new([long.as_str()]).as_str().len(),
            "sha256:".len() + 64
        );
        assert_ne!(Key::new([long.as_str()]), Key::new([long.as_str(), ""]));
    }
}
