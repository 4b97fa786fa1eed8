//! What the quarantine keeps of a change, so that it can be worked out again later.
//!
//! For an ordinary fault: the columns that rules name. Where the table lacked a column that the rule
//! names, the whole row as it was sent: the mended pack names columns that are not known yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use activity::{Event, Key, OldRow, Position, Relation, Row, TableName, Value};
use bytestring::ByteString;
use serde_json::{Map, Value as Json};

use crate::context::Context;
use crate::image::Image;
use crate::net::{Before, Net, Unkeyed};
use crate::row::Cell;
use crate::turn::Turn;

/// What one change may take of memory and room; the columns beyond it are left out, and are looked
/// for in the row's image when the change is worked out again.
const BYTES_MAX: usize = 16 << 20;

/// A net change, as far as it was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptChange {
    pub table: TableName,
    /// `None` where the row did not tell it.
    pub key: Option<Key>,
    /// The key that the row had before; `None` for an inserted one.
    pub key_before: Option<Key>,
    pub position: Position,
    pub event: Event,
    /// `None` for an inserted row. A column that is absent is not known.
    pub old: Option<Image>,
    /// Whether more of the old row was known than its key.
    pub old_known: bool,
    /// `None` for a deleted row.
    pub new: Option<Image>,
    /// The types of the columns that the table had.
    pub types: BTreeMap<Arc<str>, u32>,
    /// Rules that have worked the change out already.
    pub ran: BTreeSet<String>,
    /// What the transaction said of itself.
    pub context: Map<String, Json>,
}

impl KeptChange {
    /// Drops what is too much.
    pub(crate) fn bounded(mut self) -> Self {
        let mut room = BYTES_MAX;
        for image in [&mut self.new, &mut self.old].into_iter().flatten() {
            *image = std::mem::take(image)
                .into_columns()
                .filter(|(name, text)| {
                    let bytes = name.len() + text.as_ref().map_or(0, |text| text.len());
                    let fits = bytes <= room;
                    room -= if fits { bytes } else { 0 };
                    fits
                })
                .collect();
        }
        self
    }
}

/// The whole rows of one net change, kept while a column that rules name is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) old: Option<Image>,
    pub(crate) new: Option<Image>,
    pub(crate) types: BTreeMap<Arc<str>, u32>,
}

impl Sent {
    /// Of a change that could not be taken in at all.
    pub(crate) fn of(new: Option<&Row>, old: Option<&OldRow>) -> Self {
        let mut sent = Self::default();
        if let Some(old) = old {
            sent.before(None, Some(old));
        }
        sent.after(new);
        sent
    }

    /// What image and old row tell of the row before the part.
    pub(crate) fn before(&mut self, image: Option<&Image>, old: Option<&OldRow>) {
        let known = image.cloned().unwrap_or_default();
        let told = match old {
            Some(OldRow::Full(row)) => whole(row),
            Some(OldRow::Key(row)) => key_of(row),
            None => Image::default(),
        };
        self.old = Some(known.under(told));
    }

    /// What the row is now; what was not sent again is as it was.
    pub(crate) fn after(&mut self, new: Option<&Row>) {
        self.new = new.map(|row| {
            self.types = types_of(&row.relation);
            let before = self.new.take().unwrap_or_default();
            let row_now = whole(row);
            let unchanged = unchanged(row);
            let carried = before.into_columns();
            let carried: Image = carried
                .filter(|(name, _)| unchanged.contains(name))
                .collect();
            carried.under(row_now)
        });
    }
}

impl Turn {
    /// What the quarantine keeps: the columns that rules name, or the whole row as it was sent. `None` for
    /// what is no row.
    pub(crate) fn keep(&self, whole: bool, context: &Context) -> Option<Arc<KeptChange>> {
        if matches!(self.outline.event, Event::Truncate | Event::Message) {
            return None;
        }
        let sent = self.sent.as_deref().filter(|_| whole);
        let named = || Sent {
            old: Some(self.layout.image(self.old.cells())),
            new: Some(self.layout.image(self.new.cells())),
            types: self.layout.types(),
        };
        let [of_named, of_whole] = &self.kept;
        let kept = match sent {
            Some(sent) => of_whole.get_or_init(|| Arc::new(self.kept(sent.clone(), context))),
            None => of_named.get_or_init(|| Arc::new(self.kept(named(), context))),
        };
        Some(Arc::clone(kept))
    }

    fn kept(&self, sent: Sent, context: &Context) -> KeptChange {
        let change = KeptChange {
            table: self.layout.name().clone(),
            key: Some(self.key.clone()),
            key_before: self.key_before.clone(),
            position: self.position,
            event: self.outline.event,
            old: sent.old.filter(|_| self.outline.event != Event::Insert),
            old_known: self.outline.old_known,
            new: sent.new.filter(|_| self.outline.event != Event::Delete),
            types: sent.types,
            ran: BTreeSet::new(),
            context: context.fields().clone(),
        };
        change.bounded()
    }
}

impl Net {
    /// Of an update that left out a large value.
    pub(crate) fn kept(&self, key: &Key, cells: &[Cell], ran: BTreeSet<String>) -> KeptChange {
        let old = match &self.before {
            Before::Absent => None,
            Before::Known(cells) | Before::Unknown(cells) => Some(self.layout.image(cells)),
        };
        let change = KeptChange {
            table: self.layout.name().clone(),
            key: Some(key.clone()),
            key_before: self.key_before.clone(),
            position: self.position,
            event: match self.unobserved {
                true => Event::Insert,
                false => Event::Update,
            },
            old,
            old_known: matches!(self.before, Before::Known(_)),
            new: Some(self.layout.image(cells)),
            types: self.layout.types(),
            ran,
            context: Map::new(),
        };
        change.bounded()
    }
}

impl Unkeyed {
    pub(crate) fn kept(self) -> KeptChange {
        let Sent { old, new, types } = *self.sent;
        let types = match types.is_empty() {
            true => types_of(&self.relation),
            false => types,
        };
        let change = KeptChange {
            table: self.relation.table.clone(),
            key: None,
            key_before: None,
            position: self.position,
            event: self.event,
            old: old.or_else(|| (self.event == Event::Update).then(Default::default)),
            old_known: false,
            new,
            types,
            ran: BTreeSet::new(),
            context: Map::new(),
        };
        change.bounded()
    }
}

fn types_of(relation: &Relation) -> BTreeMap<Arc<str>, u32> {
    let columns = relation.columns.iter();
    columns
        .map(|column| (Arc::from(column.name.as_str()), column.type_oid))
        .collect()
}

fn whole(row: &Row) -> Image {
    image(row, |_| true)
}

/// Of an old row of which only the key was sent.
fn key_of(row: &Row) -> Image {
    image(row, |place| {
        row.relation.columns.get(place).is_some_and(|c| c.key)
    })
}

fn image(row: &Row, wanted: impl Fn(usize) -> bool) -> Image {
    let columns = row.relation.columns.iter().zip(&row.values).enumerate();
    columns
        .filter(|(place, _)| wanted(*place))
        .filter_map(|(_, (column, value))| {
            let text: Option<ByteString> = match value {
                Value::Text(text) => Some(text.clone()),
                Value::Null => None,
                Value::Unchanged => return None,
            };
            Some((Arc::from(column.name.as_str()), text))
        })
        .collect()
}

fn unchanged(row: &Row) -> BTreeSet<Arc<str>> {
    let columns = row.relation.columns.iter().zip(&row.values);
    columns
        .filter(|(_, value)| **value == Value::Unchanged)
        .map(|(column, _)| Arc::from(column.name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_too_large_is_kept_without_its_largest_column() {
        let text = |bytes: usize| Some(ByteString::from("x".repeat(bytes)));
        let columns = [("a", text(10)), ("b", text(BYTES_MAX)), ("c", None)];
        let columns = columns.map(|(name, text)| (Arc::from(name), text));
        let change = KeptChange {
            table: TableName::new("public", "t"),
            key: None,
            key_before: None,
            position: Position {
                lsn: activity::Lsn::ZERO,
                index: 0,
            },
            event: Event::Insert,
            old: None,
            old_known: true,
            new: Some(columns.into_iter().collect()),
            types: BTreeMap::new(),
            ran: BTreeSet::new(),
            context: Map::new(),
        };
        let kept = change.bounded().new.unwrap();
        assert_eq!(kept.columns().collect::<Vec<_>>(), ["a", "c"]);
    }
}
