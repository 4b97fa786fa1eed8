//! From a part of a transaction and the images of its rows to actions and images.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use activity::{Action, Event, Key, OldRow, Operation, Part, Position, Source, TableName};

use crate::image::{Image, ImageWrite, Images, Loaded};
use crate::layout::{Layout, Layouts};
use crate::net::{Before, Net, Nets, Outcome};
use crate::row::{Cell, RowValue};
use crate::rule::Stop;
use crate::scope::Scope;
use crate::trouble::Trouble;
use crate::{Keys, Rules};

/// What a part gives: apply `truncated` before `writes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Derivation {
    /// In order: by each row's first change, then as the packs list their rules.
    pub actions: Vec<Derived>,
    /// Only what differs from the images that were loaded.
    pub writes: Vec<ImageWrite>,
    /// Tables of which all images are gone.
    pub truncated: Vec<TableName>,
    pub faults: Vec<Fault>,
    /// Rows that lookups asked for and that were not loaded. Where there are any, everything else here is
    /// void: load them into the images and derive again.
    pub missing: BTreeSet<Wanted>,
}

/// A row that a rule looks up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    pub table: TableName,
    pub by: By,
}

/// What tells the row from all others of its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    Key(Key),
    /// A column that is unique.
    Column {
        column: String,
        value: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub source: Source,
    pub action: Action,
}

/// A change, or one rule for it, that could not be worked out. Other rules and rows go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub table: TableName,
    /// `None` where the stream did not tell the row's key.
    pub key: Option<Key>,
    pub position: Position,
    /// With its pack; `None` where the change concerns all rules.
    pub rule: Option<String>,
    /// Names rules, keys and columns, never a row's value.
    pub reason: String,
}

impl Rules {
    /// The images that [`Rules::derive`] reads: those of rows that the part updates or deletes
    /// before it inserted them.
    pub fn needs(&self, part: &Part, keys: &Keys) -> BTreeSet<(TableName, Key)> {
        let mut layouts = self.layouts(keys);
        let mut seen = HashSet::new();
        let mut needed = BTreeSet::new();
        for change in &part.changes {
            let (relation, new, old) = match &change.operation {
                Operation::Insert { new } => (&new.relation, Some(new), None),
                Operation::Update { old, new } => (&new.relation, Some(new), old.as_ref()),
                Operation::Delete { old } => (&old.row().relation, None, Some(old)),
                Operation::Truncate { .. } | Operation::Message { .. } => continue,
            };
            let Some(layout) = layouts.of(relation) else {
                continue;
            };
            let key_after = new.and_then(|new| layout.key(new, old.map(OldRow::row)).ok());
            if !matches!(change.operation, Operation::Insert { .. }) {
                let key_before = match old {
                    Some(old) => layout.old_key(old).ok(),
                    None => key_after.clone(),
                };
                if let Some(key) = key_before
                    && seen.insert((layout.table, key.clone()))
                {
                    needed.insert((layout.name().clone(), key));
                }
            }
            seen.extend(key_after.map(|key| (layout.table, key)));
        }
        needed
    }

    /// Never fails as a whole: what a rule can't work out is one of the faults.
    pub fn derive(&self, part: &Part, keys: &Keys, images: &Images) -> Derivation {
        let outcome = Nets::new(self.layouts(keys), images).of(&part.changes);
        let mut derivation = Derivation {
            writes: writes(&outcome, images),
            truncated: self.table_names(&outcome.truncated),
            ..Derivation::default()
        };
        for net in outcome.nets {
            let unfilled = unfilled(&net);
            let faults = derivation.faults.len();
            self.run(net, &mut derivation);
            // A rule that needed the value has said so already.
            if derivation.faults.len() == faults {
                derivation.faults.extend(unfilled);
            }
        }
        for unkeyed in outcome.unkeyed {
            derivation.faults.push(Fault {
                table: unkeyed.relation.table.clone(),
                key: None,
                position: unkeyed.position,
                rule: None,
                reason: unkeyed.reason,
            });
        }
        derivation
    }

    fn layouts<'a>(&'a self, keys: &'a Keys) -> Layouts<'a> {
        Layouts::new(&self.places, &self.names, keys)
    }

    fn table_names(&self, places: &BTreeSet<usize>) -> Vec<TableName> {
        let uses = places.iter().filter_map(|place| self.uses.get(*place));
        uses.map(|used| used.table.clone()).collect()
    }

    /// Runs the rules that the net change concerns.
    fn run(&self, net: Net, derivation: &mut Derivation) {
        let (old_cells, old_known) = match net.before {
            Before::Absent => (None, true),
            Before::Known(cells) => (Some(cells), true),
            Before::Unknown(cells) => (Some(cells), false),
        };
        let (key, new_cells) = match net.after {
            Some((key, cells)) => (Some(key), Some(cells)),
            None => (net.key_before, None),
        };
        let event = match (&old_cells, &new_cells) {
            (None, Some(_)) => Event::Insert,
            (Some(_), Some(_)) => Event::Update,
            (Some(_), None) => Event::Delete,
            (None, None) => return,
        };
        let changed = match (&old_cells, &new_cells) {
            (Some(old), Some(new)) => new
                .iter()
                .zip(old)
                .map(|(new, old)| differs(new, old))
                .collect(),
            _ => Vec::new(),
        };
        let of_table = self
            .by_table
            .get(net.layout.table)
            .map_or(&[][..], Vec::as_slice);
        let rules = of_table.iter().filter_map(|place| self.rules.get(*place));
        let mut concerned = rules
            .filter(|rule| rule.concerns(event, &changed, old_known))
            .peekable();
        let (Some(_), Some(key)) = (concerned.peek(), key) else {
            return;
        };
        let row = |cells: Option<Vec<Cell>>| {
            let columns = Arc::clone(&net.layout.columns);
            Arc::new(match cells {
                Some(cells) => RowValue::new(columns, cells),
                None => RowValue::none(columns),
            })
        };
        let scope = Scope::new(row(new_cells), row(old_cells));
        let names = changed_names(&net.layout, &changed);
        for rule in concerned {
            match rule.run(&self.environment, &scope) {
                Ok(actions) => {
                    let source = || Source {
                        rule: rule.id.clone(),
                        version: Arc::clone(&rule.version),
                        event,
                        changed: names.clone(),
                        table: net.layout.name().clone(),
                        key: key.clone(),
                        position: net.position,
                    };
                    let derived = actions.into_iter().map(|action| Derived {
                        source: source(),
                        action,
                    });
                    derivation.actions.extend(derived);
                }
                Err(Stop::Silent) => {}
                Err(Stop::Fault(reason)) => derivation.faults.push(Fault {
                    table: net.layout.name().clone(),
                    key: Some(key.clone()),
                    position: net.position,
                    rule: Some(rule.id.clone()),
                    reason,
                }),
            }
        }
    }
}

/// The columns that an update changed.
fn changed_names(layout: &Layout, changed: &[bool]) -> Vec<Arc<str>> {
    let names = layout.columns.names.iter().zip(changed);
    names
        .filter_map(|(name, changed)| changed.then(|| Arc::clone(name)))
        .collect()
}

/// The fault of an image that begins without a large value: no rule sees it until it is sent again.
/// Told once for each row, since from then on there is an image.
fn unfilled(net: &Net) -> Option<Fault> {
    let (Before::Unknown(_), Some((key, cells))) = (&net.before, &net.after) else {
        return None;
    };
    let place = cells.iter().position(|cell| *cell == Cell::Unfilled)?;
    let column = net.layout.columns.names.get(place)?.to_string();
    Some(Fault {
        table: net.layout.name().clone(),
        key: Some(key.clone()),
        position: net.position,
        rule: None,
        reason: Trouble::Unfilled { column }.to_string(),
    })
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

/// The keys that the part touched, each with the image that is its last.
fn writes(outcome: &Outcome, images: &Images) -> Vec<ImageWrite> {
    let mut last: BTreeMap<(usize, &Key), (&Layout, Option<Image>)> = BTreeMap::new();
    for net in &outcome.nets {
        if let Some((key, image)) = net.image() {
            last.insert((net.layout.table, key), (&net.layout, Some(image)));
        }
    }
    for net in &outcome.nets {
        if let Some(key) = &net.key_before {
            last.entry((net.layout.table, key))
                .or_insert((&net.layout, None));
        }
    }
    let differs = |((table, key), (layout, image)): ((usize, &Key), (&Layout, Option<Image>))| {
        let stored = if outcome.truncated.contains(&table) {
            Some(&Loaded::Absent)
        } else {
            images.get(layout.name(), key)
        };
        let same = match (stored, &image) {
            // Columns that an earlier pack named go with the next write.
            (Some(Loaded::Known(stored)), Some(image)) => stored == image,
            (Some(Loaded::Absent), None) => true,
            _ => false,
        };
        (!same).then(|| ImageWrite {
            table: layout.name().clone(),
            key: key.clone(),
            image,
        })
    };
    last.into_iter().filter_map(differs).collect()
}
