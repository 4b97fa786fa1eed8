//! The publication that is wanted, and the statements that lead there.

use activity::TableName;

use super::{Found, Wanted, WantedTable};
use crate::catalog::{Publication, Published, Table};
use crate::quote_identifier;

const OPTIONS: &str = "publish_via_partition_root = true, \
                       publish = 'insert, update, delete, truncate'";

/// What a publication is, other than what capture needs.
pub fn shortcoming(publication: &Publication) -> Option<&'static str> {
    if !publication.via_root {
        return Some("publishes partitions under their own names (publish_via_partition_root)");
    }
    if !publication.every_change {
        return Some("does not publish every insert, update, delete and truncate");
    }
    None
}

pub(super) fn steps(wanted: &Wanted, found: &Found, step: &mut impl FnMut(&str, String)) {
    let publication = quote_identifier(&wanted.publication);
    let tables: Vec<Published> = wanted
        .tables
        .iter()
        .map(|w| as_published(w, &found.tables[&w.table]))
        .collect();
    let Some(existing) = &found.publication else {
        let clauses: Vec<String> = tables.iter().map(clause).collect();
        let for_tables = if clauses.is_empty() {
            String::new()
        } else {
            format!(" for table {}", clauses.join(", "))
        };
        return step(
            "what the server sends",
            format!(
                "create publication {publication}{for_tables} with (publish_via_partition_root = true);"
            ),
        );
    };
    // First: with every change published, a table that nobody checked could be harmed.
    for published in &existing.tables {
        let table = &published.table;
        if !tables.iter().any(|wanted| wanted.table == *table) {
            step(
                "a table that no rule names any more",
                format!("alter publication {publication} drop table {table};"),
            );
        }
    }
    if shortcoming(existing).is_some() {
        step(
            "every change, under the names that rules know",
            format!("alter publication {publication} set ({OPTIONS});"),
        );
    }
    for wanted in &tables {
        alter(&publication, wanted, existing.find(&wanted.table), step);
    }
}

fn alter(
    publication: &str,
    wanted: &Published,
    existing: Option<&Published>,
    step: &mut impl FnMut(&str, String),
) {
    let (table, clause) = (&wanted.table, clause(wanted));
    let add = format!("alter publication {publication} add table {clause};");
    let Some(existing) = existing else {
        return step("a table that a rule names", add);
    };
    let why = if existing.filter.is_some() {
        "every row of a table that a rule names"
    } else if !same_columns(existing, wanted) {
        "the columns that rules name"
    } else {
        return;
    };
    let drop = format!("alter publication {publication} drop table {table};");
    step(why, format!("{drop} {add}"));
}

/// The statements that publish a table with all columns of its list but one, as one transaction of
/// the simple protocol.
pub fn without_column(
    publication: &str,
    table: &TableName,
    list: &[String],
    column: &str,
) -> String {
    let kept = Published {
        table: table.clone(),
        columns: Some(list.iter().filter(|c| **c != column).cloned().collect()),
        filter: None,
    };
    let publication = quote_identifier(publication);
    format!(
        "alter publication {publication} drop table {table}; alter publication {publication} add table {};",
        clause(&kept)
    )
}

fn same_columns(a: &Published, b: &Published) -> bool {
    let sorted = |published: &Published| {
        published.columns.as_ref().map(|columns| {
            let mut columns = columns.clone();
            columns.sort();
            columns
        })
    };
    sorted(a) == sorted(b)
}

/// How setup publishes a table: where columns are listed, the key and those that rules name, in the
/// table's order.
pub fn as_published(wanted: &WantedTable, table: &Table) -> Published {
    let named = |c: &&String| table.key.contains(c) || wanted.columns.contains(c);
    Published {
        table: wanted.table.clone(),
        columns: wanted
            .listed
            .then(|| table.columns.iter().filter(named).cloned().collect()),
        filter: None,
    }
}

fn clause(published: &Published) -> String {
    let table: &TableName = &published.table;
    match &published.columns {
        None => table.to_string(),
        Some(columns) => {
            let columns: Vec<String> = columns.iter().map(|c| quote_identifier(c)).collect();
            format!("{table} ({})", columns.join(", "))
        }
    }
}
