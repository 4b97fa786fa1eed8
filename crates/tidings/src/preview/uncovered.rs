//! What a publication lacks of what rules need. Pure.

use std::collections::HashMap;

use activity::TableName;
use rules::TableUse;
use store::catalog::{Publication, Table};
use store::setup::shortcoming;

pub fn uncovered<'a>(
    used: impl Iterator<Item = &'a TableUse>,
    tables: &HashMap<TableName, Table>,
    publication: &Publication,
) -> Vec<String> {
    let mut missing: Vec<String> = shortcoming(publication)
        .map(|what| format!("it {what}"))
        .into_iter()
        .collect();
    for TableUse { table, columns, .. } in used {
        let Some(known) = tables.get(table) else {
            missing.push(format!("table {table} does not exist"));
            continue;
        };
        if known.key.is_empty() {
            missing.push(format!(
                "table {table} has no primary key to tell its rows apart"
            ));
        }
        let Some(published) = publication.find(table) else {
            missing.push(format!("table {table} is not in it"));
            continue;
        };
        if published.filter.is_some() {
            missing.push(format!("table {table} has a row filter"));
        }
        for column in columns {
            let listed = published
                .columns
                .as_ref()
                .is_none_or(|list| list.contains(column));
            if !known.columns.contains(column) {
                missing.push(format!("table {table} has no column {column}"));
            } else if !listed {
                missing.push(format!(
                    "column {column} of table {table} is not in its column list"
                ));
            }
        }
    }
    missing
}
