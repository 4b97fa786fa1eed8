//! Columns that the server makes of others: whether the stream has them. Pure.

use activity::TableName;

use crate::catalog::{Generated, Published, Table};

/// From here on the server streams stored ones that are listed, and refuses updates where an identity
/// reaches one that is not published.
pub const STREAMED_SINCE: u32 = 180_000;

/// Why the stream lacks such a column, and what mends that. `None`: it has it.
pub fn unsent(
    table: &TableName,
    column: &str,
    generated: Generated,
    listed: bool,
    version: u32,
) -> Option<String> {
    let name = format!("column {column} of table {table}");
    let instead = "name the columns that it is made of instead";
    match generated {
        Generated::Virtual => Some(format!(
            "{name} is generated and not stored, so no stream has it: {instead}"
        )),
        Generated::Stored if version < STREAMED_SINCE => Some(format!(
            "{name} is generated, and no stream has such a column before Postgres 18: {instead}"
        )),
        Generated::Stored if !listed => Some(format!(
            "{name} is generated, and the stream has it only where columns are listed: set capture.columns = \
             \"listed\" for table {table}, or {instead}"
        )),
        Generated::Stored => None,
    }
}

/// The first generated column that a table's replica identity reaches and the publication does not.
pub(super) fn unpublished<'a>(table: &'a Table, published: &Published) -> Option<&'a str> {
    if table.version < STREAMED_SINCE || published.columns.is_some() {
        return None;
    }
    let reached = |column: &str| table.full.is_some() || table.key.iter().any(|key| key == column);
    let mut columns = table.generated.iter().map(|(column, _)| &**column);
    columns.find(|column| reached(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_has_stored_columns_that_are_listed_from_18_on() {
        let table = TableName::new("public", "things");
        for (generated, listed, version, mend) in [
            (Generated::Stored, true, 180_000, None),
            (Generated::Stored, false, 180_000, Some("listed")),
            (Generated::Stored, true, 170_010, Some("before Postgres 18")),
            (Generated::Virtual, true, 180_000, Some("made of instead")),
        ] {
            let said = unsent(&table, "loud", generated, listed, version);
            assert_eq!(said.is_some(), mend.is_some());
            assert!(said.unwrap_or_default().contains(mend.unwrap_or_default()));
        }
    }
}
