//! Golden cases: rows in, actions out, in a TOML file beside a pack.
//!
//! In go the text of such a file and the pack that it names; out comes a [`Verdict`] for each case,
//! from the same engine that runs on a worker's stream. Pure, like the engine.

mod cell;
mod compare;
mod file;
mod play;
mod verdict;

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::error::{Errors, Report};
use crate::pack::Located;
use crate::{PackSource, compile, read};

pub use verdict::{Difference, Verdict};

/// A file of cases.
#[derive(Debug)]
pub struct Suite {
    origin: String,
    pack: Located,
    schema: Option<String>,
    tables: Vec<Table>,
    cases: Vec<Case>,
}

/// What the file says of a table, by its alias in the pack.
#[derive(Debug, Default)]
struct Table {
    alias: String,
    line: usize,
    /// OIDs of the types of columns; the others are text.
    types: Vec<(String, u32)>,
    key: Vec<String>,
    /// Every column that the cases name, in the order in which they are named first.
    columns: Vec<String>,
}

#[derive(Debug)]
struct Case {
    name: Located,
    rows: Vec<RowText>,
    transactions: Vec<Transaction>,
    actions: Vec<Expected>,
    faults: Vec<Expected>,
}

/// A row as it is written.
#[derive(Clone, Debug)]
struct RowText {
    alias: Located,
    values: Map<String, Json>,
}

#[derive(Debug, Default)]
struct Transaction {
    context: Option<Json>,
    changes: Vec<ChangeText>,
}

#[derive(Debug)]
enum ChangeText {
    Insert(RowText),
    Update {
        /// The key that the row had, where it moves.
        key: Option<Vec<Json>>,
        row: RowText,
    },
    Delete {
        alias: Located,
        key: Vec<Json>,
    },
    Truncate(Vec<Located>),
}

/// What is expected of an action or a fault: only what is named.
#[derive(Debug)]
struct Expected {
    line: usize,
    columns: Map<String, Json>,
}

/// What became of a file's cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// In written order.
    pub verdicts: Vec<Verdict>,
    /// Rules, with their pack, that made no action in any case.
    pub untested: Vec<String>,
}

impl Suite {
    /// Reads a file of cases. All mistakes come back at once.
    pub fn read(origin: &str, text: &str) -> Result<Self, Errors> {
        let mut report = Report::new(origin);
        let suite = file::read(text, &mut report);
        match (suite, report.into_problems()) {
            (Some(suite), problems) if problems.is_empty() => Ok(suite),
            (_, problems) => Err(Errors(problems)),
        }
    }

    /// The pack's file, relative to that of the cases.
    pub fn pack(&self) -> &str {
        &self.pack.text
    }

    /// Where the pack is placed.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Plays every case under this pack.
    ///
    /// # Errors
    /// The mistakes of the pack, or tables that the cases name and the pack does not.
    pub fn run(&self, pack: &PackSource) -> Result<Run, Errors> {
        let rules = compile::compile(std::slice::from_ref(pack))?;
        let mut report = Report::new(&pack.origin);
        let read = read::parse(&pack.text, &mut report);
        let aliases = read.map(|read| compile::tables(&read, pack.schema.as_deref()));
        let stage = play::Stage::new(self, &rules, &aliases.unwrap_or_default())?;
        let mut untested: BTreeSet<&str> = rules.rules().map(|rule| rule.name).collect();
        let mut verdicts = Vec::new();
        for case in &self.cases {
            let played = stage.play(case);
            for action in &played.actions {
                untested.remove(action.source.rule.as_str());
            }
            verdicts.push(compare::compare(case, &played.actions, &played.faults));
        }
        Ok(Run {
            verdicts,
            untested: untested.into_iter().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
