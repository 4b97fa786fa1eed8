use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Key, Position, TableName};

/// One derived activity: what a rule makes of a change, before it has an id, a seq and a time.
///
/// The fields are the columns of `project_actions` that a rule can fill, and `data`.
#[derive(Clone, Debug, PartialEq)]
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
    /// The rule's variables, typed, for machines.
    pub data: Map<String, Value>,
}

/// Where an action came from: enough to answer "why is this here".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The rule's name, with its pack: `reference/project_created`.
    pub rule: String,
    pub table: TableName,
    pub key: Key,
    pub position: Position,
}

/// How an action came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Seen in the stream as it was committed.
    Stream,
}

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
        }
    }
}
