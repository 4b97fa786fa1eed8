//! Where a relation holds the columns that rules name, and its key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use activity::{Key, OldRow, Relation, ReplicaIdentity, Row, TableName, Value};

use crate::image::Image;
use crate::net::text;
use crate::row::{Cell, Columns};
use crate::{Shape, Shapes};

/// OIDs from here on are those of the worker's own types.
const FIRST_OWN_OID: u32 = 16_384;

/// What rules name of one table.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Columns, in ascending order.
    pub(crate) names: Arc<[Arc<str>]>,
    /// What `first(…)` asks for. A row's cells hold those of its columns, then one for each mark: a
    /// text where the row has ever had the value.
    pub(crate) marks: Vec<Mark>,
}

/// A value of a column that rows are remembered to have had.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Where the image keeps it. No column has such a name.
    pub(crate) name: Arc<str>,
    /// The column's place among the names.
    pub(crate) column: usize,
    pub(crate) value: String,
}

impl Mark {
    pub(crate) fn new(column: usize, name: &str, value: &str) -> Self {
        Self {
            name: format!("\u{1}{name}={value}").into(),
            column,
            value: value.to_owned(),
        }
    }

    fn is_in(&self, cells: &[Cell]) -> bool {
        matches!(cells.get(self.column), Some(Cell::Text(text)) if **text == *self.value)
    }
}

#[derive(Debug)]
pub(crate) struct Layout {
    /// The table's place in [`crate::Rules`].
    pub(crate) table: usize,
    pub(crate) columns: Arc<Columns>,
    pub(crate) named: Arc<Named>,
    relation: Arc<Relation>,
    /// Where each named column stands in the relation.
    positions: Vec<Option<usize>>,
    key: Result<Vec<usize>, String>,
}

impl Layout {
    pub(crate) fn new(
        table: usize,
        named: &Arc<Named>,
        relation: &Arc<Relation>,
        shapes: &Shapes,
    ) -> Self {
        let names = &named.names;
        let shape = shapes.get(&relation.table);
        let positions: Vec<_> = names.iter().map(|name| relation.position(name)).collect();
        let type_oid = |position: &Option<usize>| {
            let column = position.and_then(|at| relation.columns.get(at));
            column.map_or(0, |column| match shape {
                Some(shape) if column.type_oid >= FIRST_OWN_OID => {
                    let base = shape.types.get(&column.name).copied();
                    base.unwrap_or(column.type_oid)
                }
                _ => column.type_oid,
            })
        };
        let columns = Columns {
            table: relation.table.to_string(),
            names: Arc::clone(names),
            type_oids: positions.iter().map(type_oid).collect(),
        };
        Self {
            table,
            columns: Arc::new(columns),
            named: Arc::clone(named),
            relation: Arc::clone(relation),
            positions,
            key: key_positions(relation, shape),
        }
    }

    pub(crate) fn name(&self) -> &TableName {
        &self.relation.table
    }

    /// Whether the relation lacks a column that rules name.
    pub(crate) fn lacks_columns(&self) -> bool {
        self.positions.iter().any(Option::is_none)
    }

    /// The types of the columns that rules name and the relation has.
    pub(crate) fn types(&self) -> BTreeMap<Arc<str>, u32> {
        let columns = self.columns.names.iter().zip(&self.columns.type_oids);
        let present = columns.zip(&self.positions).filter(|(_, at)| at.is_some());
        present
            .map(|((name, type_oid), _)| (Arc::clone(name), *type_oid))
            .collect()
    }

    fn key_columns(&self) -> Result<&[usize], String> {
        self.key.as_deref().map_err(String::clone)
    }

    /// The key of a row; where a key value was not sent again, that of the old one.
    pub(crate) fn key(&self, row: &Row, old: Option<&Row>) -> Result<Key, String> {
        let mut texts = Vec::new();
        for &position in self.key_columns()? {
            let sent = |row: &'_ Row| match row.values.get(position) {
                Some(Value::Text(text)) => Some(text.clone()),
                _ => None,
            };
            match sent(row).or_else(|| sent(old?)) {
                Some(text) => texts.push(text),
                None => return Err("the row came without a value of its primary key".to_owned()),
            }
        }
        Ok(Key::new(texts.iter().map(|text| &**text)))
    }

    /// The key of an old row, of which the stream sends only the replica identity.
    pub(crate) fn old_key(&self, old: &OldRow) -> Result<Key, String> {
        let identifies =
            |position: &usize| self.relation.columns.get(*position).is_some_and(|c| c.key);
        if matches!(old, OldRow::Key(_)) && !self.key_columns()?.iter().all(identifies) {
            return Err("the table's replica identity does not hold its primary key".to_owned());
        }
        self.key(old.row(), None)
    }

    pub(crate) fn map(&self, cell: impl Fn(usize) -> Cell) -> Vec<Cell> {
        let present = |(place, position): (usize, &Option<usize>)| match position {
            Some(_) => cell(place),
            None => Cell::Missing,
        };
        self.positions.iter().enumerate().map(present).collect()
    }

    /// The named columns of a row; `unchanged` gives those that were not sent.
    pub(crate) fn cells(&self, row: &Row, unchanged: impl Fn(usize) -> Cell) -> Vec<Cell> {
        self.map(|place| self.sent(row, place).unwrap_or_else(|| unchanged(place)))
    }

    /// `None` for an unchanged TOAST value.
    pub(crate) fn sent(&self, row: &Row, place: usize) -> Option<Cell> {
        match row.values.get((*self.positions.get(place)?)?) {
            Some(Value::Text(text)) => Some(Cell::Text(text.clone())),
            Some(Value::Null) => Some(Cell::Null),
            Some(Value::Unchanged) => None,
            None => Some(Cell::Missing),
        }
    }

    /// Of an old row of which only the key was sent.
    pub(crate) fn key_cells(&self, row: &Row) -> Vec<Cell> {
        self.map(|place| {
            let position = self.positions.get(place).copied().flatten();
            let column = position.and_then(|at| self.relation.columns.get(at));
            let value = position.and_then(|at| row.values.get(at));
            match (column.is_some_and(|c| c.key), value.and_then(text)) {
                (true, Some(text)) => Cell::Text(text.clone()),
                _ => Cell::Unknown,
            }
        })
    }

    /// What an image holds of a column.
    pub(crate) fn held(&self, image: &Image, place: usize) -> Cell {
        match self
            .columns
            .names
            .get(place)
            .and_then(|name| image.get(name))
        {
            Some(Some(text)) => Cell::Text(text.clone()),
            Some(None) => Cell::Null,
            None => Cell::Unknown,
        }
    }

    /// Appends the marks of a row: what it has now, and what it had before.
    pub(crate) fn mark(&self, cells: &mut Vec<Cell>, before: Option<&[Cell]>) {
        let columns = self.columns.names.len();
        for (place, mark) in self.named.marks.iter().enumerate() {
            let held = before.and_then(|before| before.get(columns + place));
            cells.push(match held {
                _ if mark.is_in(cells) => reached(),
                Some(held) => held.clone(),
                None => Cell::Null,
            });
        }
    }

    /// Appends the marks of a row from before, as far as its image tells.
    pub(crate) fn mark_before(&self, cells: &mut Vec<Cell>, image: Option<&Image>) {
        for mark in &self.named.marks {
            let held = image.map(|image| image.get(&mark.name).is_some());
            cells.push(match held {
                _ if mark.is_in(cells) => reached(),
                Some(true) => reached(),
                Some(false) => Cell::Null,
                None => Cell::Unknown,
            });
        }
    }

    pub(crate) fn image(&self, cells: &[Cell]) -> Image {
        let marks = cells.iter().skip(self.columns.names.len());
        let marks = self.named.marks.iter().zip(marks);
        let marks = marks.filter_map(|(mark, cell)| match cell {
            Cell::Text(text) => Some((Arc::clone(&mark.name), Some(text.clone()))),
            Cell::Null | Cell::Missing | Cell::Unfilled | Cell::Unknown => None,
        });
        let known = self
            .columns
            .names
            .iter()
            .zip(cells)
            .filter_map(|(name, cell)| match cell {
                Cell::Null => Some((Arc::clone(name), None)),
                Cell::Text(text) => Some((Arc::clone(name), Some(text.clone()))),
                Cell::Missing | Cell::Unfilled | Cell::Unknown => None,
            });
        known.chain(marks).collect()
    }
}

fn reached() -> Cell {
    Cell::Text("t".into())
}

fn key_positions(relation: &Relation, shape: Option<&Shape>) -> Result<Vec<usize>, String> {
    let Some(Shape { key, .. }) = shape else {
        return Err("the table has no primary key".to_owned());
    };
    let renamed = renamed_key_column(relation, key);
    let position = |column: &String| {
        let position = relation.position(column).or(renamed);
        position.ok_or_else(|| format!("key column {column:?} is not in the stream"))
    };
    let positions: Result<Vec<_>, _> = key.iter().map(position).collect();
    match positions {
        Ok(positions) if positions.is_empty() => Err("the table has no primary key".to_owned()),
        positions => positions,
    }
}

/// Where the key has one column that the relation lacks, and the relation tells rows apart by one
/// column that the key lacks: it was renamed, before this row or after it.
fn renamed_key_column(relation: &Relation, key: &[String]) -> Option<usize> {
    if relation.identity != ReplicaIdentity::Default {
        return None;
    }
    let mut lacked = key.iter().filter(|c| relation.position(c).is_none());
    lacked.next()?;
    let columns = relation.columns.iter().enumerate();
    let mut identifying = columns.filter(|(_, c)| c.key && !key.contains(&c.name));
    let (place, _) = identifying.next()?;
    (lacked.next().is_none() && identifying.next().is_none()).then_some(place)
}

/// The layouts of one part: relations can change between its rows.
pub(crate) struct Layouts<'a> {
    places: &'a HashMap<TableName, usize>,
    named: &'a [Arc<Named>],
    shapes: &'a Shapes,
    /// The last one is asked for most.
    known: Vec<(Arc<Relation>, Option<Arc<Layout>>)>,
}

impl<'a> Layouts<'a> {
    pub(crate) fn new(
        places: &'a HashMap<TableName, usize>,
        named: &'a [Arc<Named>],
        shapes: &'a Shapes,
    ) -> Self {
        Self {
            places,
            named,
            shapes,
            known: Vec::new(),
        }
    }

    pub(crate) fn place(&self, table: &TableName) -> Option<usize> {
        self.places.get(table).copied()
    }

    /// `None` for a table that no rule names.
    pub(crate) fn of(&mut self, relation: &Arc<Relation>) -> Option<Arc<Layout>> {
        let known = self
            .known
            .iter()
            .rev()
            .find(|(known, _)| Arc::ptr_eq(known, relation));
        if let Some((_, layout)) = known {
            return layout.clone();
        }
        let layout = self.place(&relation.table).and_then(|table| {
            let named = self.named.get(table)?;
            Some(Arc::new(Layout::new(table, named, relation, self.shapes)))
        });
        self.known.push((Arc::clone(relation), layout.clone()));
        layout
    }
}
