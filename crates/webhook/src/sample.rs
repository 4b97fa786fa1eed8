//! Examples: actions that never happened, for trying an endpoint or a template.

use activity::{Action, Seq};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::Notification;

/// Says in every sentence that nothing happened.
const MARK: &str = " (sample)";

/// The types that the shipped packs tell of.
pub(crate) const KNOWN: &[&str] = &[
    "project_created",
    "endpoints_added",
    "endpoints_modified",
    "database_created",
    "tables_added",
    "queries_executed",
    "deployment",
    "github_push",
];

/// An action that never happened, as the log would hold it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Two characters longer than any real one, and `sample_` at its beginning.
    pub id: String,
    pub action: Action,
    pub committed_at: Timestamp,
}

impl Sample {
    /// Seq 0, which no action has.
    pub fn notification(&self) -> Notification<'_> {
        Notification {
            action_id: &self.id,
            seq: Seq::ZERO,
            action: &self.action,
            created_at: self.committed_at.as_second(),
            committed_at: self.committed_at,
            has_cost_usd: false,
        }
    }
}

/// A plausible action of this type, whatever it is: its sentence ends with "(sample)" and its data
/// holds `"sample": true`. Made at another time it has another id.
pub fn sample(action_type: &str, now: Timestamp) -> Sample {
    let told = tell(action_type);
    let mut data = Map::from_iter([("sample".to_owned(), true.into())]);
    data.extend(told.data.as_object().cloned().unwrap_or_default());
    let action_type = match action_type {
        "" => "sample",
        named => named,
    };
    Sample {
        id: format!("sample_{:016x}", now.as_microsecond()),
        action: Action {
            project_id: Some("proj_sample".to_owned()),
            user_id: Some("user_sample".to_owned()),
            request_id: Some("req_sample".to_owned()),
            action_type: action_type.to_owned(),
            action_details: Some(format!("{}{MARK}", told.sentence)),
            status: Some("success".to_owned()),
            environment: Some(told.environment.to_owned()),
            reference_ids: Some(told.reference_ids),
            data,
            ..Action::default()
        },
        committed_at: now,
    }
}

/// What a sample of one type tells.
struct Told {
    sentence: String,
    environment: &'static str,
    reference_ids: Value,
    data: Value,
}

fn tell(action_type: &str) -> Told {
    let told = |sentence: &str, reference_ids, data| Told {
        sentence: sentence.to_owned(),
        environment: "development",
        reference_ids,
        data,
    };
    let container = || json!({"container_id": "abc123"});
    let database = || json!({"database_id": "db_sample"});
    match action_type {
        "project_created" => told(
            "Project 'My API' created with container abc123",
            container(),
            json!({}),
        ),
        "endpoints_added" => told(
            "Added 2 endpoints: GET /api/users, POST /api/users",
            container(),
            json!({"added": [
                {"method": "GET", "path": "/api/users"},
                {"method": "POST", "path": "/api/users"},
            ]}),
        ),
        "endpoints_modified" => told(
            "Modified GET /api/users: added pagination",
            container(),
            json!({}),
        ),
        "database_created" => told(
            "Database 'main' created with 2 tables: users, orders",
            database(),
            json!({"tables": ["users", "orders"]}),
        ),
        "tables_added" => told(
            "Added 1 table to main: invoices",
            database(),
            json!({"added": ["invoices"]}),
        ),
        "queries_executed" => told(
            "Executed 3 queries affecting tables: users, orders",
            database(),
            json!({"queries": 3, "tables": ["users", "orders"]}),
        ),
        "deployment" => Told {
            environment: "production",
            ..told(
                "Deployed to fly.io: https://my-api.example.com",
                json!({"deployment_id": "dep_sample"}),
                json!({}),
            )
        },
        "github_push" => told(
            "Pushed 4 files to https://github.com/example/my-api",
            json!({"deployment_id": "dep_sample"}),
            json!({"files": 4}),
        ),
        other => told(
            &format!("An action of type {other:?}"),
            json!({}),
            json!({}),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_can_not_be_mistaken_for_what_happened() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        for action_type in KNOWN.iter().copied().chain(["invoice_paid", "", "ü \n \""]) {
            let sample = sample(action_type, now);
            let notification = sample.notification();
            assert!(notification.action_id.starts_with("sample_"));
            assert!(
                notification
                    .action_id
                    .parse::<activity::ActionId>()
                    .is_err(),
                "no action has such an id"
            );
            assert_eq!(notification.seq, Seq::ZERO);
            assert_eq!(sample.action.data.get("sample"), Some(&Value::Bool(true)));
            assert!(!sample.action.action_type.is_empty());
            assert!(sample.action.action_details.unwrap().ends_with("(sample)"));
        }
    }

    #[test]
    fn samples_of_other_moments_have_other_ids() {
        let at = |micros| sample("deployment", Timestamp::from_microsecond(micros).unwrap()).id;
        assert_ne!(at(1_700_000_000_000_000), at(1_700_000_000_000_001));
    }
}
