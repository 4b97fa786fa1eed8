//! Works changes of the quarantine out again, under the rules that are in force now.

use std::sync::Arc;

use activity::{Column, Event, Key, Origin, Relation, ReplicaIdentity, TableName};

use crate::context::Context;
use crate::derive::{Derivation, Fault};
use crate::image::{Image, Images, Loaded};
use crate::kept::KeptChange;
use crate::layout::Layout;
use crate::net::{Before, Net};
use crate::row::Cell;
use crate::trouble::Trouble;
use crate::turn::{Outline, Turn};
use crate::{Rules, Shapes};

impl Rules {
    /// Derives kept changes of one transaction with `rule` alone, or, where that is `None`, with all
    /// rules of their tables that have not worked them out yet.
    ///
    /// A value of a new row that was not kept is taken from the row's image, if it has one. Gives neither
    /// action nor fault of a change where the rules are silent. `writes` is always empty.
    pub fn rederive(
        &self,
        changes: &[&KeptChange],
        rule: Option<&str>,
        shapes: &Shapes,
        images: &Images,
    ) -> Derivation {
        let mut derivation = Derivation::default();
        let mut turns = Vec::new();
        for change in changes {
            match self.restored(change, rule, shapes, images) {
                Ok(net) => {
                    turns.extend(Outline::of(&net).and_then(|outline| Turn::of(outline, net)));
                }
                Err(reason) => derivation.faults.push(Fault {
                    table: change.table.clone(),
                    key: change.key.clone(),
                    position: change.position,
                    rule: rule.map(str::to_owned),
                    reason,
                    kept: None,
                }),
            }
        }
        let context = match changes.first() {
            Some(change) if self.context => Context::new(change.context.clone()),
            _ => Context::default(),
        };
        let world = self.world(&turns, shapes, images, context);
        let wanted = |id: &str| match rule {
            Some(rule) => id == rule,
            None => !changes.iter().any(|change| change.ran.contains(id)),
        };
        match self.told(&turns, world, Origin::Stream, false, &wanted) {
            Ok((actions, faults)) => {
                derivation.actions = actions;
                derivation.faults.extend(faults);
                derivation
            }
            Err(missing) => Derivation {
                missing,
                ..Derivation::default()
            },
        }
    }

    /// The key whose image may hold what was not kept.
    pub fn key_of(&self, change: &KeptChange, shapes: &Shapes) -> Option<Key> {
        let known = change.key.clone();
        known.or_else(|| key(change.new.as_ref().or(change.old.as_ref())?, change, shapes))
    }

    /// Whether the rule makes one action of many rows.
    pub fn groups(&self, rule: &str) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|known| known.id == rule && known.group.is_some())
    }

    fn restored(
        &self,
        change: &KeptChange,
        rule: Option<&str>,
        shapes: &Shapes,
        images: &Images,
    ) -> Result<Net, String> {
        let table = &change.table;
        let gone = || format!("no rule names table {table} any more: discard the change");
        let place = *self.places.get(table).ok_or_else(gone)?;
        let named = self.named.get(place).ok_or_else(gone)?;
        if let Some(rule) = rule
            && !self.of_table(place).any(|(_, known)| known.id == rule)
        {
            return Err(format!(
                "table {table} has no rule {rule} any more: give it back, or discard the change"
            ));
        }
        let key = self.key_of(change, shapes);
        let key = key.ok_or("the row came without a value of its primary key")?;
        let now = shapes.get(table).map(|shape| &shape.types);
        let type_of = |name: &str| {
            let kept = change.types.get(name).copied();
            kept.or_else(|| now?.get(name).copied())
        };
        let relation = relation(table, &named.names, &type_of);
        let layout = Arc::new(Layout::new(place, named, &relation, shapes));
        let before = match &change.old {
            None => Before::Absent,
            Some(old) => {
                let mut cells = layout.map(|place| layout.held(old, place));
                layout.mark_before(&mut cells, change.old_known.then_some(old));
                match change.old_known {
                    true => Before::Known(cells),
                    false => Before::Unknown(cells),
                }
            }
        };
        let image = match images.get(table, &key) {
            Some(Loaded::Known(image)) => Some(image),
            Some(Loaded::Absent) | None => None,
        };
        let after = match &change.new {
            None => None,
            Some(new) => {
                let held = |image: Option<&Image>, place| match image {
                    Some(image) => layout.held(image, place),
                    None => Cell::Unknown,
                };
                let mut cells =
                    layout.map(|place| match (held(Some(new), place), held(image, place)) {
                        (Cell::Unknown, Cell::Unknown) => Cell::Unfilled,
                        (Cell::Unknown, now) => now,
                        (kept, _) => kept,
                    });
                if rule.is_none()
                    && let Some(at) = cells.iter().position(|cell| *cell == Cell::Unfilled)
                {
                    let column = named.names.get(at).map(ToString::to_string);
                    let column = column.unwrap_or_default();
                    return Err(Trouble::Unfilled { column }.to_string());
                }
                layout.mark(&mut cells, before.cells());
                Some((key.clone(), cells))
            }
        };
        let key_before = match change.event {
            Event::Insert => None,
            _ => change.key_before.clone().or(Some(key)),
        };
        Ok(Net {
            unobserved: false,
            layout,
            position: change.position,
            before,
            key_before,
            after,
            sent: None,
        })
    }
}

/// The table as it was then, and where the change kept nothing of a column, as it is now.
fn relation(
    table: &TableName,
    names: &[Arc<str>],
    type_of: &dyn Fn(&str) -> Option<u32>,
) -> Arc<Relation> {
    let column = |name: &Arc<str>| {
        Some(Column {
            name: name.to_string(),
            type_oid: type_of(name)?,
            type_modifier: -1,
            key: false,
        })
    };
    Arc::new(Relation {
        oid: 0,
        table: table.clone(),
        identity: ReplicaIdentity::Default,
        columns: names.iter().filter_map(column).collect(),
    })
}

fn key(image: &Image, change: &KeptChange, shapes: &Shapes) -> Option<Key> {
    let columns = &shapes.get(&change.table)?.key;
    let texts: Option<Vec<&str>> = columns
        .iter()
        .map(|column| image.get(column)?.map(|text| &**text))
        .collect();
    let texts = texts.filter(|texts| !texts.is_empty())?;
    Some(Key::new(texts))
}
