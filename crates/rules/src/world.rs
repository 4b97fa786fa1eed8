//! Everything of one part that rules may ask for besides their own row.
//!
//! In go the part's net changes and the images from before it; out come rows of the transaction, and
//! rows by key or by a unique column as of its commit. What is not loaded is noted, and stands as
//! no row until it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use activity::{Event, Key, TableName};

use crate::context::Context;
use crate::derive::{By, Wanted};
use crate::image::{Image, Images, Loaded};
use crate::layout::Named;
use crate::row::{Cell, Columns, RowValue};
use crate::turn::Turn;
use crate::{Shape, TableUse};

#[derive(Debug)]
pub(crate) struct World {
    tables: Vec<OfTable>,
    images: Images,
    pub(crate) context: Arc<Context>,
    missing: Mutex<BTreeSet<Wanted>>,
}

#[derive(Debug)]
struct OfTable {
    name: TableName,
    shape: Shape,
    named: Arc<Named>,
    columns: Arc<Columns>,
    inserted: Vec<Arc<RowValue>>,
    updated: Vec<Arc<RowValue>>,
    deleted: Vec<Arc<RowValue>>,
    /// Rows by every key that they have or had: as the transaction leaves them, deleted ones as they
    /// were.
    by_key: HashMap<Key, Arc<RowValue>>,
    truncated: bool,
}

impl World {
    pub(crate) fn new(
        tables: impl Iterator<Item = (TableUse, Arc<Named>, Shape)>,
        images: Images,
        context: Context,
    ) -> Self {
        let tables = tables.map(|(used, named, shape)| OfTable {
            columns: Arc::new(columns(&used.table, &named, &shape)),
            name: used.table,
            shape,
            named,
            inserted: Vec::new(),
            updated: Vec::new(),
            deleted: Vec::new(),
            by_key: HashMap::new(),
            truncated: false,
        });
        Self {
            tables: tables.collect(),
            images,
            context: Arc::new(context),
            missing: Mutex::default(),
        }
    }

    /// Takes a net change in, so that other rules find it.
    pub(crate) fn take(&mut self, turn: &Turn) {
        let Some(table) = self.tables.get_mut(turn.layout.table) else {
            return;
        };
        let (row, rows) = match turn.event {
            Event::Insert => (&turn.new, &mut table.inserted),
            Event::Update => (&turn.new, &mut table.updated),
            Event::Delete => (&turn.old, &mut table.deleted),
            Event::Truncate => {
                table.truncated = true;
                return;
            }
            Event::Message => return,
        };
        rows.push(Arc::clone(row));
        let keys = turn.key_before.iter().chain([&turn.key]);
        for key in keys {
            let is_current = turn.event != Event::Delete && *key == turn.key;
            let entry = table.by_key.entry(key.clone());
            if is_current {
                entry.insert_entry(Arc::clone(row));
            } else {
                // A key that a row has now says more than one that a row had.
                entry.or_insert_with(|| Arc::clone(row));
            }
        }
    }

    /// What lookups asked for and did not find loaded.
    pub(crate) fn missing(&self) -> BTreeSet<Wanted> {
        let mut missing = self.missing.lock().expect("no holder panics");
        std::mem::take(&mut missing)
    }

    /// The rows of a table that the transaction inserted, updated or deleted.
    pub(crate) fn rows(&self, place: usize, method: &str) -> Option<&[Arc<RowValue>]> {
        let table = self.tables.get(place)?;
        match method {
            "inserted" => Some(&table.inserted),
            "updated" => Some(&table.updated),
            "deleted" => Some(&table.deleted),
            _ => None,
        }
    }

    pub(crate) fn nothing(&self, place: usize) -> Option<Arc<RowValue>> {
        let table = self.tables.get(place)?;
        Some(Arc::new(RowValue::none(Arc::clone(&table.columns))))
    }

    pub(crate) fn by_key(&self, place: usize, texts: &[String]) -> Option<Arc<RowValue>> {
        let table = self.tables.get(place)?;
        let key = Key::new(texts.iter().map(String::as_str));
        if let Some(row) = table.by_key.get(&key) {
            return Some(Arc::clone(row));
        }
        match self.images.get(&table.name, &key) {
            _ if table.truncated => self.nothing(place),
            Some(Loaded::Known(image)) => Some(table.of_image(image)),
            Some(Loaded::Absent) => self.nothing(place),
            None => {
                self.want(table, By::Key(key));
                self.nothing(place)
            }
        }
    }

    pub(crate) fn by_column(
        &self,
        place: usize,
        column: &str,
        value: &str,
    ) -> Option<Arc<RowValue>> {
        let table = self.tables.get(place)?;
        let has_it = |row: &&Arc<RowValue>| matches!(row.cell(column), Some(Cell::Text(text)) if **text == *value);
        let here = table.inserted.iter().chain(&table.updated);
        if let Some(row) = here.chain(&table.deleted).find(has_it) {
            return Some(Arc::clone(row));
        }
        match self.images.find(&table.name, column, value) {
            _ if table.truncated => self.nothing(place),
            // The transaction changed that row, and it does not have the value any more.
            Some(Some((key, _))) if table.by_key.contains_key(key) => self.nothing(place),
            Some(Some((_, image))) => Some(table.of_image(image)),
            Some(None) => self.nothing(place),
            None => {
                let (column, value) = (column.to_owned(), value.to_owned());
                self.want(table, By::Column { column, value });
                self.nothing(place)
            }
        }
    }

    fn want(&self, table: &OfTable, by: By) {
        let table = table.name.clone();
        let mut missing = self.missing.lock().expect("no holder panics");
        missing.insert(Wanted { table, by });
    }
}

impl OfTable {
    fn of_image(&self, image: &Image) -> Arc<RowValue> {
        let cell = |name: &Arc<str>| {
            if !self.shape.types.contains_key(&**name) {
                return Cell::Missing;
            }
            match image.get(name) {
                Some(Some(text)) => Cell::Text(text.clone()),
                // A column that no image holds yet is not worth losing an action for.
                Some(None) | None => Cell::Null,
            }
        };
        let cells = self.named.names.iter().map(cell).collect();
        Arc::new(RowValue::new(Arc::clone(&self.columns), cells))
    }
}

fn columns(table: &TableName, named: &Named, shape: &Shape) -> Columns {
    let type_oid = |name: &Arc<str>| shape.types.get(&**name).copied().unwrap_or(0);
    Columns {
        table: table.to_string(),
        names: Arc::clone(&named.names),
        type_oids: named.names.iter().map(type_oid).collect(),
    }
}
