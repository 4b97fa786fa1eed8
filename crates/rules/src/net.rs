//! Net changes: what became of each row between the beginning and the end of a part.
//!
//! In go the changes of one part and the images from before it; out come one net change per row,
//! in the order of each row's first change, and where the images stand afterwards. Insert and
//! delete cancel out, delete and insert of one key make an update, a moved key stays one row, and
//! a TRUNCATE ends what came before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use activity::{Change, Event, Key, OldRow, Operation, Position, Relation, Row, Value};

use crate::image::{Image, Images, Loaded};
use crate::kept::Sent;
use crate::layout::{Layout, Layouts};
use crate::row::Cell;

/// What became of one row.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) layout: Arc<Layout>,
    /// Of the row's first change.
    pub(crate) position: Position,
    pub(crate) before: Before,
    /// The key that the row had before the part; `None` for an inserted one.
    pub(crate) key_before: Option<Key>,
    /// `None` for a deleted row.
    pub(crate) after: Option<(Key, Vec<Cell>)>,
    /// Whether there was a row before, which came into being where nobody watched.
    pub(crate) unobserved: bool,
    /// The whole rows, where the table lacks a column that rules name.
    pub(crate) sent: Option<Box<Sent>>,
}

#[derive(Debug)]
pub(crate) enum Before {
    /// There was no such row.
    Absent,
    Known(Vec<Cell>),
    /// There was a row, but no image of it. The cells hold what the stream told of it: its key.
    Unknown(Vec<Cell>),
}

/// A change that could not be taken in.
#[derive(Debug)]
pub(crate) struct Unkeyed {
    pub(crate) relation: Arc<Relation>,
    pub(crate) position: Position,
    pub(crate) reason: String,
    pub(crate) event: Event,
    pub(crate) sent: Box<Sent>,
}

pub(crate) struct Nets<'a, 'l> {
    layouts: &'a mut Layouts<'l>,
    images: &'a Images,
    /// `None` where nothing was left of a row.
    entries: Vec<Option<Net>>,
    /// The entry of the row that has a key now, or of the deleted one that had it.
    rows: HashMap<(usize, Key), usize>,
    truncated: BTreeMap<usize, Position>,
    unkeyed: Vec<Unkeyed>,
}

/// Everything that a part did.
pub(crate) struct Outcome {
    pub(crate) nets: Vec<Net>,
    /// Places of tables, each with where it was truncated last.
    pub(crate) truncated: BTreeMap<usize, Position>,
    pub(crate) unkeyed: Vec<Unkeyed>,
}

impl<'a, 'l> Nets<'a, 'l> {
    pub(crate) fn new(layouts: &'a mut Layouts<'l>, images: &'a Images) -> Self {
        Self {
            layouts,
            images,
            entries: Vec::new(),
            rows: HashMap::new(),
            truncated: BTreeMap::new(),
            unkeyed: Vec::new(),
        }
    }

    pub(crate) fn of(mut self, changes: &[Change]) -> Outcome {
        for change in changes {
            self.take(change);
        }
        Outcome {
            nets: self.entries.into_iter().flatten().collect(),
            truncated: self.truncated,
            unkeyed: self.unkeyed,
        }
    }

    fn take(&mut self, change: &Change) {
        let relation = match &change.operation {
            Operation::Insert { new } | Operation::Update { new, .. } => &new.relation,
            Operation::Delete { old } => &old.row().relation,
            Operation::Truncate { relations } => {
                for relation in relations {
                    if let Some(table) = self.layouts.place(&relation.table) {
                        self.truncate(table, change.position);
                    }
                }
                return;
            }
            Operation::Message { .. } => return,
        };
        let Some(layout) = self.layouts.of(relation) else {
            return;
        };
        let taken = match &change.operation {
            Operation::Insert { new } => self.insert(&layout, change.position, new),
            Operation::Update { old, new } => {
                self.update(&layout, change.position, old.as_ref(), new)
            }
            Operation::Delete { old } => self.delete(&layout, change.position, old),
            Operation::Truncate { .. } | Operation::Message { .. } => Ok(()),
        };
        if let Err(reason) = taken {
            let (event, new, old) = match &change.operation {
                Operation::Insert { new } => (Event::Insert, Some(new), None),
                Operation::Update { old, new } => (Event::Update, Some(new), old.as_ref()),
                Operation::Delete { old } => (Event::Delete, None, Some(old)),
                Operation::Truncate { .. } | Operation::Message { .. } => return,
            };
            self.unkeyed.push(Unkeyed {
                relation: Arc::clone(relation),
                position: change.position,
                reason,
                event,
                sent: Box::new(Sent::of(new, old)),
            });
        }
    }

    fn truncate(&mut self, table: usize, position: Position) {
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|net| net.layout.table == table) {
                *entry = None;
            }
        }
        self.rows.retain(|(place, _), _| *place != table);
        self.truncated.insert(table, position);
    }

    fn entry(&mut self, layout: &Layout, key: &Key) -> Option<(usize, &mut Net)> {
        let at = *self.rows.get(&(layout.table, key.clone()))?;
        let net = self.entries.get_mut(at)?.as_mut()?;
        Some((at, net))
    }

    fn push(&mut self, key: Key, net: Net) {
        self.rows
            .insert((net.layout.table, key), self.entries.len());
        self.entries.push(Some(net));
    }

    fn insert(
        &mut self,
        layout: &Arc<Layout>,
        position: Position,
        new: &Row,
    ) -> Result<(), String> {
        let key = layout.key(new, None)?;
        let mut cells = layout.cells(new, |_| Cell::Unfilled);
        if let Some((_, net)) = self.entry(layout, &key) {
            layout.mark(&mut cells, net.before.cells());
            net.layout = Arc::clone(layout);
            net.after = Some((key.clone(), cells));
            net.keep(new);
            return Ok(());
        }
        layout.mark(&mut cells, None);
        let after = Some((key.clone(), cells));
        let mut net = Net {
            layout: Arc::clone(layout),
            position,
            before: Before::Absent,
            key_before: None,
            after,
            unobserved: false,
            sent: None,
        };
        net.keep(new);
        self.push(key, net);
        Ok(())
    }

    fn update(
        &mut self,
        layout: &Arc<Layout>,
        position: Position,
        old: Option<&OldRow>,
        new: &Row,
    ) -> Result<(), String> {
        let key = layout.key(new, old.map(OldRow::row))?;
        let old_key = match old {
            Some(old) => layout.old_key(old)?,
            None => key.clone(),
        };
        let full = match old {
            Some(OldRow::Full(row)) => Some(row),
            Some(OldRow::Key(_)) | None => None,
        };
        if self.entry(layout, &old_key).is_none() {
            let before = self.before(layout, &old_key, full);
            let net = Net {
                layout: Arc::clone(layout),
                position,
                unobserved: matches!(before, Before::Absent),
                before,
                key_before: Some(old_key.clone()),
                after: None,
                sent: self.sent(layout, &old_key, old),
            };
            self.push(old_key.clone(), net);
        }
        let Some((at, net)) = self.entry(layout, &old_key) else {
            return Ok(());
        };
        let current = match &net.after {
            Some((_, cells)) => Some(cells.as_slice()),
            None => net.before.cells(),
        };
        let unchanged = |place: usize| {
            let held = current.and_then(|cells| cells.get(place));
            let held = held.filter(|cell| matches!(cell, Cell::Null | Cell::Text(_)));
            let sent = || layout.sent(full?, place);
            held.cloned().or_else(sent).unwrap_or(Cell::Unfilled)
        };
        let mut cells = layout.cells(new, unchanged);
        layout.mark(&mut cells, current);
        net.layout = Arc::clone(layout);
        net.after = Some((key.clone(), cells));
        net.keep(new);
        if key != old_key {
            self.rows.remove(&(layout.table, old_key));
            self.rows.insert((layout.table, key), at);
        }
        Ok(())
    }

    fn delete(
        &mut self,
        layout: &Arc<Layout>,
        position: Position,
        old: &OldRow,
    ) -> Result<(), String> {
        let key = layout.old_key(old)?;
        let Some((at, net)) = self.entry(layout, &key) else {
            let full = match old {
                OldRow::Full(row) => Some(row),
                OldRow::Key(_) => None,
            };
            let mut before = self.before(layout, &key, full);
            if let Before::Unknown(cells) = &mut before {
                *cells = layout.key_cells(old.row());
                layout.mark_before(cells, None);
            }
            let net = Net {
                layout: Arc::clone(layout),
                position,
                unobserved: matches!(before, Before::Absent),
                before,
                key_before: Some(key.clone()),
                after: None,
                sent: self.sent(layout, &key, Some(old)),
            };
            self.push(key, net);
            return Ok(());
        };
        net.after = None;
        let key_before = net.key_before.clone();
        self.rows.remove(&(layout.table, key));
        match key_before {
            // The row is remembered by the key that its image has, so that an insert of that key
            // makes an update of both.
            Some(key_before) => {
                self.rows.entry((layout.table, key_before)).or_insert(at);
            }
            None => {
                if let Some(entry) = self.entries.get_mut(at) {
                    *entry = None;
                }
            }
        }
        Ok(())
    }

    /// The whole row from before the part, where it is to be kept.
    fn sent(&self, layout: &Layout, key: &Key, old: Option<&OldRow>) -> Option<Box<Sent>> {
        if !layout.lacks_columns() {
            return None;
        }
        let image = match self.images.get(layout.name(), key) {
            Some(Loaded::Known(image)) if !self.truncated.contains_key(&layout.table) => {
                Some(image)
            }
            _ => None,
        };
        let mut sent = Sent::default();
        sent.before(image, old);
        Some(Box::new(sent))
    }

    /// The row from before the part: the old tuple where all of it was sent, else the image. After a gap it is
    /// what was seen last, not what nobody saw: the image, and no row where there is none.
    fn before(&self, layout: &Layout, key: &Key, full: Option<&Row>) -> Before {
        let image = match self.images.get(layout.name(), key) {
            Some(Loaded::Known(image)) if !self.truncated.contains_key(&layout.table) => {
                Some(image)
            }
            _ => None,
        };
        let after_gap = self.images.follow_a_gap(layout.name());
        if after_gap && image.is_none() {
            return Before::Absent;
        }
        let full = full.filter(|_| !after_gap);
        let from_image =
            |place: usize| image.map_or(Cell::Unknown, |image| layout.held(image, place));
        let mut cells = match full {
            Some(row) => layout.cells(row, from_image),
            None => layout.map(from_image),
        };
        layout.mark_before(&mut cells, image);
        match (full, image) {
            (None, None) => Before::Unknown(cells),
            (Some(_), _) | (_, Some(_)) => Before::Known(cells),
        }
    }
}

impl Before {
    /// What is known of the row.
    pub(crate) fn cells(&self) -> Option<&[Cell]> {
        match self {
            Self::Absent => None,
            Self::Known(cells) | Self::Unknown(cells) => Some(cells),
        }
    }
}

/// The text of a value that is there.
pub(crate) fn text(value: &Value) -> Option<&bytestring::ByteString> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Unchanged => None,
    }
}

impl Net {
    /// Whether all of the row was sent, as it is with a new one.
    pub(crate) fn is_insert(&self) -> bool {
        matches!(self.before, Before::Absent) && !self.unobserved
    }

    /// Keeps the row as it was sent, where the table lacks a column that rules name.
    fn keep(&mut self, new: &Row) {
        if self.layout.lacks_columns() {
            self.sent.get_or_insert_default().after(Some(new));
        }
    }

    /// Where the row's image stands afterwards.
    pub(crate) fn image(&self) -> Option<(&Key, Image)> {
        let (key, cells) = self.after.as_ref()?;
        Some((key, self.layout.image(cells)))
    }
}
