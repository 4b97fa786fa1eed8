//! A server on paper: transactions that commit in another order than they began, that are streamed
//! before a snapshot sees them, and chunks that are applied late, beside a sidecar that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use activity::{Column, Relation, ReplicaIdentity, TableName};
use proptest::prelude::*;

use super::*;

const KEYS: u8 = 6;
const CHUNK: usize = 2;

/// A row: which life it is, from its insert to its delete, and its value.
type Cells = (u32, u32);

#[derive(Clone, Debug)]
enum Step {
    /// A transaction takes an id and goes on later.
    Begin,
    /// Some transaction, an old one or a new one, commits these changes: it is in the stream from here.
    Commit(usize, Vec<(u8, Change)>),
    /// One of those that wait for a standby is seen by snapshots from here.
    Show(usize),
    /// The writer takes in this many transactions.
    Process(usize),
    /// A chunk is read, if none waits.
    Read,
    /// The sidecar is killed.
    Crash,
}

#[derive(Clone, Debug)]
enum Change {
    Put,
    Delete,
    Move(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        4 => Just(Change::Put),
        2 => Just(Change::Delete),
        2 => (0..KEYS).prop_map(Change::Move),
    ];
    let changes = prop::collection::vec((0..KEYS, change), 1..3);
    prop_oneof![
        2 => Just(Step::Begin),
        6 => (any::<prop::sample::Index>(), changes).prop_map(|(i, c)| Step::Commit(i.index(1 << 16), c)),
        4 => any::<prop::sample::Index>().prop_map(|i| Step::Show(i.index(1 << 16))),
        4 => (0..4usize).prop_map(Step::Process),
        4 => Just(Step::Read),
        1 => Just(Step::Crash),
    ]
}

#[derive(Clone, Debug)]
struct Committed {
    xid: u64,
    /// What became of each key, and the key that the row had before.
    writes: BTreeMap<u8, Option<(Cells, Option<u8>)>>,
}

struct Chunk {
    rows: Vec<(Key, Option<Row>)>,
    snapshot: Snapshot,
    /// The length of the stream when it was read.
    passed: usize,
    cursor: Option<u8>,
}

struct World {
    next_xid: u64,
    next_life: u32,
    open: Vec<u64>,
    /// Committed, and not seen yet.
    hidden: Vec<Committed>,
    table: BTreeMap<u8, Cells>,
    stream: Vec<Committed>,
    processed: usize,
    images: HashMap<Key, Stored>,
    chunk: Option<Chunk>,
    cursor: Option<u8>,
    /// The rows are through: what is left are images that nothing told of.
    gaps: bool,
    done: bool,
    told: BTreeSet<u32>,
}

fn relation() -> Arc<Relation> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        type_oid: 25,
        type_modifier: -1,
        key: name == "key",
    };
    Arc::new(Relation {
        oid: 0,
        table: TableName::new("public", "t"),
        identity: ReplicaIdentity::Default,
        columns: ["key", "life", "value"].map(column).into(),
    })
}

fn key(key: u8) -> Key {
    Key::new([key.to_string().as_str()])
}

fn row(at: u8, cells: Cells) -> Row {
    let text = |text: String| Value::Text(text.into());
    Row {
        relation: relation(),
        values: vec![
            text(at.to_string()),
            text(cells.0.to_string()),
            text(cells.1.to_string()),
        ],
    }
}

fn json(cells: Cells) -> String {
    serde_json::json!({"life": cells.0.to_string(), "value": cells.1.to_string()}).to_string()
}

impl World {
    fn new() -> Self {
        let table: BTreeMap<u8, Cells> = (0..KEYS)
            .step_by(2)
            .map(|k| (k, (u32::from(k), 0)))
            .collect();
        Self {
            next_xid: 100,
            next_life: 1000,
            open: Vec::new(),
            hidden: Vec::new(),
            table,
            stream: Vec::new(),
            processed: 0,
            images: HashMap::new(),
            chunk: None,
            cursor: None,
            gaps: false,
            done: false,
            told: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin => {
                self.open.push(self.next_xid);
                self.next_xid += 1;
            }
            Step::Commit(which, changes) => self.commit(which, changes),
            Step::Show(which) if !self.hidden.is_empty() => {
                let shown = self.hidden.remove(which % self.hidden.len());
                for (key, write) in &shown.writes {
                    match write {
                        Some((cells, _)) => self.table.insert(*key, *cells),
                        None => self.table.remove(key),
                    };
                }
            }
            Step::Show(_) => {}
            Step::Process(count) => {
                for _ in 0..count {
                    self.process();
                }
            }
            Step::Read => self.read(),
            Step::Crash => self.chunk = None,
        }
        self.apply();
    }

    fn commit(&mut self, which: usize, changes: Vec<(u8, Change)>) {
        let locked: BTreeSet<u8> = self
            .hidden
            .iter()
            .flat_map(|c| c.writes.keys().copied())
            .collect();
        let mut writes: BTreeMap<u8, Option<(Cells, Option<u8>)>> = BTreeMap::new();
        let value = self.next_xid as u32;
        for (at, change) in changes {
            let target = match change {
                Change::Move(to) => to,
                Change::Put | Change::Delete => at,
            };
            // Each key once in a transaction, and none that another one holds.
            let busy = |key: &u8| locked.contains(key) || writes.contains_key(key);
            if busy(&at) || busy(&target) {
                continue;
            }
            match (change, self.table.get(&at).copied()) {
                (Change::Put, Some((life, _))) => {
                    writes.insert(at, Some(((life, value), Some(at))));
                }
                (Change::Put, None) => {
                    writes.insert(at, Some(((self.next_life, value), None)));
                    self.next_life += 1;
                }
                (Change::Delete, Some(_)) => {
                    writes.insert(at, None);
                }
                (Change::Move(to), Some(cells)) if !self.table.contains_key(&to) => {
                    writes.insert(at, None);
                    writes.insert(to, Some((cells, Some(at))));
                }
                (Change::Delete | Change::Move(_), _) => {}
            }
        }
        if writes.is_empty() {
            return;
        }
        let xid = match which % (self.open.len() + 1) {
            new if new == self.open.len() => {
                self.next_xid += 1;
                self.next_xid - 1
            }
            old => self.open.remove(old),
        };
        let committed = Committed { xid, writes };
        self.stream.push(committed.clone());
        self.hidden.push(committed);
    }

    /// What capture does with a transaction of a table under reconcile.
    fn process(&mut self) {
        let Some(Committed { xid, writes }) = self.stream.get(self.processed).cloned() else {
            return;
        };
        self.processed += 1;
        let mut changed = HashMap::new();
        for (at, write) in writes {
            let told = match write {
                Some(((life, _), None)) => {
                    assert!(self.told.insert(life), "life {life} is told of twice");
                    true
                }
                Some((_, Some(before))) => {
                    let before = self.images.get(&key(before));
                    before.is_some_and(|image| image.told && image.row.is_some())
                }
                None => true,
            };
            let row = write.map(|(cells, _)| json(cells));
            changed.insert(key(at), Stored { xid, told, row });
        }
        self.images.extend(changed);
    }

    fn read(&mut self) {
        if self.chunk.is_some() || self.done {
            return;
        }
        let under_way = self
            .open
            .iter()
            .copied()
            .chain(self.hidden.iter().map(|c| c.xid));
        let under_way: BTreeSet<u64> = under_way.collect();
        let xmin = under_way.first().copied().unwrap_or(self.next_xid);
        let listed: Vec<String> = under_way.iter().map(u64::to_string).collect();
        let snapshot = format!("{xmin}:{}:{}", self.next_xid, listed.join(","));
        if self.gaps {
            let untold = self
                .images
                .iter()
                .filter(|(_, image)| image.row.is_some() && !image.told);
            let untold: BTreeSet<&Key> = untold.map(|(key, _)| key).collect();
            self.done = untold.is_empty();
            let rows = untold.into_iter().take(CHUNK).map(|wanted| {
                let mut table = self.table.iter();
                let found = table.find(|(at, _)| key(**at) == *wanted);
                (wanted.clone(), found.map(|(at, cells)| row(*at, *cells)))
            });
            self.chunk = Some(Chunk {
                cursor: None,
                rows: rows.collect(),
                snapshot: snapshot.parse().unwrap(),
                passed: self.stream.len(),
            });
            return;
        }
        let after = |key: &u8| self.cursor.is_none_or(|cursor| *key > cursor);
        let found: Vec<(u8, Cells)> = self
            .table
            .iter()
            .map(|(key, cells)| (*key, *cells))
            .filter(|(key, _)| after(key))
            .take(CHUNK)
            .collect();
        self.chunk = Some(Chunk {
            cursor: found
                .last()
                .map(|(key, _)| *key)
                .filter(|_| found.len() == CHUNK),
            rows: found
                .into_iter()
                .map(|(at, cells)| (key(at), Some(row(at, cells))))
                .collect(),
            snapshot: snapshot.parse().unwrap(),
            passed: self.stream.len(),
        });
    }

    fn apply(&mut self) {
        let Some(chunk) = self.chunk.take_if(|chunk| chunk.passed <= self.processed) else {
            return;
        };
        let rows = compare(
            &chunk.rows,
            &chunk.snapshot,
            &self.images,
            Purpose::Backfill,
            false,
            None,
        );
        let mut changed = Vec::new();
        for compared in rows.unwrap() {
            let Some(row) = compared.row else { continue };
            let number = |place: usize| match &row.values[place] {
                Value::Text(text) => text.parse::<u32>().unwrap(),
                other => panic!("{other:?}"),
            };
            let cells = (number(1), number(2));
            match compared.found {
                Found::New(Origin::Backfill) => {
                    assert!(
                        self.told.insert(cells.0),
                        "life {} is told of twice",
                        cells.0
                    );
                }
                Found::Same => {}
                // The stream misses nothing here.
                other => panic!("{other:?} of {cells:?}"),
            }
            changed.push((compared.key.clone(), cells));
        }
        for (key, cells) in changed {
            let xid = chunk.snapshot.settled();
            let row = Some(json(cells));
            self.images.insert(
                key,
                Stored {
                    xid,
                    told: true,
                    row,
                },
            );
        }
        self.cursor = chunk.cursor;
        self.gaps |= chunk.cursor.is_none();
    }

    fn end(mut self) {
        while !self.hidden.is_empty() {
            self.take(Step::Show(0));
        }
        self.take(Step::Process(self.stream.len()));
        while !self.done {
            self.take(Step::Read);
        }
        let images: BTreeMap<String, String> = self
            .images
            .iter()
            .filter_map(|(key, stored)| Some((key.to_string(), stored.row.clone()?)))
            .collect();
        let table: BTreeMap<String, String> = self
            .table
            .iter()
            .map(|(at, cells)| (key(*at).to_string(), json(*cells)))
            .collect();
        assert_eq!(images, table);
        let untold = self
            .table
            .values()
            .find(|(life, _)| !self.told.contains(life));
        assert_eq!(untold, None, "a life is never told of");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn images_end_as_the_table_does_and_every_row_is_told_of_once(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.end();
    }
}

fn image(json: &str) -> Image {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_column_that_the_image_lacks_makes_no_difference_and_is_taken_from_the_row() {
    let row = row(1, (7, 8));
    assert!(!differs(&image(r#"{"life": "7"}"#), &row));
    assert!(differs(&image(r#"{"life": "6"}"#), &row));
    assert!(differs(&image(r#"{"life": null}"#), &row));
    let completed = complete(&image(r#"{"life": "6"}"#), Some(&row));
    assert_eq!(completed.get("life"), Some(Some(&"6".into())));
    assert_eq!(completed.get("value"), Some(Some(&"8".into())));
}

#[test]
fn each_purpose_tells_what_it_is_for() {
    let row = row(1, (7, 8));
    let (same, old) = (image(r#"{"life": "7"}"#), image(r#"{"life": "6"}"#));
    let found = |purpose, complete, row: bool, image, told| {
        found(
            purpose,
            complete,
            Some(&self::row(1, (7, 8))).filter(|_| row),
            image,
            told,
        )
    };
    use Found::{Changed, Deleted, Gone, New, Same};
    use Purpose::{Backfill, Fill, Reconcile};
    assert_eq!(found(Fill, false, true, None, false), Some(Same));
    assert_eq!(found(Fill, true, true, Some(&old), true), Some(Same));
    assert_eq!(found(Fill, true, false, Some(&old), true), Some(Gone));
    assert_eq!(
        found(Reconcile, true, true, None, false),
        Some(New(Origin::Reconciled))
    );
    assert_eq!(
        found(Reconcile, true, true, Some(&old), false),
        Some(Changed)
    );
    assert_eq!(found(Reconcile, true, true, Some(&same), false), Some(Same));
    assert_eq!(
        found(Reconcile, true, false, Some(&same), false),
        Some(Deleted)
    );
    assert_eq!(
        found(Backfill, false, true, None, false),
        Some(New(Origin::Backfill))
    );
    assert_eq!(
        found(Backfill, true, true, None, false),
        Some(New(Origin::Reconciled))
    );
    assert_eq!(
        found(Backfill, true, true, Some(&same), false),
        Some(New(Origin::Backfill))
    );
    assert_eq!(found(Backfill, true, true, Some(&same), true), Some(Same));
    assert_eq!(found(Backfill, true, true, Some(&old), true), Some(Changed));
    assert_eq!(found(Reconcile, true, false, None, false), None);
    let _ = row;
}

#[test]
fn a_column_that_rules_name_and_the_row_lacks_stays_as_it_was_last_seen() {
    let image = |columns: &[(&str, &str)]| -> Image {
        let columns = columns.iter();
        columns
            .map(|(name, text)| (Arc::from(*name), Some((*text).into())))
            .collect()
    };
    let relation = Relation {
        oid: 0,
        table: TableName::new("public", "orders"),
        identity: ReplicaIdentity::Default,
        columns: ["id", "number"]
            .map(|name| Column {
                name: name.to_owned(),
                type_oid: 25,
                type_modifier: -1,
                key: name == "id",
            })
            .into(),
    };
    let stored = image(&[
        ("id", "1"),
        ("number", "A"),
        ("state", "open"),
        ("old", "x"),
    ]);
    let read = image(&[("id", "1"), ("number", "B")]);
    let named = |name: &str| ["id", "number", "state"].contains(&name);
    let expected = image(&[("id", "1"), ("number", "B"), ("state", "open")]);
    assert_eq!(with_lost_columns(read, &stored, &relation, named), expected);
}
