//! A worker on paper: tables, the changes it commits, and the images that Tidings would hold.

use std::sync::Arc;

use activity::{
    Begin, Change, Column, Lsn, OldRow, Operation, Part, Position, Relation, ReplicaIdentity, Row,
    TableName, Value, Xid,
};
use rules::{Derivation, Images, Keys, Loaded, PackSource, Rules};
use serde_json::Value as Json;

/// The value that stands for "unchanged TOAST" in rows given as JSON.
pub(crate) const UNCHANGED: &str = "\u{1}unchanged";

pub(crate) struct Worker {
    pub(crate) rules: Rules,
    pub(crate) keys: Keys,
    pub(crate) images: Images,
    next: u64,
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
        let key = |relation: &&Arc<Relation>| {
            (
                relation.table.clone(),
                vec![relation.columns[0].name.clone()],
            )
        };
        Self {
            rules: Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}")),
            keys: relations.iter().map(key).collect(),
            images: Images::default(),
            next: 1000,
        }
    }

    /// Derives one transaction and stores its images. Only images that were asked for are loaded.
    pub(crate) fn commit(&mut self, operations: Vec<Operation>) -> Derivation {
        self.next += 1000;
        let part = part(self.next, operations);
        let mut loaded = Images::default();
        for (table, key) in self.rules.needs(&part, &self.keys) {
            let image = self.images.get(&table, &key).cloned();
            loaded.insert(table, key, image.unwrap_or(Loaded::Absent));
        }
        let derivation = self.rules.derive(&part, &self.keys, &loaded);
        for table in &derivation.truncated {
            self.images.truncate(table);
        }
        self.images.apply(&derivation.writes);
        derivation
    }

    /// The sentences of one transaction that has no faults.
    pub(crate) fn sentences(&mut self, operations: Vec<Operation>) -> Vec<String> {
        let derivation = self.commit(operations);
        assert_eq!(derivation.faults, []);
        let details = |derived: rules::Derived| derived.action.action_details.unwrap_or_default();
        derivation.actions.into_iter().map(details).collect()
    }
}
