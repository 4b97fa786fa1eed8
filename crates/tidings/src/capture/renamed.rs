//! Tables that arrive under another name than the one that rules know. Pure.
//!
//! The stream names a table as it was called when its row was written; rules name it as it is called
//! now. The OID tells that both are one table, so no change passes silently for its name.

use std::collections::HashMap;
use std::sync::Arc;

use activity::{Change, Operation, Part, Relation, Row, TableName};

/// The tables that rules name, by OID.
pub type Oids = HashMap<u32, TableName>;

/// The first table of a part that rules know under another name: as they know it, and as it is told.
pub fn stranger<'p, 'o>(part: &'p Part, oids: &'o Oids) -> Option<(&'o TableName, &'p TableName)> {
    // Rows come in runs of one table.
    let mut last: Option<&Arc<Relation>> = None;
    for relation in part.changes.iter().flat_map(relations) {
        if last.is_some_and(|last| Arc::ptr_eq(last, relation)) {
            continue;
        }
        last = Some(relation);
        if let Some(known) = oids.get(&relation.oid)
            && *known != relation.table
        {
            return Some((known, &relation.table));
        }
    }
    None
}

/// Gives the rows of a table the name that rules know.
pub fn adopt(part: &mut Part, known: &TableName, oids: &Oids) {
    let mut adopted: HashMap<*const Relation, Arc<Relation>> = HashMap::new();
    let mut of = |relation: &mut Arc<Relation>| {
        if oids.get(&relation.oid) != Some(known) || relation.table == *known {
            return;
        }
        let named = adopted.entry(Arc::as_ptr(relation)).or_insert_with(|| {
            Arc::new(Relation {
                table: known.clone(),
                ..Relation::clone(relation)
            })
        });
        *relation = Arc::clone(named);
    };
    for change in &mut part.changes {
        match &mut change.operation {
            Operation::Insert { new } => of(&mut new.relation),
            Operation::Update { old, new } => {
                of(&mut new.relation);
                if let Some(old) = old {
                    of(&mut row(old).relation);
                }
            }
            Operation::Delete { old } => of(&mut row(old).relation),
            Operation::Truncate { relations } => relations.iter_mut().for_each(&mut of),
            Operation::Message { .. } => {}
        }
    }
}

fn row(old: &mut activity::OldRow) -> &mut Row {
    match old {
        activity::OldRow::Key(row) | activity::OldRow::Full(row) => row,
    }
}

fn relations(change: &Change) -> impl Iterator<Item = &Arc<Relation>> {
    let (one, many) = match &change.operation {
        Operation::Insert { new } | Operation::Update { new, .. } => (Some(&new.relation), None),
        Operation::Delete { old } => (Some(&old.row().relation), None),
        Operation::Truncate { relations } => (None, Some(relations)),
        Operation::Message { .. } => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::{Begin, Lsn, Position, ReplicaIdentity, Xid};
    use jiff::Timestamp;

    fn relation(oid: u32, name: &str) -> Arc<Relation> {
        Arc::new(Relation {
            oid,
            table: TableName::new("public", name),
            identity: ReplicaIdentity::Default,
            columns: Vec::new(),
        })
    }

    fn part(relations: &[&Arc<Relation>]) -> Part {
        let row = |relation: &Arc<Relation>| Row {
            relation: Arc::clone(relation),
            values: Vec::new(),
        };
        let insert = |relation: &&Arc<Relation>| Operation::Insert { new: row(relation) };
        let truncate = Operation::Truncate {
            relations: relations.iter().map(|r| Arc::clone(r)).collect(),
        };
        let operations = relations.iter().map(insert).chain([truncate]);
        let position = Position {
            lsn: Lsn::ZERO,
            index: 0,
        };
        Part {
            begin: Begin {
                commit_lsn: Lsn::ZERO,
                commit_time: Timestamp::UNIX_EPOCH,
                xid: Xid(1),
            },
            changes: operations
                .map(|operation| Change {
                    position,
                    operation,
                })
                .collect(),
            first: true,
            end: None,
        }
    }

    #[test]
    fn a_table_is_known_by_its_oid_under_any_name() {
        let oids = Oids::from([(7, TableName::new("public", "orders"))]);
        let (orders, other) = (relation(7, "orders"), relation(8, "other"));
        assert_eq!(stranger(&part(&[&orders, &other]), &oids), None);
        let purchases = relation(7, "purchases");
        let mut part = part(&[&other, &purchases]);
        let (known, told) = stranger(&part, &oids).unwrap();
        assert_eq!(
            (known.name.as_str(), told.name.as_str()),
            ("orders", "purchases")
        );
        adopt(&mut part, &TableName::new("public", "orders"), &oids);
        assert_eq!(stranger(&part, &oids), None);
        let names: Vec<&str> = part
            .changes
            .iter()
            .flat_map(relations)
            .map(|relation| relation.table.name.as_str())
            .collect();
        assert_eq!(names, ["other", "orders", "other", "orders"]);
    }
}
