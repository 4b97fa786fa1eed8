//! What a preview prints: a line for each action that would be written.

use activity::Begin;
use rules::{Derived, Fault};
use serde_json::json;

pub struct Shown {
    pub json: bool,
}

impl Shown {
    pub fn action(&self, begin: &Begin, derived: &Derived) {
        let (action, source) = (&derived.action, &derived.source);
        if self.json {
            let line = json!({
                "kind": "action", "rule": source.rule, "event": source.event.as_str(),
                "table": source.table.to_string(), "key": source.key,
                "commit_lsn": begin.commit_lsn, "committed_at": begin.commit_time.to_string(),
                "action": {
                    "action_type": action.action_type, "action_details": action.action_details,
                    "status": action.status, "environment": action.environment,
                    "project_id": action.project_id, "user_id": action.user_id,
                    "request_id": action.request_id, "reference_ids": action.reference_ids,
                    "cost_usd": action.cost_usd,
                },
                "data": action.data,
            });
            println!("{line}");
            return;
        }
        let nothing = "-".to_owned();
        println!(
            "{}  {}  {}  {}  ({} {})",
            begin.commit_time.strftime("%H:%M:%S"),
            action.action_type,
            action.status.as_ref().unwrap_or(&nothing),
            action.action_details.as_ref().unwrap_or(&nothing),
            source.table,
            source.key,
        );
    }

    pub fn fault(&self, begin: &Begin, fault: &Fault) {
        let key = fault.key.as_ref().map_or("", |key| key.as_str());
        let rule = fault.rule.as_deref().unwrap_or("every rule");
        if self.json {
            let line = json!({
                "kind": "fault", "rule": fault.rule, "table": fault.table.to_string(), "key": fault.key,
                "commit_lsn": begin.commit_lsn, "reason": fault.reason,
            });
            println!("{line}");
            return;
        }
        println!(
            "{}  fault  {rule}: {} ({} {key})",
            begin.commit_time.strftime("%H:%M:%S"),
            fault.reason,
            fault.table,
        );
    }
}
