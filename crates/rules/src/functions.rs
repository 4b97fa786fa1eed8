//! What rules can call: `changed`, `first`, `lookup` and `tx`.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use crate::difference::{argument, items};
use crate::filters::print;
use crate::layout::Named;
use crate::row::{Cell, RowValue};
use crate::trouble::Trouble;
use crate::world::World;

/// The places of a pack's tables, by their aliases.
pub(crate) type Tables = BTreeMap<String, usize>;

/// `changed('column')`.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) new: Arc<RowValue>,
    pub(crate) old: Arc<RowValue>,
}

impl Object for Changed {
    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let column = args.first().and_then(Value::as_str).unwrap_or("");
        match (self.new.cell(column), self.old.cell(column)) {
            (None | Some(Cell::Missing), _) | (_, None) => Err(no_column(column, &self.new)),
            // Not sent because it is as it was.
            (Some(Cell::Unfilled), _) => Ok(Value::from(false)),
            (_, Some(Cell::Unknown | Cell::Unfilled)) => Err(old_unknown(column)),
            (Some(new), Some(old)) => Ok(Value::from(new != old)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// `first('column', 'value')`.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) new: Arc<RowValue>,
    pub(crate) old: Arc<RowValue>,
    pub(crate) named: Arc<Named>,
}

impl Object for First {
    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let column = args.first().and_then(Value::as_str).unwrap_or("");
        let value = args.get(1).map(print).transpose()?.unwrap_or_default();
        let is_it = |name: &Arc<str>| **name == *column;
        let mark = self.named.marks.iter().position(|mark| {
            mark.value == value && self.named.names.get(mark.column).is_some_and(is_it)
        });
        let has = match self.new.cell(column) {
            None | Some(Cell::Missing) => return Err(no_column(column, &self.new)),
            Some(Cell::Text(text)) => **text == *value,
            Some(Cell::Null | Cell::Unfilled | Cell::Unknown) => false,
        };
        if !has {
            return Ok(Value::from(false));
        }
        match mark.and_then(|mark| self.old.mark(mark)) {
            Some(Cell::Unknown) => Err(old_unknown(column)),
            Some(Cell::Text(_)) => Ok(Value::from(false)),
            Some(Cell::Null | Cell::Missing | Cell::Unfilled) | None => Ok(Value::from(true)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

fn no_column(column: &str, row: &RowValue) -> Error {
    Trouble::NoColumn {
        column: column.to_owned(),
        table: row.table().to_owned(),
    }
    .into()
}

fn old_unknown(column: &str) -> Error {
    Trouble::OldUnknown {
        column: column.to_owned(),
    }
    .into()
}

/// `lookup('table', key)` and `lookup('table', value, by='column')`.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) world: Arc<World>,
    pub(crate) tables: Arc<Tables>,
}

impl Object for Lookup {
    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (alias, key, options): (&str, Value, Kwargs) = from_args(args)?;
        let by: Option<&str> = options.get("by")?;
        options.assert_all_used()?;
        let place = self.tables.get(alias).copied().ok_or_else(unknown_table)?;
        // What it may cost is bounded like everything else.
        state.consume_fuel(16)?;
        let row = match (texts(&key)?, by) {
            (None, _) => self.world.nothing(place),
            (Some(key), None) => self.world.by_key(place, &key),
            (Some(value), Some(column)) => match value.as_slice() {
                [value] => self.world.by_column(place, column, value),
                _ => {
                    return Err(argument(
                        "lookup",
                        "one value where it goes by a column",
                        &key,
                    ));
                }
            },
        };
        row.map(Value::from_dyn_object).ok_or_else(unknown_table)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// A key as texts, one for each column; `None` where one of them is none.
fn texts(key: &Value) -> Result<Option<Vec<String>>, Error> {
    let text = |value: &Value| match value.kind() {
        ValueKind::None => Ok(None),
        ValueKind::Bool => Ok(Some(if value.is_true() { "t" } else { "f" }.to_owned())),
        _ => print(value).map(Some),
    };
    match key.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let texts = items("lookup", key)?;
            texts.iter().map(text).collect()
        }
        _ => Ok(text(key)?.map(|text| vec![text])),
    }
}

/// The pack was checked; only a table without any column of use can be missing.
fn unknown_table() -> Error {
    Error::from(ErrorKind::UndefinedError)
}

/// `tx.inserted('table')` and its like.
#[derive(Debug)]
pub(crate) struct OfTransaction {
    pub(crate) world: Arc<World>,
    pub(crate) tables: Arc<Tables>,
}

impl Object for OfTransaction {
    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let (alias,): (&str,) = from_args(args)?;
        let place = self.tables.get(alias).copied().ok_or_else(unknown_table)?;
        let rows = self.world.rows(place, method);
        let rows = rows.ok_or_else(|| Error::from(ErrorKind::UnknownMethod))?;
        state.consume_fuel(1 + rows.len() as u64)?;
        let rows = rows
            .iter()
            .map(|row| Value::from_dyn_object(Arc::clone(row)));
        Ok(Value::from(rows.collect::<Vec<Value>>()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
