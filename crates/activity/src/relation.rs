use std::fmt;

use serde::{Deserialize, Serialize};

/// A table's schema and name, unquoted, as the catalog holds them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

/// Prints as SQL reads it, quotes included wherever they are needed.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_identifier(f, &self.schema)?;
        f.write_str(".")?;
        write_identifier(f, &self.name)
    }
}

fn write_identifier(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && RESERVED.binary_search(&name).is_err() {
        f.write_str(name)
    } else {
        write!(f, "\"{}\"", name.replace('"', "\"\""))
    }
}

/// The words that can not stand as a name without quotes, in order: those that `pg_get_keywords()` of
/// Postgres 14 to 18 has under R and T.
#[rustfmt::skip]
const RESERVED: [&str; 101] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "binary", "both", "case", "cast", "check", "collate", "collation", "column", "concurrently",
    "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
    "current_schema", "current_time", "current_timestamp", "current_user", "default", "deferrable",
    "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "freeze",
    "from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect",
    "into", "is", "isnull", "join", "lateral", "leading", "left", "like", "limit", "localtime",
    "localtimestamp", "natural", "not", "notnull", "null", "offset", "on", "only", "or", "order",
    "outer", "overlaps", "placing", "primary", "references", "returning", "right", "select",
    "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then",
    "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "verbose", "when",
    "where", "window", "with",
];

/// How a table's old rows are told apart in the stream (`REPLICA IDENTITY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// No old values: updates and deletes fail while such a table is published.
    Nothing,
    /// The whole old row.
    Full,
    /// The columns of a unique index.
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    /// As `pg_attribute.atttypmod`: -1 where the type has none.
    pub type_modifier: i32,
    /// Part of the replica identity. Under [`ReplicaIdentity::Full`] every column is.
    pub key: bool,
}

/// A table as the stream described it before its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub table: TableName,
    pub identity: ReplicaIdentity,
    pub columns: Vec<Column>,
}

impl Relation {
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_prints_with_quotes_only_where_sql_needs_them() {
        assert_eq!(
            TableName::new("public", "project_actions").to_string(),
            "public.project_actions"
        );
        assert_eq!(
            TableName::new("TurboBackend", "users").to_string(),
            "\"TurboBackend\".users"
        );
        assert_eq!(
            TableName::new("a\"b", "1x").to_string(),
            "\"a\"\"b\".\"1x\""
        );
    }

    #[test]
    fn a_reserved_word_prints_with_quotes() {
        assert!(RESERVED.is_sorted());
        assert_eq!(
            TableName::new("user", "order").to_string(),
            "\"user\".\"order\""
        );
        assert_eq!(
            TableName::new("users", "left").to_string(),
            "users.\"left\""
        );
    }
}
