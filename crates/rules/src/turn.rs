//! One net change as rules see it.

use std::sync::{Arc, OnceLock};

use activity::{Event, Key, Position};

use crate::kept::{KeptChange, Sent};
use crate::layout::Layout;
use crate::net::{Before, Net};
use crate::row::{Cell, RowValue};

/// What decides which rules a net change concerns.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) event: Event,
    /// For each column that rules name, whether an update changed it.
    pub(crate) changed: Vec<bool>,
    pub(crate) old_known: bool,
}

impl Outline {
    /// `None` where nothing became of the row.
    pub(crate) fn of(net: &Net) -> Option<Self> {
        let (old, old_known) = match &net.before {
            Before::Absent => (None, true),
            Before::Known(cells) => (Some(cells), true),
            Before::Unknown(cells) => (Some(cells), false),
        };
        let new = net.after.as_ref().map(|(_, cells)| cells);
        let (event, changed) = match (old, new) {
            (None, Some(_)) => (Event::Insert, Vec::new()),
            (Some(old), Some(new)) => {
                let columns = net.layout.columns.names.len();
                let pairs = new.iter().zip(old).take(columns);
                let changed = pairs.map(|(new, old)| differs(new, old));
                (Event::Update, changed.collect())
            }
            (Some(_), None) => (Event::Delete, Vec::new()),
            (None, None) => return None,
        };
        Some(Self {
            event,
            changed,
            old_known,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) layout: Arc<Layout>,
    pub(crate) outline: Outline,
    /// The row's key, of a deleted one the last.
    pub(crate) key: Key,
    /// `None` for an inserted row.
    pub(crate) key_before: Option<Key>,
    pub(crate) position: Position,
    pub(crate) new: Arc<RowValue>,
    pub(crate) old: Arc<RowValue>,
    /// The whole rows, where the table lacks a column that rules name.
    pub(crate) sent: Option<Box<Sent>>,
    /// What the quarantine keeps of it, once it does: of the columns that rules name, and as a whole.
    pub(crate) kept: [OnceLock<Arc<KeptChange>>; 2],
}

impl Turn {
    /// `None` where nothing became of the row.
    pub(crate) fn of(outline: Outline, net: Net) -> Option<Self> {
        let old_cells = match net.before {
            Before::Absent => None,
            Before::Known(cells) | Before::Unknown(cells) => Some(cells),
        };
        let (key, new_cells) = match net.after {
            Some((key, cells)) => (key, Some(cells)),
            None => (net.key_before.clone()?, None),
        };
        let row = |cells: Option<Vec<Cell>>| {
            let columns = Arc::clone(&net.layout.columns);
            Arc::new(match cells {
                Some(cells) => RowValue::new(columns, cells),
                None => RowValue::none(columns),
            })
        };
        Some(Self {
            outline,
            key,
            key_before: net.key_before,
            position: net.position,
            new: row(new_cells),
            old: row(old_cells),
            layout: net.layout,
            sent: net.sent,
            kept: Default::default(),
        })
    }

    /// The truncation of a whole table.
    pub(crate) fn truncation(layout: Arc<Layout>, position: Position) -> Self {
        let row = || Arc::new(RowValue::none(Arc::clone(&layout.columns)));
        Self {
            outline: Outline {
                event: Event::Truncate,
                changed: Vec::new(),
                old_known: true,
            },
            key: Key::new([]),
            key_before: None,
            position,
            new: row(),
            old: row(),
            layout,
            sent: None,
            kept: Default::default(),
        }
    }

    /// The names of the columns that an update changed.
    pub(crate) fn changed_names(&self) -> Vec<Arc<str>> {
        let names = self.layout.columns.names.iter().zip(&self.outline.changed);
        names
            .filter(|(_, changed)| **changed)
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// The row that a group lists.
    pub(crate) fn row(&self) -> &Arc<RowValue> {
        if self.outline.event == Event::Delete {
            &self.old
        } else {
            &self.new
        }
    }
}

/// A value that is not known counts as changed; one that was not sent again did not change. A column
/// that is gone counts as changed every time, so that its rules say so instead of falling silent.
fn differs(new: &Cell, old: &Cell) -> bool {
    match (new, old) {
        (Cell::Missing, _) => true,
        (Cell::Unfilled, _) => false,
        _ => new != old,
    }
}
