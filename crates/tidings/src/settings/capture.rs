use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use activity::TableName;
use bytesize::ByteSize;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::flexible;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    #[serde(deserialize_with = "flexible::name")]
    pub slot: String,
    #[serde(deserialize_with = "flexible::name")]
    pub publication: String,
    #[serde(deserialize_with = "flexible::list")]
    pub rules: Vec<PackReference>,
    #[serde(deserialize_with = "table")]
    pub actions_table: TableName,
    pub columns: Columns,
    #[serde(default, deserialize_with = "tables")]
    pub tables: BTreeMap<TableName, TableSettings>,
    /// How long a commit may fail before the stream is let go.
    #[serde(deserialize_with = "flexible::duration")]
    pub commit_patience: Duration,
    /// Bytes of WAL that may be confirmed between two writes of ours.
    pub confirm_lease: ByteSize,
    /// New slots that capture may make by itself within an hour; 0: none.
    pub rebuilds_per_hour: u32,
    /// WAL that the slot may keep back before it is given up; `None`: any.
    #[serde(deserialize_with = "retained_wal")]
    pub max_retained_wal: Option<ByteSize>,
    /// Whether logical messages of the worker's are heard. Any role can send one.
    pub context: bool,
    /// When a run that says nothing of its time counts as failed.
    #[serde(deserialize_with = "run_timeout")]
    pub run_timeout: Duration,
}

/// The longest time that a run may take.
pub const RUN_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A segment of the WAL, in which the server frees it.
const RETAINED_WAL_MIN: ByteSize = ByteSize::mib(16);

impl Capture {
    pub fn columns_of(&self, table: &TableName) -> Columns {
        self.tables
            .get(table)
            .map_or(self.columns, |settings| settings.columns)
    }
}

/// What the server sends of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Columns {
    Whole,
    /// The key and the columns that rules name.
    Listed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    columns: Columns,
}

/// A pack by name or file, and the schema of its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackReference {
    pub pack: String,
    pub schema: Option<String>,
}

impl<'de> Deserialize<'de> for PackReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Placed {
            pack: String,
            schema: Option<String>,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PackReference;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pack's name or file, or { pack = …, schema = … }")
            }
            fn visit_str<E: Error>(self, pack: &str) -> Result<PackReference, E> {
                Ok(PackReference {
                    pack: pack.to_owned(),
                    schema: None,
                })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<PackReference, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                let Placed { pack, schema } = Placed::deserialize(map)?;
                Ok(PackReference { pack, schema })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn run_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let timeout = flexible::duration(deserializer)?;
    if timeout > RUN_TIMEOUT_MAX {
        return Err(D::Error::custom(
            "must be a duration of at most 168h (7 days)",
        ));
    }
    Ok(timeout)
}

fn retained_wal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let text = flexible::name(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    let size: Option<ByteSize> = text.parse().ok();
    let size = size.filter(|size| *size >= RETAINED_WAL_MIN);
    let refuse =
        || D::Error::custom("must be a size of at least 16MiB, such as \"10GB\", or \"off\"");
    size.map(Some).ok_or_else(refuse)
}

fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableName, D::Error> {
    let text = flexible::name(deserializer)?;
    parse_table(&text).ok_or_else(|| {
        D::Error::custom("must be a table as SQL writes it, such as public.t or '\"MyWorker\".t'")
    })
}

fn tables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<TableName, TableSettings>, D::Error> {
    let named = BTreeMap::<String, TableSettings>::deserialize(deserializer)?;
    let parse = |(name, settings): (String, TableSettings)| {
        parse_table(&name)
            .map(|table| (table, settings))
            .ok_or_else(|| {
                D::Error::custom(
                    "the key must be a table as SQL writes it, such as \"public.projects\"",
                )
            })
    };
    named.into_iter().map(parse).collect()
}

/// A table as SQL writes it: names without quotes are folded to lower case, `""` in a quoted name
/// is one quote. Without a schema: public.
/// A table as SQL writes it; without a schema one of `public`.
pub fn parse_table(text: &str) -> Option<TableName> {
    let (first, rest) = identifier(text.trim())?;
    if rest.is_empty() {
        return Some(TableName::new("public", first));
    }
    let (second, rest) = identifier(rest.strip_prefix('.')?)?;
    rest.is_empty().then(|| TableName::new(first, second))
}

fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let plain = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '$');
        return plain.then(|| (name.to_lowercase(), rest));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return (!name.is_empty()).then(|| (name, &quoted[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_reads_as_sql_reads_it() {
        let read = |text| parse_table(text).map(|t| (t.schema, t.name));
        let table = |schema: &str, name: &str| Some((schema.to_owned(), name.to_owned()));
        assert_eq!(
            read("Public.Project_Actions"),
            table("public", "project_actions")
        );
        assert_eq!(read("project_actions"), table("public", "project_actions"));
        assert_eq!(
            read("\"TurboBackend\".project_actions"),
            table("TurboBackend", "project_actions")
        );
        assert_eq!(read("\"a.\"\"b\".\"C\""), table("a.\"b", "C"));
        for text in [
            "", ".", "a.", ".a", "a.b.c", "\"a", "\"\"", "a b", "1a", "a.b;",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_table_reads_back_as_it_prints(schema in "[^\0]{1,12}", name in "[^\0]{1,12}") {
            let table = TableName::new(schema, name);
            prop_assert_eq!(parse_table(&table.to_string()), Some(table));
        }
    }
}
