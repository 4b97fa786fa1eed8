//! Notices: what other parts of the sidecar have left in the outbox becomes actions of the log.

use activity::{Action, ActionId, Event, Key, Origin, Position, Source, TableName, Unstreamed};
use serde_json::{Map, Value};
use store::commit::{Batch, NewAction};
use store::outbox::{self, Notice};

use super::Fault;
use super::derive::storable;
use super::writer::Writer;

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
                action: storable(action(notice)),
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
    let details = format!(
        "Endpoint '{}' disabled: {}",
        text("endpoint"),
        text("reason")
    );
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
}
