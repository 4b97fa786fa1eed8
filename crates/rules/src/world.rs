//! Everything of one part that rules may ask for besides their own row.
//!
//! In go the part's net changes and the images from before it; out come rows of the transaction, and
//! rows by key or by a unique column as of its commit. What is not loaded is noted, and stands as
//! no row until it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use activity::{Event, Key};

use crate::context::Context;
use crate::derive::{By, Wanted};
use crate::image::{Image, Images, Loaded};
use crate::layout::Named;
use crate::row::{Cell, Columns, RowValue};
use crate::turn::Turn;
use crate::{Rules, Shape, Shapes, TableUse};

#[derive(Debug)]
pub(crate) struct World {
    uses: Arc<[TableUse]>,
    named: Arc<[Arc<Named>]>,
    shapes: Shapes,
    images: Images,
    pub(crate) context: Arc<Context>,
    /// Of the tables that the part changes, by their places.
    tables: HashMap<usize, OfTable>,
    missing: Mutex<BTreeSet<Wanted>>,
}

/// What the part did to one table.
#[derive(Debug, Default)]
struct OfTable {
    inserted: Vec<Arc<RowValue>>,
    updated: Vec<Arc<RowValue>>,
    deleted: Vec<Arc<RowValue>>,
    /// Rows by every key that they have or had: as the transaction leaves them, deleted ones as they
    /// were.
    by_key: HashMap<Key, Arc<RowValue>>,
    truncated: bool,
}

impl World {
    pub(crate) fn new(rules: &Rules, shapes: &Shapes, images: &Images, context: Context) -> Self {
        Self {
            uses: Arc::clone(&rules.uses),
            named: Arc::clone(&rules.named),
            shapes: shapes.clone(),
            images: images.clone(),
            context: Arc::new(context),
            tables: HashMap::new(),
            missing: Mutex::default(),
        }
    }

    /// Takes a net change in, so that other rules find it.
    pub(crate) fn take(&mut self, turn: &Turn) {
        let table = self.tables.entry(turn.layout.table).or_default();
        let event = turn.outline.event;
        let (row, rows) = match event {
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
            let is_current = event != Event::Delete && *key == turn.key;
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

    /// The rows of a table that the transaction inserted, updated or deleted; `None` for another word.
    pub(crate) fn rows(&self, place: usize, method: &str) -> Option<&[Arc<RowValue>]> {
        let of: fn(&OfTable) -> &[Arc<RowValue>] = match method {
            "inserted" => |table| &table.inserted,
            "updated" => |table| &table.updated,
            "deleted" => |table| &table.deleted,
            _ => return None,
        };
        Some(self.tables.get(&place).map_or(&[], of))
    }

    /// No row; `None` where there is no such table.
    pub(crate) fn nothing(&self, place: usize) -> Option<Arc<RowValue>> {
        Some(Arc::new(RowValue::none(Arc::new(self.columns(place)?))))
    }

    pub(crate) fn by_key(&self, place: usize, texts: &[String]) -> Option<Arc<RowValue>> {
        let key = Key::new(texts.iter().map(String::as_str));
        let here = self.tables.get(&place);
        if let Some(row) = here.and_then(|table| table.by_key.get(&key)) {
            return Some(Arc::clone(row));
        }
        if here.is_some_and(|table| table.truncated) {
            return self.nothing(place);
        }
        let table = &self.uses.get(place)?.table;
        match self.images.get(table, &key) {
            Some(Loaded::Known(image)) => self.of_image(place, image),
            Some(Loaded::Absent) => match self.images.lent(table, None, key.as_str()) {
                Some(image) => self.of_image(place, image),
                None => self.nothing(place),
            },
            None => self.want(place, By::Key(key)),
        }
    }

    pub(crate) fn by_column(
        &self,
        place: usize,
        column: &str,
        value: &str,
    ) -> Option<Arc<RowValue>> {
        let has_it = |row: &&Arc<RowValue>| matches!(row.cell(column), Some(Cell::Text(text)) if **text == *value);
        let here = self.tables.get(&place);
        if let Some(table) = here {
            let rows = table.inserted.iter().chain(&table.updated);
            if let Some(row) = rows.chain(&table.deleted).find(has_it) {
                return Some(Arc::clone(row));
            }
            if table.truncated {
                return self.nothing(place);
            }
        }
        let table = &self.uses.get(place)?.table;
        match self.images.find(table, column, value) {
            // The transaction changed that row, and it does not have the value any more.
            Some(Some((key, _))) if here.is_some_and(|table| table.by_key.contains_key(key)) => {
                self.nothing(place)
            }
            Some(Some((_, image))) => self.of_image(place, image),
            Some(None) => match self.images.lent(table, Some(column), value) {
                Some(image) => self.of_image(place, image),
                None => self.nothing(place),
            },
            None => {
                let (column, value) = (column.to_owned(), value.to_owned());
                self.want(place, By::Column { column, value })
            }
        }
    }

    /// Notes what is missing; until it is loaded there is no such row.
    fn want(&self, place: usize, by: By) -> Option<Arc<RowValue>> {
        let table = self.uses.get(place)?.table.clone();
        let mut missing = self.missing.lock().expect("no holder panics");
        missing.insert(Wanted { table, by });
        drop(missing);
        self.nothing(place)
    }

    fn of_image(&self, place: usize, image: &Image) -> Option<Arc<RowValue>> {
        let shape = self.shape(place);
        let cell = |name: &Arc<str>| {
            if !shape.is_some_and(|shape| shape.types.contains_key(&**name)) {
                return Cell::Missing;
            }
            match image.get(name) {
                Some(Some(text)) => Cell::Text(text.clone()),
                // A column that no image holds yet is not worth losing an action for.
                Some(None) | None => Cell::Null,
            }
        };
        let cells = self.named.get(place)?.names.iter().map(cell).collect();
        Some(Arc::new(RowValue::new(
            Arc::new(self.columns(place)?),
            cells,
        )))
    }

    fn shape(&self, place: usize) -> Option<&Shape> {
        self.shapes.get(&self.uses.get(place)?.table)
    }

    fn columns(&self, place: usize) -> Option<Columns> {
        let shape = self.shape(place);
        let names = &self.named.get(place)?.names;
        let type_oid = |name: &Arc<str>| {
            let known = shape.and_then(|shape| shape.types.get(&**name));
            known.copied().unwrap_or(0)
        };
        Some(Columns {
            table: self.uses.get(place)?.table.to_string(),
            names: Arc::clone(names),
            type_oids: names.iter().map(type_oid).collect(),
        })
    }
}
