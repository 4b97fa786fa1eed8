use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use activity::{
    Begin, Change, Column, Lsn, OldRow, Operation, Position, Relation, ReplicaIdentity, Row,
    Value as Cell, Xid,
};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use rules::{By, Loaded, PackSource, Shape};

use super::*;

/// Every kind of rule that looks beyond its own row.
const PACK: &str = r#"
[pack]
name = "p"
[tables.owners]
[tables.items]

[[rules]]
name = "owner"
table = "owners"
on = ["insert", "update", "delete"]
action_details = "{{ old.name }} > {{ new.name }} ({{ tx.deleted('items') | count('item') }} gone)"

[[rules]]
name = "item"
table = "items"
on = ["insert", "update", "delete"]
let = { owner = "lookup('owners', new.owner | default(old.owner))", named = "lookup('owners', new.name, by='name')" }
action_details = "{{ old.name }} > {{ new.name }} of {{ owner.name }} / {{ named.id }}"

[[rules]]
name = "ready"
table = "items"
on = ["insert", "update"]
when = "first('name', 'b')"

[[rules]]
name = "moved"
table = "items"
on = ["update"]
when = "changed('owner')"
group = "new.owner"
action_details = "{{ rows | map(attribute='name') | join }} to {{ lookup('owners', new.owner).name }}"

[[rules]]
name = "emptied"
table = "items"
on = ["truncate"]
"#;

const COLUMNS: [&str; 3] = ["id", "name", "owner"];

fn relation(name: &str) -> Arc<Relation> {
    let columns = COLUMNS.iter().map(|name| Column {
        name: (*name).to_owned(),
        type_oid: 25,
        type_modifier: -1,
        key: *name == "id",
    });
    Arc::new(Relation {
        oid: 1,
        table: TableName::new("public", name),
        identity: ReplicaIdentity::Default,
        columns: columns.collect(),
    })
}

fn row(relation: &Arc<Relation>, values: [&str; 3]) -> Row {
    Row {
        relation: Arc::clone(relation),
        values: values.iter().map(|v| Cell::Text((*v).into())).collect(),
    }
}

/// What a worker may try: whether it comes to anything depends on the rows that there are.
#[derive(Clone, Debug)]
struct Attempt {
    owners: bool,
    key: u8,
    /// `None`: delete, or truncate where the key is 0.
    set: Option<(u8, u8)>,
    moved_to: Option<u8>,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let set = prop::option::weighted(0.8, (0..4u8, 0..3u8));
    (
        any::<bool>(),
        0..4u8,
        set,
        prop::option::weighted(0.1, 0..4u8),
    )
        .prop_map(|(owners, key, set, moved_to)| Attempt {
            owners,
            key,
            set,
            moved_to,
        })
}

/// The tables of the worker, so that it only commits what a database would.
#[derive(Default)]
struct Tables(BTreeMap<(bool, u8), u8>);

impl Tables {
    fn commit(&mut self, attempt: &Attempt) -> Option<Operation> {
        let relation = relation(if attempt.owners { "owners" } else { "items" });
        let at = (attempt.owners, attempt.key);
        let name = |n: u8| char::from(b'a' + n).to_string();
        let (key, there) = (attempt.key.to_string(), self.0.contains_key(&at));
        // The names of owners are unique.
        let taken = |name: u8| {
            let mut others = self.0.iter().filter(|(other, _)| **other != at && other.0);
            attempt.owners && others.any(|(_, held)| *held == name)
        };
        if attempt.set.is_some_and(|(name, _)| taken(name)) {
            return None;
        }
        let old = || OldRow::Key(row(&relation, [&key, "", ""]));
        match (attempt.set, there) {
            (Some((value, owner)), false) => {
                self.0.insert(at, value);
                let new = row(&relation, [&key, &name(value), &owner.to_string()]);
                Some(Operation::Insert { new })
            }
            (Some((value, owner)), true) => {
                let free = |to: &u8| !self.0.contains_key(&(attempt.owners, *to));
                let to = attempt.moved_to.filter(free);
                self.0.remove(&at);
                self.0
                    .insert((attempt.owners, to.unwrap_or(attempt.key)), value);
                let key = to.unwrap_or(attempt.key).to_string();
                let new = row(&relation, [&key, &name(value), &owner.to_string()]);
                Some(Operation::Update {
                    old: to.map(|_| old()),
                    new,
                })
            }
            (None, _) if attempt.key == 0 => {
                self.0.retain(|(owners, _), _| *owners != attempt.owners);
                Some(Operation::Truncate {
                    relations: vec![relation],
                })
            }
            (None, true) => {
                self.0.remove(&at);
                Some(Operation::Delete { old: old() })
            }
            (None, false) => None,
        }
    }
}

/// Cuts what is attempted into transactions, and those into parts.
fn parts(attempts: &[(Attempt, bool, bool)]) -> Vec<Part> {
    let mut tables = Tables::default();
    let mut parts: Vec<Part> = Vec::new();
    let mut changes = Vec::new();
    let mut begin_at = 0;
    let mut first = true;
    for (number, (attempt, ends, cuts)) in attempts.iter().enumerate() {
        let lsn = Lsn::new(100 + 10 * number as u64);
        changes.extend(tables.commit(attempt).map(|operation| Change {
            position: Position { lsn, index: 0 },
            operation,
        }));
        let last = number + 1 == attempts.len();
        if !(*ends || *cuts || last) || changes.is_empty() && first {
            continue;
        }
        let ends = *ends || last;
        parts.push(Part {
            begin: Begin {
                commit_lsn: Lsn::new(0),
                commit_time: Timestamp::UNIX_EPOCH,
                xid: Xid(3 + number as u32),
            },
            changes: std::mem::take(&mut changes),
            first: std::mem::replace(&mut first, ends),
            end: ends.then(|| lsn.plus(9)),
        });
        if ends {
            // All parts of a transaction have its commit.
            let xid = parts[begin_at].begin.xid;
            for part in &mut parts[begin_at..] {
                (part.begin.commit_lsn, part.begin.xid) = (lsn.plus(5), xid);
            }
            begin_at = parts.len();
        }
    }
    parts
}

/// The database on paper: what has been committed.
#[derive(Clone, Default)]
struct Stored {
    images: BTreeMap<(TableName, Key), String>,
    actions: Vec<(String, String, Option<String>)>,
    /// Parts that are in.
    done: usize,
    next_ordinal: u32,
}

struct Machine {
    rules: Rules,
    shapes: Shapes,
}

impl Machine {
    fn new() -> Self {
        let source = PackSource {
            origin: "p".to_owned(),
            text: PACK.to_owned(),
            schema: None,
        };
        let shape = Shape {
            key: vec!["id".to_owned()],
            types: COLUMNS.iter().map(|c| ((*c).to_owned(), 25)).collect(),
        };
        let shapes = ["owners", "items"].map(|t| (TableName::new("public", t), shape.clone()));
        Self {
            rules: Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}")),
            shapes: Shapes::from_iter(shapes),
        }
    }

    /// Commits one group, from what is stored alone.
    fn commit(&self, stored: &mut Stored, group: &[Part]) {
        let deriver = Deriver {
            rules: &self.rules,
            shapes: &self.shapes,
            system_id: "7",
        };
        let mut images = self.rules.images();
        let load = |images: &mut Images, table: TableName, key: Key| {
            let row = stored.images.get(&(table.clone(), key.clone()));
            let image = row.map(|row| serde_json::from_str(row).unwrap());
            images.load(table, key, image.map_or(Loaded::Absent, Loaded::Known));
        };
        for (table, key) in group.iter().flat_map(|p| self.rules.needs(p, &self.shapes)) {
            load(&mut images, table, key);
        }
        let mut gathered = Gathered::default();
        let mut ordinal = stored.next_ordinal;
        for part in group {
            if part.first {
                ordinal = 0;
            }
            while let Err(missing) = deriver.part(part, 1, &mut ordinal, &mut images, &mut gathered)
            {
                for Wanted { table, by } in missing {
                    match by {
                        By::Key(key) => load(&mut images, table, key),
                        By::Column { column, value } => {
                            let found = stored.images.iter().find_map(|((of, key), row)| {
                                let image: Image = serde_json::from_str(row).unwrap();
                                let held = image.get(&column).flatten()?.to_string();
                                (*of == table && held == value).then(|| (key.clone(), image))
                            });
                            images.load_unique(&table, &column, &value, found);
                        }
                    }
                }
            }
        }
        let batch = gathered.batch();
        assert!(batch.faults.is_empty(), "{:?}", batch.faults);
        stored
            .images
            .retain(|(table, _), _| !batch.truncated.contains(table));
        for change in batch.images {
            let key = (change.table, change.key);
            match change.row {
                Some(row) => stored.images.insert(key, row),
                None => stored.images.remove(&key),
            };
        }
        stored.actions.extend(batch.actions.into_iter().map(|new| {
            (
                new.id.to_string(),
                new.source.rule,
                new.action.action_details,
            )
        }));
        stored.done += group.len();
        stored.next_ordinal = ordinal;
    }
}

proptest! {
    #[test]
    fn groups_of_any_size_and_kills_at_any_moment_give_the_actions_of_one_pass(
        attempts in prop::collection::vec((attempt(), any::<bool>(), prop::bool::weighted(0.2)), 1..60),
        sizes in prop::collection::vec((1..8usize, 0..3u8), 60),
        from in any::<Index>(),
    ) {
        let machine = Machine::new();
        let parts = parts(&attempts);
        prop_assume!(!parts.is_empty());
        let mut one_pass = Stored::default();
        let mut history = vec![one_pass.clone()];
        for part in &parts {
            machine.commit(&mut one_pass, std::slice::from_ref(part));
            history.push(one_pass.clone());
        }
        // From any position that was ever committed.
        let mut stored = from.get(&history).clone();
        for (size, killed) in sizes.iter().cycle() {
            let rest = &parts[stored.done..];
            if rest.is_empty() {
                break;
            }
            let mut attempt = stored.clone();
            machine.commit(&mut attempt, &rest[..rest.len().min(*size)]);
            // Killed before the commit returned: none of it is there.
            if *killed > 0 {
                stored = attempt;
            }
        }
        prop_assert_eq!(&stored.actions, &one_pass.actions);
        prop_assert_eq!(&stored.images, &one_pass.images);
        let ids: BTreeSet<&String> = stored.actions.iter().map(|(id, ..)| id).collect();
        prop_assert_eq!(ids.len(), stored.actions.len());
    }
}
