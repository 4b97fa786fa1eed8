//! CloudEvents 1.0, structured JSON.
//!
//! A type stands behind `dev.tidings.`, so that a bus with many producers can tell ours apart; the
//! subject is the project; the data are those of format `full`.

use serde::Serialize;

use crate::Notification;
use crate::digest::{self, Told};
use crate::notification::Columns;

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

const SOURCE: &str = "/tidings";

#[derive(Serialize)]
pub(super) struct Event<D> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    r#type: String,
    /// The project; an attribute is never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// RFC 3339.
    time: String,
    datacontenttype: &'static str,
    data: D,
}

pub(super) fn single<'a>(notification: &Notification<'a>) -> Event<Columns<'a>> {
    let action = notification.action;
    event(
        notification.action_id.to_owned(),
        &action.action_type,
        action.project_id.as_deref(),
        notification.committed_at.to_string(),
        notification.columns(),
    )
}

/// Its id names the first and the last action, since it is none of them.
pub(super) fn digest<'a>(told: &Told<'a>) -> Event<digest::Data<'a>> {
    event(
        format!("digest:{}:{}", told.first.action_id, told.last.action_id),
        "digest",
        told.project_id(),
        told.timestamp().to_string(),
        told.data(),
    )
}

fn event<D>(
    id: String,
    action_type: &str,
    project_id: Option<&str>,
    time: String,
    data: D,
) -> Event<D> {
    Event {
        specversion: "1.0",
        id,
        source: SOURCE,
        r#type: format!("dev.tidings.{}", attribute(action_type)),
        subject: project_id.map(attribute).filter(|id| !id.is_empty()),
        time,
        datacontenttype: super::JSON,
        data,
    }
}

/// What may not stand in an attribute (control characters and noncharacters) becomes U+FFFD.
///
/// Source: CloudEvents 1.0.2, "Type System".
fn attribute(text: &str) -> String {
    let foreign = |c: char| {
        let code = u32::from(c);
        c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    };
    text.replace(foreign, "\u{FFFD}")
}
