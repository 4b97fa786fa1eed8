//! Rows as templates see them: read from text only where a template asks for a column.

use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::trouble::Trouble;
use crate::value::read;

/// One column of a row that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Text(ByteString),
    /// The relation has no such column.
    Missing,
    /// An unchanged TOAST value that neither the image nor the old row holds.
    Unfilled,
    /// A column of an old row that no image holds.
    Unknown,
}

/// What `new` and `old` of one net change have in common.
#[derive(Debug)]
pub(crate) struct Columns {
    /// For messages.
    pub(crate) table: String,
    /// The columns that rules name, in ascending order.
    pub(crate) names: Arc<[Arc<str>]>,
    /// Their types; 0 where the relation has no such column.
    pub(crate) type_oids: Vec<u32>,
}

/// `new` or `old`.
#[derive(Debug)]
pub(crate) struct RowValue {
    columns: Arc<Columns>,
    cells: Vec<Cell>,
    read: Vec<OnceLock<Value>>,
    /// There is no such row.
    absent: bool,
}

impl RowValue {
    pub(crate) fn new(columns: Arc<Columns>, cells: Vec<Cell>) -> Self {
        let read = cells.iter().map(|_| OnceLock::new()).collect();
        Self {
            columns,
            cells,
            read,
            absent: false,
        }
    }

    /// No row: the other side of an insert or delete, or what a lookup does not find. Every column
    /// is none.
    pub(crate) fn none(columns: Arc<Columns>) -> Self {
        let cells = vec![Cell::Null; columns.names.len()];
        Self {
            absent: true,
            ..Self::new(columns, cells)
        }
    }

    pub(crate) fn table(&self) -> &str {
        &self.columns.table
    }

    /// A column as it was sent; `None` where rules do not name it.
    pub(crate) fn cell(&self, column: &str) -> Option<&Cell> {
        self.cells.get(self.place(column)?)
    }

    /// The cells behind those of the columns.
    pub(crate) fn mark(&self, place: usize) -> Option<&Cell> {
        self.cells.get(self.columns.names.len() + place)
    }

    pub(crate) fn column(&self, column: &str) -> Option<Value> {
        self.value(self.place(column)?)
    }

    /// Those of the columns, then the marks.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns
            .names
            .binary_search_by(|name| (**name).cmp(column))
            .ok()
    }

    fn value(&self, place: usize) -> Option<Value> {
        let read = self.read.get(place)?;
        Some(read.get_or_init(|| self.convert(place)).clone())
    }

    fn convert(&self, place: usize) -> Value {
        let column = self.columns.names.get(place).map_or("", AsRef::as_ref);
        let owned = || column.to_owned();
        match self.cells.get(place) {
            Some(Cell::Null) => Value::from(()),
            Some(Cell::Text(text)) => {
                let type_oid = self.columns.type_oids.get(place).copied().unwrap_or(0);
                read(column, type_oid, text).unwrap_or_else(Value::from)
            }
            Some(Cell::Unfilled) => Trouble::Unfilled { column: owned() }.into(),
            Some(Cell::Unknown) => Trouble::OldUnknown { column: owned() }.into(),
            Some(Cell::Missing) | None => Trouble::NoColumn {
                column: owned(),
                table: self.columns.table.clone(),
            }
            .into(),
        }
    }
}

impl Object for RowValue {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, column: &str) -> Option<Value> {
        let not_kept = || {
            Trouble::NotKept {
                column: column.to_owned(),
                table: self.columns.table.clone(),
            }
            .into()
        };
        Some(self.column(column).unwrap_or_else(not_kept))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.absent
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
