//! Notices: what other parts of the sidecar have left in the outbox becomes actions of the log.

use activity::{Action, ActionId, Event, Key, Origin, Position, Source, TableName, Unstreamed};
use serde_json::{Map, Value};
use store::commit::{Batch, NewAction};
use store::outbox::{self, Notice};

use super::budget::size;
use super::writer::Writer;
use super::{Fault, storable};

/// Notices that are written in one commit.
const NOTICES_MAX: i64 = 256;
/// The upper half of the ordinals.
const ORDINALS: u32 = 1 << 23;
/// What stands in the log for the rule of such an action.
const RULE: &str = "tidings/notice";

impl Writer<'_> {
    /// Writes what waits in the outbox. True where there may be more.
    pub(super) async fn notice(&mut self) -> Result<bool, Fault> {
        if self.progress.half.is_some() {
            return Ok(false);
        }
        let notices = outbox::waiting(&self.session, NOTICES_MAX).await?;
        if notices.is_empty() {
            return Ok(false);
        }
        let at = self.progress.commit_lsn;
        let mut batch = Batch::default();
        for notice in &notices {
            let id = notice.id.to_string();
            // Ids of one position sort: first what its transaction made, then notices as they came.
            let ordinal = ORDINALS | (notice.id.unsigned_abs() as u32 & (ORDINALS - 1));
            let identity = Unstreamed {
                system_id: &self.progress.lineage.system_id,
                kind: "notice",
                subject: &[&notice.kind, &id],
                at,
                ordinal,
            };
            let position = Position { lsn: at, index: 0 };
            batch.actions.push(NewAction {
                id: ActionId::unstreamed(&identity),
                action: storable::action(action(notice)),
                source: Source {
                    rule: RULE.to_owned(),
                    version: "".into(),
                    table: TableName::new("tidings", "outbox"),
                    key: Key::new([id.as_str()]),
                    position,
                    event: Event::Message,
                    changed: Vec::new(),
                },
                origin: Origin::Notice,
                commit_lsn: at,
                committed_at: notice.created_at,
                xid: 0,
            });
            batch.notices.push(notice.id);
        }
        self.write(self.unmoved(), &batch).await?;
        Ok(notices.len() as i64 == NOTICES_MAX)
    }
}

/// Belongs to no project.
fn action(notice: &Notice) -> Action {
    let text = |key: &str| {
        notice
            .payload
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    let number = |key: &str| notice.payload.get(key).and_then(Value::as_i64).unwrap_or(0);
    let details = match notice.kind.as_str() {
        "capture_gap" => format!(
            "Not observed: changes between {} and {}. {}. Tables are compared, and what differs follows",
            text("from_lsn"),
            text("until_lsn"),
            text("reason")
        ),
        "wal_budget" => format!(
            "Replication slot '{}' keeps back {} of WAL, {} % of what it may",
            text("slot"),
            size(number("retained_bytes")),
            number("percent")
        ),
        _ => format!(
            "Endpoint '{}' disabled: {}",
            text("endpoint"),
            text("reason")
        ),
    };
    let data: Map<String, Value> = match &notice.payload {
        Value::Object(payload) => payload.clone(),
        _ => Map::new(),
    };
    Action {
        action_type: notice.kind.clone(),
        action_details: Some(details),
        status: Some("warning".to_owned()),
        data,
        ..Action::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn a_notice_says_which_endpoint_was_disabled_and_why() {
        let notice = Notice {
            id: 7,
            kind: "endpoint_disabled".to_owned(),
            payload: json!({"endpoint_id": "ep_1", "endpoint": "ops", "reason": "it is gone"}),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let action = action(&notice);
        assert_eq!(
            action.action_details.unwrap(),
            "Endpoint 'ops' disabled: it is gone"
        );
        assert_eq!(Value::Object(action.data), notice.payload);
        assert_eq!(action.project_id, None);
        assert!(!format!("{notice:?}").contains("gone"));
    }

    #[test]
    fn a_notice_of_a_gap_says_what_was_not_observed_and_why() {
        let notice = Notice {
            id: 8,
            kind: "capture_gap".to_owned(),
            payload: json!({"from_lsn": "0/10", "until_lsn": "0/20", "reason": "slot t was dropped"}),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let details = action(&notice).action_details.unwrap();
        assert!(
            details.starts_with("Not observed: changes between 0/10 and 0/20. slot t was dropped")
        );
    }

    #[test]
    fn a_notice_of_the_budget_says_how_much_is_kept_back() {
        let notice = Notice {
            id: 9,
            kind: "wal_budget".to_owned(),
            payload: json!({"slot": "t", "retained_bytes": 52_428_800, "percent": 81}),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let details = action(&notice).action_details.unwrap();
        assert_eq!(
            details,
            "Replication slot 't' keeps back 50.0 MiB of WAL, 81 % of what it may"
        );
    }
}
