use activity::{Action, Seq};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// An action as the log holds it, about to be written for a subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    pub action_id: &'a str,
    pub seq: Seq,
    pub action: &'a Action,
    /// Unix seconds, as `project_actions` has it.
    pub created_at: i64,
    pub committed_at: Timestamp,
    /// Whether this deployment's `project_actions` has the column `cost_usd`.
    pub has_cost_usd: bool,
}

impl<'a> Notification<'a> {
    /// The body of format `full`: `{"type", "timestamp", "data"}`, with every column of
    /// `project_actions`, `seq`, and the rule's typed variables as `data` in `data`.
    ///
    /// A column without a value is null. `cost_usd` is a string, so that no reader rounds it, and
    /// is left out where the table has no such column. The keys always come in the same order.
    pub(crate) fn full(&self) -> Full<'a> {
        Full {
            r#type: &self.action.action_type,
            timestamp: self.committed_at.to_string(),
            data: self.columns(),
        }
    }

    /// `data` of that body.
    pub(crate) fn columns(&self) -> Columns<'a> {
        let Action {
            project_id,
            user_id,
            request_id,
            action_type,
            action_details,
            status,
            environment,
            reference_ids,
            cost_usd,
            data,
            // The log's own time of the action is `self.created_at`.
            created_at: _,
            // The shape is fixed; who did it is for readers of the log.
            actor: _,
        } = self.action;
        Columns {
            action_id: self.action_id,
            project_id: project_id.as_deref(),
            user_id: user_id.as_deref(),
            request_id: request_id.as_deref(),
            action_type,
            action_details: action_details.as_deref(),
            status: status.as_deref(),
            environment: environment.as_deref(),
            reference_ids: reference_ids.as_ref(),
            created_at: self.created_at,
            cost_usd: self.has_cost_usd.then_some(cost_usd.as_deref()),
            seq: self.seq,
            data,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Full<'a> {
    r#type: &'a str,
    /// RFC 3339.
    timestamp: String,
    data: Columns<'a>,
}

#[derive(Serialize)]
pub(crate) struct Columns<'a> {
    action_id: &'a str,
    project_id: Option<&'a str>,
    user_id: Option<&'a str>,
    request_id: Option<&'a str>,
    action_type: &'a str,
    action_details: Option<&'a str>,
    status: Option<&'a str>,
    environment: Option<&'a str>,
    reference_ids: Option<&'a Value>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<Option<&'a str>>,
    seq: Seq,
    data: &'a Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn action() -> Action {
        let Value::Object(data) = json!({"project": {"name": "My API"}, "total": 2}) else {
            panic!("an object");
        };
        Action {
            project_id: Some("proj_1".to_owned()),
            user_id: Some("user_1".to_owned()),
            request_id: None,
            action_type: "project_created".to_owned(),
            action_details: Some("Project 'My API' created".to_owned()),
            status: Some("success".to_owned()),
            environment: None,
            reference_ids: Some(json!({"container_id": "abc123"})),
            data,
            ..Action::default()
        }
    }

    fn notification(action: &Action, has_cost_usd: bool) -> Notification<'_> {
        Notification {
            action_id: "---0PnSCW7---1L_QRhX_",
            seq: Seq::new(7),
            action,
            created_at: 1_700_000_000,
            committed_at: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            has_cost_usd,
        }
    }

    fn text(notification: &Notification<'_>) -> String {
        serde_json::to_string(&notification.full()).unwrap()
    }

    #[test]
    fn the_body_holds_every_column_in_a_fixed_order() {
        let expected = concat!(
            r#"{"type":"project_created","timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
            r#""action_id":"---0PnSCW7---1L_QRhX_","project_id":"proj_1","user_id":"user_1","#,
            r#""request_id":null,"action_type":"project_created","#,
            r#""action_details":"Project 'My API' created","status":"success","#,
            r#""environment":null,"reference_ids":{"container_id":"abc123"},"#,
            r#""created_at":1700000000,"seq":7,"#,
            r#""data":{"project":{"name":"My API"},"total":2}}}"#,
        );
        assert_eq!(text(&notification(&action(), false)), expected);
    }

    #[test]
    fn cost_usd_is_there_where_the_table_has_it() {
        let free = action();
        assert!(
            text(&notification(&free, true))
                .contains(r#""created_at":1700000000,"cost_usd":null,"seq""#)
        );
        let dear = Action {
            cost_usd: Some("0.001200".to_owned()),
            ..action()
        };
        assert!(text(&notification(&dear, true)).contains(r#""cost_usd":"0.001200""#));
        assert!(!text(&notification(&dear, false)).contains("cost_usd"));
    }
}
