//! What the stream will carry of the tables that rules name, and what it will not.

use std::collections::BTreeSet;

use activity::TableName;
use rules::{ColumnUse, Row, RuleOutline};
use store::catalog::{Survey, SurveyedColumn, SurveyedTable};
use store::setup::GENERATED_STREAMED_SINCE;

use super::{Facts, finding};
use crate::finding::{Finding, Weight};

/// A value below this many characters is stored in its row, whatever its type.
const INLINE_MAX: u32 = 400;

/// Large values that an update leaves alone are not in the stream: which rules that concerns.
pub fn toast(rule: &RuleOutline, survey: &Survey) -> Option<Finding> {
    let table = survey.get(&rule.table)?;
    if table.full || !rule.on.iter().any(|on| on == "update") {
        return None;
    }
    let large = |column: &str| {
        table
            .columns
            .iter()
            .any(|known| known.name == column && may_be_large(known))
    };
    let named = |rows: &[Row]| -> BTreeSet<&str> {
        let of_rows = rule
            .uses
            .iter()
            .filter(|used| used.table == rule.table && rows.contains(&used.row));
        of_rows
            .map(|used| used.column.as_str())
            .filter(|column| large(column))
            .collect()
    };
    let (new, old) = (named(&[Row::New, Row::Both]), named(&[Row::Old, Row::Both]));
    if new.is_empty() && old.is_empty() {
        return None;
    }
    let columns: BTreeSet<&str> = new.union(&old).copied().collect();
    let columns: Vec<&str> = columns.into_iter().collect();
    let needs_old = rule
        .uses
        .iter()
        .any(|used| matches!(used.row, Row::Old | Row::Both));
    let meanwhile = match needs_old {
        true => "the rule is silent for the first update of such a row",
        false => "an update that leaves them alone goes to quarantine, once for each such row",
    };
    let message = format!(
        "large values of {} are not in the stream when an update leaves them alone; they are taken from \
         the row's image. Rows from before Tidings have none until reconcile has filled them: until then \
         {meanwhile}",
        columns.join(", ")
    );
    Some(finding(Weight::Note, rule, None, message))
}

fn may_be_large(column: &SurveyedColumn) -> bool {
    let length = column
        .type_name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    let short = length
        .and_then(|l| l.parse::<u32>().ok())
        .is_some_and(|l| l <= INLINE_MAX);
    column.toastable && !short
}

/// A generated column that is not in the stream.
pub fn unsent(
    facts: &Facts<'_>,
    rule: &RuleOutline,
    used: &ColumnUse,
    table: &SurveyedTable,
) -> Option<Finding> {
    let (name, column) = (&used.table, &used.column);
    let (_, generated) = table.generated.iter().find(|(known, _)| known == column)?;
    let listed = (facts.listed)(name);
    let message = store::setup::unsent(name, column, *generated, listed, facts.version)?;
    Some(finding(Weight::Error, rule, Some(used), message))
}

/// Tables whose rows nothing tells apart, or whose updates would fail.
pub fn identities(facts: &Facts<'_>) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for rule in facts.rules {
        let others = rule.uses.iter().map(|used| &used.table);
        for name in std::iter::once(&rule.table).chain(others) {
            let Some(table) = facts.survey.get(name).filter(|_| seen.insert(name)) else {
                continue;
            };
            let (level, message, hint) = if table.unidentified {
                let what = "has no key that the server takes as its replica identity: once published, \
                            every UPDATE and DELETE on it would fail";
                (
                    Weight::Error,
                    format!("table {name} {what}"),
                    Some(mend(name)),
                )
            } else if table.key.is_empty() {
                let what = "has no primary key to tell its rows apart";
                (
                    Weight::Error,
                    format!("table {name} {what}"),
                    Some(mend(name)),
                )
            } else if let Some(reach) = table.full.then(|| overreach(facts, name, table)).flatten()
            {
                let what = format!(
                    "has REPLICA IDENTITY FULL, and {reach}: once published, every UPDATE and DELETE on it would \
                     fail"
                );
                (
                    Weight::Error,
                    format!("table {name} {what}"),
                    Some(format!(
                        "run `alter table {name} replica identity default;`"
                    )),
                )
            } else if table.full {
                let what = "has REPLICA IDENTITY FULL: every update sends the whole old row, which no rule \
                            needs";
                (Weight::Note, format!("table {name} {what}"), None)
            } else {
                continue;
            };
            findings.push(Finding {
                hint,
                ..finding(level, rule, None, message)
            });
        }
    }
    findings
}

fn mend(table: &TableName) -> String {
    format!("run `alter table {table} add primary key (…);`")
}

/// What the whole row holds that the publication would not.
fn overreach(facts: &Facts<'_>, name: &TableName, table: &SurveyedTable) -> Option<&'static str> {
    if (facts.listed)(name) {
        return Some("would get a column list");
    }
    let generated = !table.generated.is_empty();
    (generated && facts.version >= GENERATED_STREAMED_SINCE)
        .then_some("generated columns that are not published")
}

/// One line for each table: what the publication will contain of it, and whether it does already.
pub fn published(facts: &Facts<'_>) -> Vec<String> {
    let line = |(name, columns): &(TableName, BTreeSet<String>)| {
        let Some(table) = facts.survey.get(name) else {
            return format!("{name}: does not exist");
        };
        let listed = (facts.listed)(name);
        let sent = match listed {
            false => format!(
                "whole rows; {} of {} columns kept",
                columns.len(),
                table.columns.len()
            ),
            true => format!("columns {}", list(table, columns).join(", ")),
        };
        let state = match facts.publication.and_then(|p| p.find(name)) {
            None => "not published yet: `tidings setup` adds it",
            Some(published) if published.filter.is_some() => {
                "published with a row filter: `tidings setup` mends it"
            }
            Some(published) => {
                let same = match (&published.columns, listed) {
                    (None, false) => true,
                    (Some(columns_now), true) => {
                        list(table, columns).iter().all(|c| columns_now.contains(c))
                    }
                    _ => false,
                };
                if same {
                    "published"
                } else {
                    "published with other columns: `tidings setup` changes them"
                }
            }
        };
        format!("{name}: {sent}; key ({}); {state}", table.key.join(", "))
    };
    facts.used.iter().map(line).collect()
}

/// The key and the columns that rules name, in the table's order.
fn list(table: &SurveyedTable, columns: &BTreeSet<String>) -> Vec<String> {
    let named = |name: &&String| table.key.contains(name) || columns.contains(*name);
    table
        .columns
        .iter()
        .map(|column| &column.name)
        .filter(named)
        .cloned()
        .collect()
}
