//! A worker on paper: tables, the changes it commits, and the images that Tidings would hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use activity::{
    Begin, Change, Column, Key, Lsn, OldRow, Operation, Origin, Part, Position, Relation,
    ReplicaIdentity, Row, TableName, Value, Xid,
};
use rules::{By, Derivation, Image, Images, Loaded, PackSource, Rules, Shape, Shapes, Wanted};
use serde_json::Value as Json;

/// The value that stands for "unchanged TOAST" in rows given as JSON.
pub(crate) const UNCHANGED: &str = "\u{1}unchanged";

pub(crate) struct Worker {
    pub(crate) rules: Rules,
    pub(crate) shapes: Shapes,
    pub(crate) images: Images,
    /// The same, as a database would find them.
    stored: BTreeMap<(TableName, Key), Image>,
    next: u64,
    /// Tables whose changes were lost from sight for a while.
    pub(crate) after_gap: Vec<TableName>,
}

/// `("name", type OID)`; the first column is the key.
pub(crate) fn table(name: &str, columns: &[(&str, u32)]) -> Arc<Relation> {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(place, (name, type_oid))| Column {
            name: (*name).to_owned(),
            type_oid: *type_oid,
            type_modifier: -1,
            key: place == 0,
        });
    Arc::new(Relation {
        oid: 1,
        table: TableName::new("public", name),
        identity: ReplicaIdentity::Default,
        columns: columns.collect(),
    })
}

/// A row from a JSON object: columns that it does not name are null.
pub(crate) fn row(relation: &Arc<Relation>, json: &Json) -> Row {
    let value = |column: &Column| match &json[&column.name] {
        Json::Null => Value::Null,
        Json::String(text) if text == UNCHANGED => Value::Unchanged,
        Json::String(text) => Value::Text(text.as_str().into()),
        other => Value::Text(other.to_string().into()),
    };
    Row {
        relation: Arc::clone(relation),
        values: relation.columns.iter().map(value).collect(),
    }
}

pub(crate) fn insert(relation: &Arc<Relation>, new: &Json) -> Operation {
    let new = row(relation, new);
    Operation::Insert { new }
}

pub(crate) fn update(relation: &Arc<Relation>, new: &Json) -> Operation {
    let new = row(relation, new);
    Operation::Update { old: None, new }
}

/// An update that moves the key, as the stream tells it under the default replica identity.
pub(crate) fn rekey(relation: &Arc<Relation>, old_key: &Json, new: &Json) -> Operation {
    let (old, new) = (
        Some(OldRow::Key(row(relation, old_key))),
        row(relation, new),
    );
    Operation::Update { old, new }
}

pub(crate) fn update_full(relation: &Arc<Relation>, old: &Json, new: &Json) -> Operation {
    let (old, new) = (Some(OldRow::Full(row(relation, old))), row(relation, new));
    Operation::Update { old, new }
}

pub(crate) fn delete(relation: &Arc<Relation>, key: &Json) -> Operation {
    let old = OldRow::Key(row(relation, key));
    Operation::Delete { old }
}

pub(crate) fn truncate(relation: &Arc<Relation>) -> Operation {
    let relations = vec![Arc::clone(relation)];
    Operation::Truncate { relations }
}

pub(crate) fn part(lsn: u64, operations: Vec<Operation>) -> Part {
    let change = |(place, operation)| Change {
        position: Position {
            lsn: Lsn::new(lsn + place as u64),
            index: 0,
        },
        operation,
    };
    Part {
        begin: Begin {
            commit_lsn: Lsn::new(lsn),
            commit_time: "2026-01-01T00:00:00Z".parse().unwrap(),
            xid: Xid(1),
        },
        changes: operations.into_iter().enumerate().map(change).collect(),
        first: true,
        end: Some(Lsn::new(lsn + 1)),
    }
}

impl Worker {
    pub(crate) fn new(pack: &str, relations: &[&Arc<Relation>]) -> Self {
        let source = PackSource {
            origin: "pack.toml".to_owned(),
            text: pack.to_owned(),
            schema: None,
        };
        let shape = |relation: &&Arc<Relation>| {
            let columns = relation.columns.iter();
            let shape = Shape {
                key: vec![relation.columns[0].name.clone()],
                types: columns.map(|c| (c.name.clone(), c.type_oid)).collect(),
            };
            (relation.table.clone(), shape)
        };
        Self {
            rules: Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}")),
            shapes: relations.iter().map(shape).collect(),
            images: Images::default(),
            stored: BTreeMap::new(),
            next: 1000,
            after_gap: Vec::new(),
        }
    }

    /// Derives one transaction and stores its images. Only images that were asked for are loaded.
    pub(crate) fn commit(&mut self, operations: Vec<Operation>) -> Derivation {
        self.next += 1000;
        let part = part(self.next, operations);
        self.derive(Origin::Stream, &part)
    }

    pub(crate) fn derive(&mut self, origin: Origin, part: &Part) -> Derivation {
        let mut loaded = self.rules.images();
        for table in &self.after_gap {
            loaded.after_gap(table.clone());
            loaded.keep_deletes(table.clone());
        }
        for (table, key) in self.rules.needs(part, &self.shapes) {
            let image = self.images.get(&table, &key).cloned();
            loaded.insert(table, key, image.unwrap_or(Loaded::Absent));
        }
        let mut rounds = 0;
        let derivation = loop {
            let derivation = self.rules.derive_as(origin, part, &self.shapes, &loaded);
            if derivation.missing.is_empty() {
                break derivation;
            }
            rounds += 1;
            assert!(rounds < 10, "{:?}", derivation.missing);
            for wanted in derivation.missing {
                self.load(wanted, &mut loaded);
            }
        };
        for table in &derivation.truncated {
            self.images.truncate(table);
            self.stored.retain(|(of, _), _| of != table);
        }
        self.images.apply(&derivation.writes);
        for write in &derivation.writes {
            let key = (write.table.clone(), write.key.clone());
            match &write.image {
                Some(image) => self.stored.insert(key, image.clone()),
                None => self.stored.remove(&key),
            };
        }
        derivation
    }

    fn load(&self, Wanted { table, by }: Wanted, loaded: &mut Images) {
        match by {
            By::Key(key) => {
                let found = self.stored.get(&(table.clone(), key.clone())).cloned();
                loaded.load(table, key, found.map_or(Loaded::Absent, Loaded::Known));
            }
            By::Column { column, value } => {
                let has_it = |((of, _), image): &(&(TableName, Key), &Image)| {
                    let held = image.get(&column).flatten();
                    *of == table && held.is_some_and(|held| **held == *value)
                };
                let found = self.stored.iter().find(has_it);
                let found = found.map(|((_, key), image)| (key.clone(), image.clone()));
                loaded.load_unique(&table, &column, &value, found);
            }
        }
    }

    /// The sentences of one transaction that has no faults.
    pub(crate) fn sentences(&mut self, operations: Vec<Operation>) -> Vec<String> {
        let derivation = self.commit(operations);
        assert_eq!(derivation.faults, []);
        let details = |derived: rules::Derived| derived.action.action_details.unwrap_or_default();
        derivation.actions.into_iter().map(details).collect()
    }
}
