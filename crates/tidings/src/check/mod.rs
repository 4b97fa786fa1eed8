//! Whether packs fit a database. Pure: the catalog's facts in, findings out.

mod actions;
mod fit;
mod kind;
mod stream;

use std::collections::BTreeSet;

use activity::TableName;
use rules::{ColumnUse, Row, RuleOutline, nearest};
use store::catalog::{Publication, Survey, SurveyedColumn, SurveyedTable};

use crate::finding::{Finding, Weight};
use crate::secrecy::looks_secret;

pub use actions::unfilled;
pub use stream::published;

pub struct Facts<'a> {
    pub rules: &'a [RuleOutline],
    /// Every table that they read, with all columns that they name in any way.
    pub used: &'a [(TableName, BTreeSet<String>)],
    pub survey: &'a Survey,
    pub publication: Option<&'a Publication>,
    pub actions_table: &'a TableName,
    /// Whether only the columns that rules name are published of a table.
    pub listed: &'a dyn Fn(&TableName) -> bool,
    /// Of the server, as `server_version_num`.
    pub version: u32,
}

/// Errors first, each in the order of rules.
pub fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = of_columns(facts);
    findings.extend(stream::identities(facts));
    findings.extend(actions::unfilled(facts));
    findings.sort_by_key(|finding| finding.level);
    findings
}

/// Those about tables and columns that rules name, in the order of rules.
pub fn of_columns(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = BTreeSet::new();
    for rule in facts.rules {
        let mut told = BTreeSet::new();
        table(facts, rule, &rule.table, None, &mut missing, &mut findings);
        for used in &rule.uses {
            let Some(known) = facts.survey.get(&used.table) else {
                table(
                    facts,
                    rule,
                    &used.table,
                    Some(used),
                    &mut missing,
                    &mut findings,
                );
                continue;
            };
            let Some(column) = known.columns.iter().find(|c| c.name == used.column) else {
                if told.insert((&used.table, &used.column)) {
                    findings.push(no_column(rule, used, known));
                }
                continue;
            };
            findings.extend(fit::misfit(rule, used, column));
            findings.extend(not_unique(rule, used, known));
            if told.insert((&used.table, &used.column)) {
                findings.extend(secret(rule, used, column));
                findings.extend(stream::unsent(facts, rule, used, known));
            }
        }
        findings.extend(stream::toast(rule, facts.survey));
    }
    findings.extend(declared(facts));
    findings
}

fn finding(
    level: Weight,
    rule: &RuleOutline,
    used: Option<&ColumnUse>,
    message: String,
) -> Finding {
    Finding {
        level,
        file: rule.origin.clone(),
        line: Some(used.map_or(rule.line, |used| used.line)),
        rule: Some(rule.id.clone()),
        key: used.map(|used| used.key.clone()),
        message,
        hint: None,
        mark: used.and_then(|used| used.mark.clone()),
    }
}

/// Tells once that a table is missing.
fn table(
    facts: &Facts<'_>,
    rule: &RuleOutline,
    table: &TableName,
    used: Option<&ColumnUse>,
    missing: &mut BTreeSet<TableName>,
    findings: &mut Vec<Finding>,
) {
    if facts.survey.contains_key(table) || !missing.insert(table.clone()) {
        return;
    }
    let elsewhere = facts.survey.keys().find(|known| known.name == table.name);
    let here = facts
        .survey
        .keys()
        .filter(|known| known.schema == table.schema);
    let hint = match elsewhere {
        Some(known) => Some(format!(
            "there is a table {known}: place the pack there, {{ pack = \"…\", schema = \"{}\" }} in \
             capture.rules, or give its [tables] entry a schema",
            known.schema
        )),
        None => nearest(&table.name, here.map(|known| known.name.as_str()))
            .map(|near| format!("did you mean {near}?")),
    };
    let message = format!("table {table} does not exist in this database");
    findings.push(Finding {
        hint,
        ..finding(Weight::Error, rule, used, message)
    });
}

fn no_column(rule: &RuleOutline, used: &ColumnUse, table: &SurveyedTable) -> Finding {
    let known = table.columns.iter().map(|column| column.name.as_str());
    let hint = match nearest(&used.column, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            let known: Vec<&str> = known.take(40).collect();
            format!("its columns are {}", known.join(", "))
        }
    };
    let message = format!("table {} has no column {}", used.table, used.column);
    Finding {
        hint: Some(hint),
        ..finding(Weight::Error, rule, Some(used), message)
    }
}

/// Columns that only a pack's `[tables]` section names, and the table lacks.
fn declared(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (table, columns) in facts.used {
        let Some(known) = facts.survey.get(table) else {
            continue;
        };
        let uses = || facts.rules.iter().flat_map(|rule| &rule.uses);
        for column in columns {
            let exists = known.columns.iter().any(|known| known.name == *column);
            if exists || uses().any(|used| used.table == *table && used.column == *column) {
                continue;
            }
            let message =
                format!("table {table} has no column {column}, but a [tables] section names it");
            let reads = |rule: &&RuleOutline| {
                rule.table == *table || rule.uses.iter().any(|used| used.table == *table)
            };
            if let Some(rule) = facts.rules.iter().find(reads) {
                let mut finding = finding(Weight::Error, rule, None, message);
                finding.line = None;
                findings.push(finding);
            }
        }
    }
    findings
}

fn not_unique(rule: &RuleOutline, used: &ColumnUse, table: &SurveyedTable) -> Option<Finding> {
    if used.row != Row::Unique || table.unique.contains(&used.column) {
        return None;
    }
    let message = format!(
        "a lookup goes by {}, which is not unique in {}: which of its rows is found is left to chance",
        used.column, used.table
    );
    let hint = match table.unique.as_slice() {
        [] => None,
        unique => Some(format!("unique are {}", unique.join(", "))),
    };
    Some(Finding {
        hint,
        ..finding(Weight::Error, rule, Some(used), message)
    })
}

fn secret(rule: &RuleOutline, used: &ColumnUse, column: &SurveyedColumn) -> Option<Finding> {
    looks_secret(&used.table, &column.name).then(|| {
        let message = format!(
            "column {} of {} looks like a secret: its values are stored in images, and whatever a \
             template prints is sent on",
            column.name, used.table
        );
        finding(Weight::Warning, rule, Some(used), message)
    })
}

#[cfg(test)]
mod tests;
