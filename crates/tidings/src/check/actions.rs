//! Whether the worker's table of actions takes what actions can fill.

use super::Facts;
use crate::finding::{Finding, Weight};

/// What every action fills.
const ALWAYS: [&str; 3] = ["action_id", "action_type", "created_at"];
/// What an action fills if its rule says so.
const PERHAPS: [&str; 8] = [
    "project_id",
    "user_id",
    "request_id",
    "action_details",
    "status",
    "environment",
    "reference_ids",
    "cost_usd",
];

pub fn unfilled(facts: &Facts<'_>) -> Vec<Finding> {
    let name = facts.actions_table;
    let Some(table) = facts.survey.get(name) else {
        let message = format!("table {name} does not exist yet: `tidings setup` makes it");
        return vec![finding(Weight::Note, message, None)];
    };
    let mut findings = Vec::new();
    if !table
        .columns
        .iter()
        .any(|column| column.name == "action_id")
    {
        let message = format!("table {name} has no column action_id: it can not hold actions");
        findings.push(finding(Weight::Error, message, None));
    }
    for column in table
        .columns
        .iter()
        .filter(|c| c.not_null && !c.fills_itself)
    {
        let column = column.name.as_str();
        if ALWAYS.contains(&column) {
            continue;
        }
        if PERHAPS.contains(&column) {
            let message = format!(
                "column {column} of {name} is NOT NULL: an action without it goes to quarantine"
            );
            let hint = format!(
                "give every rule a {column} that is never empty, or run `alter table {name} alter {column} drop not null;`"
            );
            findings.push(finding(Weight::Warning, message, Some(hint)));
        } else {
            let message = format!(
                "column {column} of {name} is NOT NULL without a default, and no action can fill it: every row \
                 would be refused"
            );
            let hint = format!("run `alter table {name} alter {column} set default …;`");
            findings.push(finding(Weight::Error, message, Some(hint)));
        }
    }
    findings
}

fn finding(level: Weight, message: String, hint: Option<String>) -> Finding {
    Finding {
        level,
        file: String::new(),
        line: None,
        rule: None,
        key: None,
        message,
        hint,
        mark: None,
    }
}
