//! Plays cases: what a worker would commit, and the images that Tidings would hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use activity::{
    Begin, Change, Column, Key, Lsn, OldRow, Operation, Part, Position, Relation, ReplicaIdentity,
    Row, TableName, Value, Xid,
};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::cell::{TEXT, cell};
use super::{Case, ChangeText, RowText, Suite, Transaction};
use crate::error::{Errors, Place, Report};
use crate::hint::hint;
use crate::{By, Derivation, Derived, Fault, Image, Images, Loaded, Rules, Shape, Shapes, Wanted};

/// Chains of lookups are shorter; a bound all the same.
const ROUNDS_MAX: usize = 32;
/// When every transaction of a case commits.
const COMMIT_SECOND: i64 = 1_767_225_600;

/// The tables of a pack, as the cases describe them.
pub(super) struct Stage<'a> {
    rules: &'a Rules,
    relations: HashMap<String, Arc<Relation>>,
    shapes: Shapes,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        suite: &Suite,
        rules: &'a Rules,
        aliases: &BTreeMap<String, TableName>,
    ) -> Result<Self, Errors> {
        let mut report = Report::new(&suite.origin);
        let mut stage = Self {
            rules,
            relations: HashMap::new(),
            shapes: Shapes::default(),
        };
        for table in &suite.tables {
            if !aliases.contains_key(&table.alias) {
                let known: Vec<&str> = aliases.keys().map(String::as_str).collect();
                let place = Place {
                    line: table.line,
                    rule: None,
                    key: Some(&table.alias),
                };
                let hint = hint("table", &table.alias, &known);
                report.add(place, "the pack has no such table", hint);
            }
        }
        for (place, (alias, name)) in aliases.iter().enumerate() {
            let described = suite.tables.iter().find(|table| table.alias == *alias);
            let mut key = described.map_or(Vec::new(), |table| table.key.clone());
            let mut columns = key.clone();
            columns.extend(
                described
                    .into_iter()
                    .flat_map(|table| table.columns.iter().cloned()),
            );
            let used = rules.tables().find(|used| used.table == *name);
            columns.extend(
                used.into_iter()
                    .flat_map(|used| used.columns.iter().cloned()),
            );
            let mut seen = std::collections::BTreeSet::new();
            columns.retain(|column| seen.insert(column.clone()));
            // A table that no case names has rows of its own in none of them.
            if key.is_empty() {
                key.extend(columns.first().cloned());
            }
            let types = described.map_or(&[][..], |table| &table.types);
            let type_oid = |column: &str| {
                types
                    .iter()
                    .find(|(name, _)| name == column)
                    .map_or(TEXT, |(_, oid)| *oid)
            };
            let relation = Relation {
                oid: u32::try_from(place).unwrap_or(u32::MAX),
                table: name.clone(),
                identity: ReplicaIdentity::Default,
                columns: columns
                    .iter()
                    .map(|column| Column {
                        type_oid: type_oid(column),
                        type_modifier: -1,
                        key: key.contains(column),
                        name: column.clone(),
                    })
                    .collect(),
            };
            let types = columns
                .iter()
                .map(|column| (column.clone(), type_oid(column)))
                .collect();
            stage.shapes.insert(name.clone(), Shape { key, types });
            stage.relations.insert(alias.clone(), Arc::new(relation));
        }
        match report.into_problems() {
            problems if problems.is_empty() => Ok(stage),
            problems => Err(Errors(problems)),
        }
    }

    pub(super) fn play(&self, case: &Case) -> Played {
        let mut worker = Worker {
            stage: self,
            rows: HashMap::new(),
            images: BTreeMap::new(),
            lsn: 0x1000,
        };
        for row in &case.rows {
            worker.remember(row);
        }
        let (mut actions, mut faults) = (Vec::new(), Vec::new());
        for transaction in &case.transactions {
            let derivation = worker.commit(transaction);
            actions.extend(derivation.actions);
            faults.extend(derivation.faults);
        }
        Played { actions, faults }
    }
}

/// Everything that a case came to.
pub(super) struct Played {
    pub(super) actions: Vec<Derived>,
    pub(super) faults: Vec<Fault>,
}

/// A database with the images of it.
struct Worker<'a> {
    stage: &'a Stage<'a>,
    /// Rows as the worker sees them.
    rows: HashMap<(TableName, Key), Vec<Value>>,
    images: BTreeMap<(TableName, Key), Image>,
    lsn: u64,
}

impl Worker<'_> {
    fn relation(&self, alias: &str) -> Option<Arc<Relation>> {
        self.stage.relations.get(alias).cloned()
    }

    /// A row from before the case, with its image.
    fn remember(&mut self, row: &RowText) {
        let Some(relation) = self.relation(&row.alias.text) else {
            return;
        };
        let values = whole(&relation, row, None);
        let Some(key) = key_of(&relation, &values) else {
            return;
        };
        let used = self
            .stage
            .rules
            .tables()
            .find(|used| used.table == relation.table);
        let named = |column: &Column| used.is_some_and(|used| used.columns.contains(&column.name));
        let held = relation
            .columns
            .iter()
            .zip(&values)
            .filter(|(column, _)| named(column));
        let image = held.map(|(column, value)| {
            let text = match value {
                Value::Text(text) => Some(text.clone()),
                Value::Null | Value::Unchanged => None,
            };
            (Arc::from(column.name.as_str()), text)
        });
        let image = image.collect();
        self.images
            .insert((relation.table.clone(), key.clone()), image);
        self.rows.insert((relation.table.clone(), key), values);
    }

    fn commit(&mut self, transaction: &Transaction) -> Derivation {
        let message = transaction
            .context
            .iter()
            .map(|context| Operation::Message {
                prefix: "tidings".to_owned(),
                content: context.to_string().into_bytes(),
            });
        let mut operations: Vec<Operation> = message.collect();
        for change in &transaction.changes {
            operations.extend(self.operation(change));
        }
        self.lsn += 0x1000;
        let start = self.lsn;
        let change = |(place, operation): (usize, Operation)| Change {
            position: Position {
                lsn: Lsn::new(start + place as u64),
                index: 0,
            },
            operation,
        };
        let part = Part {
            begin: Begin {
                commit_lsn: Lsn::new(start + 0x800),
                commit_time: Timestamp::new(COMMIT_SECOND, 0).unwrap_or(Timestamp::UNIX_EPOCH),
                xid: Xid(1),
            },
            changes: operations.into_iter().enumerate().map(change).collect(),
            first: true,
            end: Some(Lsn::new(start + 0x810)),
        };
        let derivation = self.derive(&part);
        for table in &derivation.truncated {
            self.images.retain(|(of, _), _| of != table);
        }
        for write in &derivation.writes {
            let place = (write.table.clone(), write.key.clone());
            match &write.image {
                Some(image) => self.images.insert(place, image.clone()),
                None => self.images.remove(&place),
            };
        }
        derivation
    }

    /// As capture does it: load what is needed, derive, load what lookups missed, derive again.
    fn derive(&self, part: &Part) -> Derivation {
        let (rules, shapes) = (self.stage.rules, &self.stage.shapes);
        let mut images = Images::default();
        for (table, key) in rules.needs(part, shapes) {
            let by = By::Key(key);
            self.load(&mut images, &Wanted { table, by });
        }
        let mut derivation = rules.derive(part, shapes, &images);
        for _ in 0..ROUNDS_MAX {
            if derivation.missing.is_empty() {
                break;
            }
            for wanted in &derivation.missing {
                self.load(&mut images, wanted);
            }
            derivation = rules.derive(part, shapes, &images);
        }
        derivation
    }

    fn load(&self, images: &mut Images, wanted: &Wanted) {
        let table = &wanted.table;
        match &wanted.by {
            By::Key(key) => {
                let image = self.images.get(&(table.clone(), key.clone()));
                let loaded = image.map_or(Loaded::Absent, |image| Loaded::Known(image.clone()));
                images.load(table.clone(), key.clone(), loaded);
            }
            By::Column { column, value } => {
                let holds = |image: &Image| {
                    image
                        .get(column)
                        .flatten()
                        .is_some_and(|held| **held == **value)
                };
                let found = self
                    .images
                    .iter()
                    .find(|((of, _), image)| of == table && holds(image));
                let found = found.map(|((_, key), image)| (key.clone(), image.clone()));
                images.load_unique(table, column, value, found);
            }
        }
    }

    /// `None` where it names a table that the pack does not have, which was told before.
    fn operation(&mut self, change: &ChangeText) -> Option<Operation> {
        match change {
            ChangeText::Insert(row) => {
                let relation = self.relation(&row.alias.text)?;
                let values = whole(&relation, row, None);
                self.keep(&relation, &values);
                Some(Operation::Insert {
                    new: Row { relation, values },
                })
            }
            ChangeText::Update { key, row } => self.update(key.as_deref(), row),
            ChangeText::Delete { alias, key } => {
                let relation = self.relation(&alias.text)?;
                let values = key_values(&relation, key);
                if let Some(key) = key_of(&relation, &values) {
                    self.rows.remove(&(relation.table.clone(), key));
                }
                Some(Operation::Delete {
                    old: OldRow::Key(Row { relation, values }),
                })
            }
            ChangeText::Truncate(aliases) => {
                let relations = aliases
                    .iter()
                    .filter_map(|alias| self.relation(&alias.text));
                let relations: Vec<_> = relations.collect();
                self.rows
                    .retain(|(table, _), _| !relations.iter().any(|r| r.table == *table));
                Some(Operation::Truncate { relations })
            }
        }
    }

    fn update(&mut self, key: Option<&[Json]>, row: &RowText) -> Option<Operation> {
        let relation = self.relation(&row.alias.text)?;
        let old = key.map(|key| key_values(&relation, key));
        let before = match &old {
            Some(old) => key_of(&relation, old),
            None => key_of(&relation, &whole(&relation, row, None)),
        };
        let known = before.and_then(|key| self.rows.remove(&(relation.table.clone(), key)));
        let mut values = whole(&relation, row, known.as_deref());
        if let (None, Some(old)) = (&known, &old) {
            // What the row's key is, where the update does not give it anew.
            for (value, old) in values.iter_mut().zip(old) {
                if *value == Value::Null {
                    value.clone_from(old);
                }
            }
        }
        self.keep(&relation, &filled(&values, known.as_deref()));
        let old = old.map(|values| {
            OldRow::Key(Row {
                relation: Arc::clone(&relation),
                values,
            })
        });
        Some(Operation::Update {
            old,
            new: Row { relation, values },
        })
    }

    fn keep(&mut self, relation: &Relation, values: &[Value]) {
        if let Some(key) = key_of(relation, values) {
            self.rows
                .insert((relation.table.clone(), key), values.to_vec());
        }
    }
}

/// Every column: as the row has it, else as it was, else null.
fn whole(relation: &Relation, row: &RowText, before: Option<&[Value]>) -> Vec<Value> {
    let column = |(place, column): (usize, &Column)| match row.values.get(&column.name) {
        Some(value) => cell(value, column.type_oid),
        None => before
            .and_then(|before| before.get(place))
            .cloned()
            .unwrap_or(Value::Null),
    };
    relation.columns.iter().enumerate().map(column).collect()
}

/// The row with what an update left out as it was.
fn filled(values: &[Value], before: Option<&[Value]>) -> Vec<Value> {
    let value = |(place, value): (usize, &Value)| match value {
        Value::Unchanged => before
            .and_then(|b| b.get(place))
            .cloned()
            .unwrap_or(Value::Unchanged),
        value => value.clone(),
    };
    values.iter().enumerate().map(value).collect()
}

/// A row of which only the key is given, in the key's order.
fn key_values(relation: &Relation, key: &[Json]) -> Vec<Value> {
    let mut key = key.iter();
    let value = |column: &Column| match column.key {
        true => key
            .next()
            .map_or(Value::Null, |value| cell(value, column.type_oid)),
        false => Value::Null,
    };
    relation.columns.iter().map(value).collect()
}

fn key_of(relation: &Relation, values: &[Value]) -> Option<Key> {
    let keys = relation
        .columns
        .iter()
        .zip(values)
        .filter(|(column, _)| column.key);
    let texts = keys.map(|(_, value)| match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Null | Value::Unchanged => None,
    });
    let texts: Option<Vec<String>> = texts.collect();
    Some(Key::new(texts?.iter().map(String::as_str)))
}

/// What a fault or an action is compared by.
pub(super) fn fault_columns(fault: &Fault) -> Json {
    serde_json::json!({
        "table": fault.table.to_string(),
        "rule": fault.rule,
        "key": fault.key.as_ref().map(Key::as_str),
        "reason": fault.reason,
    })
}

pub(super) fn action_columns(derived: &Derived) -> Json {
    let action = &derived.action;
    serde_json::json!({
        "action_type": action.action_type,
        "action_details": action.action_details,
        "status": action.status,
        "environment": action.environment,
        "project_id": action.project_id,
        "user_id": action.user_id,
        "request_id": action.request_id,
        "cost_usd": action.cost_usd,
        "reference_ids": action.reference_ids,
        "data": action.data,
        "rule": derived.source.rule,
        "actor": action.actor.as_ref().map(|actor| &actor.id),
        "actor_found": action.actor.as_ref().map(|actor| actor.found.as_str()),
        "event": derived.source.event.as_str(),
    })
}
