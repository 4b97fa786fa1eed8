//! Ids and a link: for who asks for the rest elsewhere, or may not see it.

use activity::Seq;
use serde::Serialize;

use super::FormatContext;
use crate::Notification;
use crate::digest::Told;

/// Actions that a digest names, at most.
const ACTIONS_MAX: usize = 100;

#[derive(Serialize)]
pub(super) struct Thin<'a, D> {
    r#type: &'a str,
    /// RFC 3339.
    timestamp: String,
    data: D,
}

#[derive(Serialize)]
pub(super) struct Single<'a> {
    action_id: &'a str,
    seq: Seq,
    project_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Several<'a> {
    project_id: Option<&'a str>,
    from: String,
    to: String,
    count: usize,
    actions: Vec<Named<'a>>,
    /// Those that are counted and not named.
    more: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

#[derive(Serialize)]
struct Named<'a> {
    action_id: &'a str,
    seq: Seq,
}

pub(super) fn single<'a>(
    notification: &Notification<'a>,
    context: &FormatContext,
) -> Thin<'a, Single<'a>> {
    Thin {
        r#type: &notification.action.action_type,
        timestamp: notification.committed_at.to_string(),
        data: Single {
            action_id: notification.action_id,
            seq: notification.seq,
            project_id: notification.action.project_id.as_deref(),
            link: context.link(notification),
        },
    }
}

/// Its link is the last action's.
pub(super) fn digest<'a>(told: &Told<'a>, context: &FormatContext) -> Thin<'a, Several<'a>> {
    let named = told.actions.iter().take(ACTIONS_MAX);
    let actions: Vec<_> = named
        .map(|action| Named {
            action_id: action.action_id,
            seq: action.seq,
        })
        .collect();
    Thin {
        r#type: "digest",
        timestamp: told.timestamp().to_string(),
        data: Several {
            project_id: told.project_id(),
            from: told.first.committed_at.to_string(),
            to: told.last.committed_at.to_string(),
            count: told.actions.len(),
            more: told.actions.len() - actions.len(),
            actions,
            link: context.link(&told.last),
        },
    }
}
