//! From compiled rules to [`Rules`]: every table and column gets its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use activity::TableName;
use minijinja::Environment;

use crate::functions::Tables;
use crate::layout::{Mark, Named};
use crate::rule::Rule;
use crate::{PackSource, Rules, TableUse};

/// A rule before its columns have places.
pub(crate) struct Draft {
    pub(crate) rule: Rule,
    pub(crate) table: TableName,
    pub(crate) triggers: BTreeSet<String>,
    /// The pack's tables.
    pub(crate) tables: Arc<BTreeMap<String, TableName>>,
}

/// What rules name of one table.
#[derive(Default)]
pub(crate) struct Use {
    pub(crate) columns: BTreeSet<String>,
    pub(crate) unique: BTreeSet<String>,
    pub(crate) firsts: BTreeSet<(String, String)>,
    /// By lookups, or of a transaction.
    pub(crate) asked: bool,
}

pub(crate) fn assemble(
    environment: Environment<'static>,
    drafts: Vec<Draft>,
    used: BTreeMap<TableName, Use>,
    sources: &[PackSource],
) -> Rules {
    let named: Arc<[Arc<Named>]> = used.values().map(|used| Arc::new(named(used))).collect();
    let asked = used.values().enumerate();
    let asked = asked.filter(|(_, used)| used.asked).map(|(place, _)| place);
    let asked = asked.collect();
    let uses: Arc<[TableUse]> = used
        .into_iter()
        .map(|(table, used)| TableUse {
            table,
            columns: used.columns,
            unique: used.unique,
        })
        .collect();
    let places: HashMap<TableName, usize> = uses
        .iter()
        .enumerate()
        .map(|(place, used)| (used.table.clone(), place))
        .collect();
    let mut by_table = vec![Vec::new(); uses.len()];
    let mut rules = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let Some(&table) = places.get(&draft.table) else {
            continue;
        };
        let place = |column: &String| place_of(named.get(table)?, column);
        if let Some(of_table) = by_table.get_mut(table) {
            of_table.push(rules.len());
        }
        let placed = |(alias, table): (&String, &TableName)| {
            Some((alias.clone(), places.get(table).copied()?))
        };
        let tables: Tables = draft.tables.iter().filter_map(placed).collect();
        rules.push(Rule {
            table,
            triggers: draft.triggers.iter().filter_map(place).collect(),
            tables: Arc::new(tables),
            ..draft.rule
        });
    }
    Rules {
        environment,
        rules,
        by_table,
        uses,
        named,
        asked,
        context: true,
        places,
        sources: sources.to_vec(),
    }
}

fn named(used: &Use) -> Named {
    let names = used.columns.iter().map(|column| Arc::from(column.as_str()));
    let mut named = Named {
        names: names.collect(),
        marks: Vec::new(),
    };
    for (column, value) in &used.firsts {
        if let Some(place) = place_of(&named, column) {
            named.marks.push(Mark::new(place, column, value));
        }
    }
    named
}

fn place_of(named: &Named, column: &str) -> Option<usize> {
    named
        .names
        .binary_search_by(|name| (**name).cmp(column))
        .ok()
}
