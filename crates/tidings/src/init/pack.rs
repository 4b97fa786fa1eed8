//! A whole pack from what was found. Pure.

use std::collections::BTreeSet;

use activity::TableName;

use super::found::Found;
use super::nature::Nature;
use super::reach::{Reach, reach};
use super::rule;
use super::toml::{comment, key, string};
use crate::words::{noun, words};

pub fn write(found: &Found<'_>) -> String {
    let mut rules = Vec::new();
    let mut tables = BTreeSet::new();
    let mut reached = Vec::new();
    let mut reach_from = |table: &TableName| -> Reach {
        let reach = reach(found, table);
        tables.insert(table.clone());
        tables.extend(reach.tables.iter().cloned());
        reached.extend(
            reach
                .implied
                .iter()
                .map(|column| format!("{table}.{column}")),
        );
        reach
    };
    if let Some(columns) = found.project.and_then(|table| found.columns(table)) {
        let reach = reach_from(columns.name);
        let what = noun(&columns.name.name).pop().unwrap_or_default();
        rules.push(rule::created(
            &columns,
            &reach,
            "project_created",
            "project_created",
            &title(&what),
        ));
    }
    for table in &found.databases {
        let Some(columns) = found.columns(table) else {
            continue;
        };
        let reach = reach_from(table);
        let name = match found.databases.len() {
            1 => "database_created".to_owned(),
            _ => format!("database_created_{}", found.alias(table).replace('/', "_")),
        };
        rules.push(rule::created(
            &columns,
            &reach,
            &name,
            "database_created",
            "Database",
        ));
    }
    if let Some(columns) = found.deployment.and_then(|table| found.columns(table)) {
        let reach = reach_from(columns.name);
        rules.push(rule::deployment(&columns, &reach));
    }
    let mut text = introduction(found);
    text += &implied(&reached);
    text += &secrets(found, &tables);
    text += &format!("\n[pack]\nname = {}\n\n", string(&name(found)));
    text += &tables
        .iter()
        .map(|table| section(found, table))
        .collect::<String>();
    text += "\n[defaults]\nstatus = \"success\"\n\n";
    text + rules.join("").trim_end() + "\n"
}

fn title(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_else(|| "Project".to_owned()) + characters.as_str()
}

/// What the pack is called: after the schema, which is often the system's name.
fn name(found: &Found<'_>) -> String {
    let table = found
        .project
        .or(found.deployment)
        .or(found.databases.first().copied());
    let schema = table.map_or("worker", |table| match table.schema.as_str() {
        "public" => "worker",
        schema => schema,
    });
    let name = words(schema).join("_");
    if name.is_empty() {
        "worker".to_owned()
    } else {
        name
    }
}

fn section(found: &Found<'_>, table: &TableName) -> String {
    let alias = found.alias(table);
    let mut text = format!("[tables.{}]\n", key(&alias));
    if alias != table.name {
        text += &format!("table = {}\n", string(&table.name));
    }
    if table.schema != "public" {
        text += &format!("schema = {}\n", string(&table.schema));
    }
    text
}

fn introduction(found: &Found<'_>) -> String {
    let mut text =
        comment("Written by `tidings init` from the catalog. The language: docs/rules.md.");
    text += &comment(
        "Read it, change it, name it in capture.rules, then: tidings rules check, tidings setup.",
    );
    text += "#\n";
    let mut line = |nature: Nature, tables: &[&TableName]| {
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        text += &match tables.is_empty() {
            false => comment(&format!("{}: {}", nature.name(), tables.join(", "))),
            true => comment(&format!("{}: none was found", nature.name())),
        };
    };
    line(Nature::Project, found.project.as_slice());
    line(Nature::Database, &found.databases);
    line(Nature::Deployment, found.deployment.as_slice());
    for (nature, table) in found.others.iter().take(12) {
        text += &comment(&format!(
            "CHOOSE: {table} could be the {} as well.",
            nature.name()
        ));
    }
    for (nature, table) in &found.keyless {
        text += &comment(&format!(
            "{table} looks like a {}, but no primary key of one column tells its rows apart.",
            nature.name()
        ));
    }
    text
}

/// Ways that only names speak for.
fn implied(columns: &[String]) -> String {
    let columns: BTreeSet<&String> = columns.iter().collect();
    if columns.is_empty() {
        return String::new();
    }
    let columns: Vec<&str> = columns.into_iter().map(String::as_str).collect();
    comment(
        "No foreign key is declared on the way from these tables to their project; the columns' names",
    ) + &comment(&format!("were followed: {}.", columns.join(", ")))
}

fn secrets(found: &Found<'_>, tables: &BTreeSet<TableName>) -> String {
    let mut text = String::new();
    for table in tables {
        let Some((name, table)) = found.survey.get_key_value(table) else {
            continue;
        };
        let columns = super::role::Columns { name, table };
        let secret: Vec<&str> = columns
            .secrets()
            .map(|column| column.name.as_str())
            .collect();
        if !secret.is_empty() {
            text += &comment(&format!(
                "Left out of {name}, because they look like secrets: {}.",
                secret.join(", ")
            ));
        }
    }
    if !text.is_empty() {
        text += &comment(
            "What no rule names is never stored or sent on. capture.columns = \"listed\" keeps it",
        );
        text += &comment("from crossing the connection to the sidecar, too.");
    }
    text
}
