//! How each rule stands: whether its columns are there, and whether changes of it wait in quarantine.

use std::collections::BTreeMap;

use activity::TableName;
use rules::{RuleOutline, outline};
use serde_json::{Value, json};
use store::{Session, catalog, status};

use crate::settings::Settings;
use crate::{Failure, packs};

/// For each rule `{"name", "state", "reason"}`; one entry without a name where the packs do not compile.
pub(super) async fn gather(settings: &Settings, session: &Session) -> Result<Vec<Value>, Failure> {
    let rules = match packs::load(settings) {
        Ok(rules) => rules,
        Err(failure) => {
            let reason = failure.to_string();
            return Ok(vec![
                json!({"name": null, "state": "broken", "reason": reason}),
            ]);
        }
    };
    let failing = status::failing_rules(session).await?;
    let names: Vec<TableName> = rules.tables().map(|used| used.table.clone()).collect();
    let tables = catalog::tables(session, &names).await?;
    let outlines: BTreeMap<String, RuleOutline> = outline(rules.sources())
        .into_iter()
        .map(|outline| (outline.id.clone(), outline))
        .collect();
    let state = |name: &str| {
        let missing = outlines.get(name).and_then(|o| missing(o, &tables));
        let waiting = failing.iter().find(|(rule, ..)| rule == name);
        let waiting = waiting
            .map(|(_, times, reason)| format!("{times} changes in quarantine; the last: {reason}"));
        let reasons: Vec<String> = missing.into_iter().chain(waiting).collect();
        match reasons.is_empty() {
            true => json!({"name": name, "state": "ok", "reason": null}),
            false => json!({"name": name, "state": "failing", "reason": reasons.join("; ")}),
        }
    };
    Ok(rules.rules().map(|rule| state(rule.name)).collect())
}

/// The first column of the rule that its table does not have.
fn missing(outline: &RuleOutline, tables: &catalog::Tables) -> Option<String> {
    let lacking = outline.uses.iter().find(|used| {
        let table = tables.get(&used.table);
        table.is_some_and(|table| !table.columns.contains(&used.column))
    })?;
    Some(format!(
        "table {} has no column {} (line {} of {}): change the pack, then `tidings quarantine retry`",
        lacking.table, lacking.column, lacking.line, outline.origin
    ))
}
