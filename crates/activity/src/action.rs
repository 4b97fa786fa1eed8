use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Key, Position, TableName};

/// The longest id of a project. Longer ones have no place in an index of Postgres, which ends at 2704 bytes.
pub const PROJECT_ID_BYTES_MAX: usize = 1000;

/// One derived activity: what a rule makes of a change, before it has an id, a seq and a time.
///
/// The fields are the columns of `project_actions` that a rule can fill, and `data`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    pub project_id: Option<String>,
    pub user_id: Option<String>,
    pub request_id: Option<String>,
    /// Never empty.
    pub action_type: String,
    pub action_details: Option<String>,
    pub status: Option<String>,
    pub environment: Option<String>,
    pub reference_ids: Option<Value>,
    /// A decimal number as text, for tables that have the column.
    pub cost_usd: Option<String>,
    /// Unix seconds, where the rule takes the time from the row. Only what reconcile and backfill
    /// find has it: what the stream shows happened when it was committed.
    pub created_at: Option<i64>,
    pub actor: Option<Actor>,
    /// The rule's variables, typed, for machines.
    pub data: Map<String, Value>,
}

/// Who did it, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub id: String,
    pub found: Found,
}

/// How an actor was found. Any role of the database can send a message, so a reader must be able to
/// tell one that was announced from one that a row names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In a logical message of the transaction.
    Message,
    /// In the changed row.
    Row,
    /// In a row that was looked up.
    Lookup,
}

impl Found {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Row => "row",
            Self::Lookup => "lookup",
        }
    }

    /// The other way round from [`Found::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Message, Self::Row, Self::Lookup];
        all.into_iter().find(|found| found.as_str() == text)
    }
}

/// Where an action came from: enough to answer "why is this here".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The rule's name, with its pack: `reference/project_created`.
    pub rule: String,
    /// Which text of the pack it was: the first 12 hex digits of its SHA-256.
    pub version: Arc<str>,
    pub table: TableName,
    pub key: Key,
    pub position: Position,
    /// What became of the row in its transaction.
    pub event: Event,
    /// The columns that rules name and an update changed, by name.
    pub changed: Vec<Arc<str>>,
}

/// What became of a row between the beginning and the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Insert,
    Update,
    Delete,
    /// Of the table, not of a row.
    Truncate,
    /// No change of a row: a logical message, the watchdog, or a notice.
    Message,
}

impl Event {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Message => "message",
        }
    }
}

/// How an action came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Seen in the stream as it was committed.
    Stream,
    /// Found by comparing tables with images: it happened while nobody watched.
    Reconciled,
    /// Found in a table, from before Tidings came.
    Backfill,
    /// Seen in the stream, and worked out later, after the quarantine.
    Retried,
    /// Announced by a logical message outside of any transaction.
    Message,
    /// The watchdog's: what was announced did not end in time.
    Watchdog,
    /// A notice of another part of the sidecar. It belongs to no project, and is in the log alone.
    Notice,
}

/// The types of the actions of [`Origin::Notice`].
pub const NOTICES: [&str; 3] = ["endpoint_disabled", "capture_gap", "wal_budget"];

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Reconciled => "reconciled",
            Self::Backfill => "backfill",
            Self::Retried => "retried",
            Self::Message => "message",
            Self::Watchdog => "watchdog",
            Self::Notice => "notice",
        }
    }
}
