//! From a part of a transaction and the images of its rows to actions and images.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use activity::{Action, Key, OldRow, Operation, Origin, Part, Position, Source, TableName};

use crate::context::Context;
use crate::image::{Image, ImageWrite, Images, Loaded};
use crate::kept::KeptChange;
use crate::layout::Layouts;
use crate::net::{Before, Net, Nets, Outcome};
use crate::row::Cell;
use crate::rule::Rule;
use crate::tellings::Tellings;
use crate::trouble::Trouble;
use crate::turn::{Outline, Turn};
use crate::world::World;
use crate::{Rules, Shapes};

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
    /// Logical messages of ours that could not be read.
    pub unreadable: usize,
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
    /// What working it out again takes.
    pub kept: Option<Arc<KeptChange>>,
}

impl Rules {
    /// The images that [`Rules::derive`] reads: those of rows that the part updates or deletes
    /// before it inserted them.
    pub fn needs(&self, part: &Part, shapes: &Shapes) -> BTreeSet<(TableName, Key)> {
        let mut layouts = self.layouts(shapes);
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
    pub fn derive(&self, part: &Part, shapes: &Shapes, images: &Images) -> Derivation {
        self.derive_as(Origin::Stream, part, shapes, images)
    }

    /// The same for changes that were found in tables: their actions have the time that the row
    /// tells, and for [`Origin::Backfill`] rules that want none of it are left out.
    pub fn derive_as(
        &self,
        origin: Origin,
        part: &Part,
        shapes: &Shapes,
        images: &Images,
    ) -> Derivation {
        let mut layouts = self.layouts(shapes);
        let outcome = Nets::new(&mut layouts, images).of(&part.changes);
        let (context, unreadable) = match self.context {
            true => Context::of(part),
            false => Default::default(),
        };
        let mut derivation = Derivation {
            writes: writes(&outcome, images),
            truncated: self.table_names(&outcome.truncated),
            unreadable,
            ..Derivation::default()
        };
        let unfilled = outcome.nets.iter().filter_map(|net| self.unfilled(net));
        let unfilled: Vec<Fault> = unfilled.collect();
        let mut turns = self.truncations(&outcome.truncated, part, &mut layouts);
        turns.extend(outcome.nets.into_iter().filter_map(|net| self.turn(net)));
        turns.sort_by_key(|turn| turn.position);
        let world = self.world(&turns, shapes, images, context);
        match self.told(&turns, world, origin, part.is_partial(), &|_| true) {
            Ok((actions, faults)) => {
                derivation.actions = actions;
                derivation.faults = faults;
            }
            Err(missing) => {
                return Derivation {
                    missing,
                    ..Derivation::default()
                };
            }
        }
        // A rule that needed the value has said so already.
        for fault in unfilled {
            let known = |other: &Fault| (other.key == fault.key) & (other.table == fault.table);
            if !derivation.faults.iter().any(known) {
                derivation.faults.push(fault);
            }
        }
        for unkeyed in outcome.unkeyed {
            derivation.faults.push(Fault {
                table: unkeyed.relation.table.clone(),
                key: None,
                position: unkeyed.position,
                rule: None,
                reason: unkeyed.reason.clone(),
                kept: Some(Arc::new(unkeyed.kept())),
            });
        }
        derivation
    }

    /// What the rules that are `wanted` tell of the turns; the error is what lookups miss.
    pub(crate) fn told(
        &self,
        turns: &[Turn],
        world: World,
        origin: Origin,
        partial: bool,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(Vec<Derived>, Vec<Fault>), BTreeSet<Wanted>> {
        let world = Arc::new(world);
        let tellings = Tellings::new(self, origin, partial, &world, wanted);
        let (actions, faults) = tellings.of(turns);
        let missing = world.missing();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok((actions, faults))
    }

    /// Where the images of a part's rows stand afterwards, whatever rules make of it: what differs from
    /// those that were loaded.
    pub fn writes(&self, part: &Part, shapes: &Shapes, images: &Images) -> Vec<ImageWrite> {
        let mut layouts = self.layouts(shapes);
        let outcome = Nets::new(&mut layouts, images).of(&part.changes);
        writes(&outcome, images)
    }

    /// Images for a group of parts, in which rows can be found by the columns that lookups go by.
    pub fn images(&self) -> Images {
        let mut images = Images::default();
        for used in self.uses.iter() {
            for column in &used.unique {
                images.index(&used.table, column);
            }
        }
        images
    }

    /// The fault of an image that begins without a large value: no rule sees it until it is sent
    /// again. Told once for each row, since from then on there is an image.
    fn unfilled(&self, net: &Net) -> Option<Fault> {
        let is_whole = matches!(net.before, Before::Known(_)) || net.is_insert();
        let (false, Some((key, cells))) = (is_whole, &net.after) else {
            return None;
        };
        let place = cells.iter().position(|cell| *cell == Cell::Unfilled)?;
        let column = net.layout.columns.names.get(place)?.to_string();
        let ran = self.of_table(net.layout.table);
        let ran = ran.map(|(_, rule)| rule.id.clone()).collect();
        Some(Fault {
            table: net.layout.name().clone(),
            key: Some(key.clone()),
            position: net.position,
            rule: None,
            reason: Trouble::Unfilled { column }.to_string(),
            kept: Some(Arc::new(net.kept(key, cells, ran))),
        })
    }

    fn layouts<'a>(&'a self, shapes: &'a Shapes) -> Layouts<'a> {
        Layouts::new(&self.places, &self.named, shapes)
    }

    fn table_names(&self, places: &BTreeMap<usize, Position>) -> Vec<TableName> {
        let uses = places.keys().filter_map(|place| self.uses.get(*place));
        uses.map(|used| used.table.clone()).collect()
    }

    fn truncations(
        &self,
        truncated: &BTreeMap<usize, Position>,
        part: &Part,
        layouts: &mut Layouts<'_>,
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        for change in &part.changes {
            let Operation::Truncate { relations } = &change.operation else {
                continue;
            };
            for relation in relations {
                if let Some(layout) = layouts.of(relation)
                    && truncated.get(&layout.table) == Some(&change.position)
                {
                    turns.push(Turn::truncation(layout, change.position));
                }
            }
        }
        turns
    }

    /// `None` where nothing became of the row, or nobody asks.
    fn turn(&self, net: Net) -> Option<Turn> {
        let outline = Outline::of(&net)?;
        let table = net.layout.table;
        let concerns = self
            .of_table(table)
            .any(|(_, rule)| rule.concerns(&outline));
        (concerns || self.asked.contains(&table))
            .then(|| Turn::of(outline, net))
            .flatten()
    }

    pub(crate) fn world(
        &self,
        turns: &[Turn],
        shapes: &Shapes,
        images: &Images,
        context: Context,
    ) -> World {
        let mut world = World::new(self, shapes, images, context);
        for turn in turns {
            if self.asked.contains(&turn.layout.table) {
                world.take(turn);
            }
        }
        world
    }

    pub(crate) fn of_table(&self, place: usize) -> impl Iterator<Item = (usize, &Rule)> {
        let places = self.by_table.get(place).map_or(&[][..], Vec::as_slice);
        let rules = places.iter();
        rules.filter_map(|place| Some((*place, self.rules.get(*place)?)))
    }
}

/// The keys that the part touched, each with the image that is its last.
fn writes(outcome: &Outcome, images: &Images) -> Vec<ImageWrite> {
    type Last<'a> = (&'a Net, Option<Image>);
    let mut last: BTreeMap<(usize, &Key), Last<'_>> = BTreeMap::new();
    for net in &outcome.nets {
        if let Some((key, image)) = net.image() {
            last.insert((net.layout.table, key), (net, Some(image)));
        }
    }
    for net in &outcome.nets {
        if let Some(key) = &net.key_before {
            last.entry((net.layout.table, key)).or_insert((net, None));
        }
    }
    let differs = |((table, key), (net, image)): ((usize, &Key), Last<'_>)| {
        let name = net.layout.name();
        let stored = if outcome.truncated.contains_key(&table) {
            Some(&Loaded::Absent)
        } else {
            images.get(name, key)
        };
        let same = match (stored, &image) {
            // Columns that an earlier pack named go with the next write.
            (Some(Loaded::Known(stored)), Some(image)) => stored == image,
            (Some(Loaded::Absent), None) => !images.keeps_deletes(name),
            _ => false,
        };
        (!same).then(|| ImageWrite {
            table: name.clone(),
            key: key.clone(),
            image,
            key_before: net.key_before.clone(),
            unobserved: net.unobserved,
        })
    };
    last.into_iter().filter_map(differs).collect()
}
