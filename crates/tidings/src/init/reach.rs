//! What a rule on a table can say of project, user and environment, and the lookups it needs. Pure.

use std::collections::BTreeSet;

use activity::TableName;

use super::found::Found;
use super::nature::Nature;
use super::path::Hop;
use super::role::Columns;
use super::toml::{column, text};
use crate::words::{noun, words};

/// Where a row has no way to a table of projects, columns that name one all the same.
const PROJECT_IDS: &[&str] = &[
    "project",
    "application",
    "app",
    "site",
    "repository",
    "repo",
    "service",
];

/// No variable can have these names, or should: they are the words of the rule language.
const TAKEN: &[&str] = &[
    "new", "old", "changed", "item", "loop", "tx", "lookup", "first", "group", "rows", "context",
    "and", "or", "not", "in", "is", "if", "else", "for", "set", "with", "true", "false", "none",
    "state", "before", "of", "to", "what",
];

/// Expressions, each with the columns it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The table's name in the pack.
    pub alias: String,
    /// Variables in order: name and lookup.
    pub lookups: Vec<(String, String)>,
    /// The tables looked up.
    pub tables: Vec<TableName>,
    pub project_id: Option<String>,
    pub user_id: Option<String>,
    pub environment: Option<String>,
    /// What the row belongs to, as people call it.
    pub parent: Option<String>,
    /// Names, not keys, led the way here.
    pub implied: Vec<String>,
}

pub fn reach(found: &Found<'_>, from: &TableName) -> Reach {
    let mut reach = Reach {
        alias: found.alias(from),
        ..Reach::default()
    };
    let Some(own) = found.survey.get_key_value(from) else {
        return reach;
    };
    let own = Columns {
        name: own.0,
        table: own.1,
    };
    let mut users: Vec<String> = own
        .owner()
        .map(|c| column("new", &c.name))
        .into_iter()
        .collect();
    reach.environment = own.environment().map(|c| column("new", &c.name));
    let Some(project) = found.project else {
        reach.project_id = bare_project_id(&own);
        reach.user_id = users.pop();
        return reach;
    };
    if project == from {
        reach.project_id = own.table.key.first().map(|key| column("new", key));
        reach.user_id = users.pop();
        return reach;
    }
    let Some(way) = found.ways.find(from, project) else {
        reach.project_id = bare_project_id(&own);
        reach.user_id = users.pop();
        return reach;
    };
    let stops = stops(found, &way);
    let mut needed = 0;
    for (place, stop) in stops.iter().enumerate() {
        let Some(columns) = &stop.columns else {
            continue;
        };
        if place == 0
            && wants_parent(&own)
            && let Some(name) = columns.name()
        {
            reach.parent = Some(column(&stop.variable, &name.name));
            needed = needed.max(1);
        }
        if users.is_empty()
            && let Some(owner) = columns.owner()
        {
            users.push(column(&stop.variable, &owner.name));
            needed = needed.max(place + 1);
        }
        if reach.environment.is_none()
            && let Some(name) = environment(columns)
        {
            reach.environment = Some(column(&stop.variable, &name));
            needed = needed.max(place + 1);
        }
    }
    // The project's key stands in the row before it, unless that row knows it by another column.
    if let Some(last) = stops.last() {
        reach.project_id = match (&last.hop.by, &last.columns) {
            (Some(_), Some(columns)) => {
                needed = stops.len();
                columns
                    .table
                    .key
                    .first()
                    .map(|key| column(&last.variable, key))
            }
            _ => Some(column(&last.from, &last.hop.column)),
        };
        needed = needed.max(stops.len() - 1);
    }
    reach.user_id = users.pop();
    for stop in stops.into_iter().take(needed) {
        if !stop.hop.declared {
            reach.implied.push(stop.hop.column.clone());
        }
        reach.tables.push(stop.hop.table.clone());
        reach.lookups.push((stop.variable, stop.lookup));
    }
    reach
}

/// Whether the row does not say itself what it is about, as a deployment of an application.
fn wants_parent(own: &Columns<'_>) -> bool {
    Nature::Deployment.fits(own.name).is_some()
        && own.subject().is_none()
        && own.platform().is_none()
}

/// One table on the way.
struct Stop<'a> {
    hop: &'a Hop,
    /// The variable of the row before it.
    from: String,
    variable: String,
    lookup: String,
    columns: Option<Columns<'a>>,
}

fn stops<'a>(found: &'a Found<'_>, way: &'a [Hop]) -> Vec<Stop<'a>> {
    let mut from = "new".to_owned();
    let mut taken = BTreeSet::new();
    let stop = |hop: &'a Hop| {
        let variable = variable(&hop.table, &mut taken);
        let by = hop
            .by
            .as_ref()
            .map_or(String::new(), |by| format!(", by={}", text(by)));
        let lookup = format!(
            "lookup({}, {}{by})",
            text(&found.alias(&hop.table)),
            column(&from, &hop.column)
        );
        let columns = found.survey.get_key_value(&hop.table);
        Stop {
            hop,
            from: std::mem::replace(&mut from, variable.clone()),
            variable,
            lookup,
            columns: columns.map(|(name, table)| Columns { name, table }),
        }
    };
    way.iter().map(stop).collect()
}

/// What one row of the table is called.
fn variable(table: &TableName, taken: &mut BTreeSet<String>) -> String {
    let ascii = |word: &String| {
        word.chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
    };
    let mut name = noun(&table.name)
        .iter()
        .map(ascii)
        .collect::<Vec<_>>()
        .join("_");
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || TAKEN.contains(&name.as_str()) {
        name = format!("the_{name}");
    }
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// The name of the environment that a row is, or that it names.
fn environment(columns: &Columns<'_>) -> Option<String> {
    let is_one = noun(&columns.name.name)
        .last()
        .is_some_and(|last| matches!(last.as_str(), "environment" | "env"));
    let column = if is_one {
        columns.name()
    } else {
        columns.environment()
    };
    column.map(|column| column.name.clone())
}

fn bare_project_id(own: &Columns<'_>) -> Option<String> {
    let named = |what: &&&str| {
        let ids = |c: &&store::catalog::SurveyedColumn| words(&c.name) == [**what, "id"];
        own.table
            .columns
            .iter()
            .find(ids)
            .map(|c| column("new", &c.name))
    };
    PROJECT_IDS.iter().find_map(|what| named(&what))
}
