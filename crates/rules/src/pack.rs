//! A pack as it is written, with the line of everything in it.

use crate::maps::Map;

/// The columns of `project_actions` that a rule can fill by one template each.
pub(crate) const OUTPUTS: [&str; 9] = [
    "project_id",
    "user_id",
    "request_id",
    "action_type",
    "action_details",
    "status",
    "environment",
    "cost_usd",
    "created_at",
];
pub(crate) const RULE_KEYS: [&str; 11] = [
    "name",
    "table",
    "on",
    "let",
    "when",
    "each",
    "group",
    "reference_ids",
    "data",
    "changes",
    "backfill",
];
/// Keys that hold a table of named expressions or templates.
pub(crate) const DEFAULT_KEYS: [&str; 2] = ["let", "reference_ids"];

/// A text and the line it begins in.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) text: String,
    pub(crate) line: usize,
}

#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) name: Located,
    pub(crate) tables: Vec<Table>,
    pub(crate) maps: Vec<Map>,
    pub(crate) defaults: Defaults,
    pub(crate) rules: Vec<RuleText>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) alias: Located,
    pub(crate) table: Option<String>,
    pub(crate) schema: Option<String>,
    /// Columns that rules read although their text does not tell.
    pub(crate) columns: Vec<Located>,
}

/// What a rule takes where it says nothing itself.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// In written order.
    pub(crate) lets: Vec<(Located, Located)>,
    pub(crate) outputs: Outputs,
}

/// Templates by the name of what they fill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) columns: Vec<(String, Located)>,
    pub(crate) reference_ids: Vec<(Located, Located)>,
}

#[derive(Debug)]
pub(crate) struct RuleText {
    pub(crate) name: Located,
    pub(crate) table: Located,
    pub(crate) on: Vec<Located>,
    /// In written order.
    pub(crate) lets: Vec<(Located, Located)>,
    pub(crate) when: Option<Located>,
    pub(crate) each: Option<Located>,
    pub(crate) group: Option<Located>,
    /// In written order.
    pub(crate) data: Vec<(Located, Located)>,
    /// Columns of which `data` tells the value before and after.
    pub(crate) changes: Vec<Located>,
    /// Whether rows from before Tidings came make actions.
    pub(crate) backfill: bool,
    pub(crate) outputs: Outputs,
}
