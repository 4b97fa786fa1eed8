//! One net change as rules see it.

use std::sync::{Arc, OnceLock};

use activity::{Event, Key, Position};

use crate::kept::{KeptChange, Sent};
use crate::layout::Layout;
use crate::net::{Before, Net};
use crate::row::{Cell, RowValue};

#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) layout: Arc<Layout>,
    pub(crate) event: Event,
    /// The row's key, of a deleted one the last.
    pub(crate) key: Key,
    /// `None` for an inserted row.
    pub(crate) key_before: Option<Key>,
    pub(crate) position: Position,
    /// For each column that rules name, whether an update changed it.
    pub(crate) changed: Vec<bool>,
    pub(crate) old_known: bool,
    pub(crate) new: Arc<RowValue>,
    pub(crate) old: Arc<RowValue>,
    /// The whole rows, where the table lacks a column that rules name.
    pub(crate) sent: Option<Box<Sent>>,
    /// What the quarantine keeps of it, once it does: of the columns that rules name, and as a whole.
    pub(crate) kept: [OnceLock<Arc<KeptChange>>; 2],
}

impl Turn {
    /// `None` where nothing became of the row.
    pub(crate) fn of(net: Net) -> Option<Self> {
        let (old_cells, old_known) = match net.before {
            Before::Absent => (None, true),
            Before::Known(cells) => (Some(cells), true),
            Before::Unknown(cells) => (Some(cells), false),
        };
        let (key, new_cells) = match net.after {
            Some((key, cells)) => (key, Some(cells)),
            None => (net.key_before.clone()?, None),
        };
        let event = match (&old_cells, &new_cells) {
            (None, Some(_)) => Event::Insert,
            (Some(_), Some(_)) => Event::Update,
            (Some(_), None) => Event::Delete,
            (None, None) => return None,
        };
        let changed = match (&old_cells, &new_cells) {
            (Some(old), Some(new)) => {
                let columns = net.layout.columns.names.len();
                let pairs = new.iter().zip(old).take(columns);
                pairs.map(|(new, old)| differs(new, old)).collect()
            }
            _ => Vec::new(),
        };
        let row = |cells: Option<Vec<Cell>>| {
            let columns = Arc::clone(&net.layout.columns);
            Arc::new(match cells {
                Some(cells) => RowValue::new(columns, cells),
                None => RowValue::none(columns),
            })
        };
        Some(Self {
            event,
            key,
            key_before: net.key_before,
            position: net.position,
            changed,
            old_known,
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
            event: Event::Truncate,
            key: Key::new([]),
            key_before: None,
            position,
            changed: Vec::new(),
            old_known: true,
            new: row(),
            old: row(),
            layout,
            sent: None,
            kept: Default::default(),
        }
    }

    /// The names of the columns that an update changed.
    pub(crate) fn changed_names(&self) -> Vec<Arc<str>> {
        let names = self.layout.columns.names.iter().zip(&self.changed);
        names
            .filter_map(|(name, changed)| changed.then(|| Arc::clone(name)))
            .collect()
    }

    /// The row that a group lists.
    pub(crate) fn row(&self) -> &Arc<RowValue> {
        if self.event == Event::Delete {
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
