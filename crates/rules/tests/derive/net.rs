//! Net changes: however a worker's changes are cut into transactions, images end as the table does
//! and every rule sees each row once per transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use activity::{Operation, Relation, ReplicaIdentity};
use proptest::prelude::*;
use rules::{Derivation, Loaded};
use serde_json::{Value as Json, json};

use crate::worker::{
    UNCHANGED, Worker, delete, insert, rekey, table, truncate, update, update_full,
};

const PACK: &str = r#"
[pack]
name = "p"
[tables.t]
[[rules]]
name = "r"
table = "t"
on = ["insert", "update", "delete"]
action_details = "{{ old.k }},{{ old.a }},{{ old.b }}>{{ new.k }},{{ new.a }},{{ new.b }}"
"#;

fn t() -> Arc<Relation> {
    table("t", &[("k", 23), ("a", 23), ("b", 25), ("unnamed", 25)])
}

fn worker() -> Worker {
    Worker::new(PACK, &[&t()])
}

fn row(k: i64, a: i64, b: &str) -> Json {
    json!({"k": k, "a": a, "b": b, "unnamed": "x"})
}

#[test]
fn a_row_is_seen_once_with_its_values_from_before_and_after() {
    let t = t();
    let mut worker = worker();
    let key = json!({"k": 1});
    for (operations, expected) in [
        (
            vec![insert(&t, &row(1, 1, "x")), update(&t, &row(1, 2, "x"))],
            vec![",,>1,2,x"],
        ),
        (
            vec![
                update(&t, &row(1, 3, "x")),
                update(&t, &row(1, 4, UNCHANGED)),
            ],
            vec!["1,2,x>1,4,x"],
        ),
        (
            vec![update(&t, &row(1, 5, "x")), update(&t, &row(1, 4, "x"))],
            vec![],
        ),
        (
            vec![insert(&t, &row(2, 1, "y")), delete(&t, &json!({"k": 2}))],
            vec![],
        ),
        (
            vec![delete(&t, &key), insert(&t, &row(1, 6, "z"))],
            vec!["1,4,x>1,6,z"],
        ),
        (
            vec![
                rekey(&t, &key, &row(9, 6, UNCHANGED)),
                insert(&t, &row(1, 0, "n")),
            ],
            vec!["1,6,z>9,6,z", ",,>1,0,n"],
        ),
        (
            vec![
                rekey(&t, &json!({"k": 9}), &row(8, 6, "z")),
                delete(&t, &json!({"k": 8})),
            ],
            vec!["9,6,z>,,"],
        ),
        (
            vec![
                update(&t, &row(1, 7, "n")),
                truncate(&t),
                insert(&t, &row(1, 1, "n")),
            ],
            vec![",,>1,1,n"],
        ),
        (vec![delete(&t, &key)], vec!["1,1,n>,,"]),
    ] {
        assert_eq!(worker.sentences(operations), expected);
    }
}

#[test]
fn actions_stand_in_the_order_and_at_the_place_of_each_rows_first_change() {
    let t = t();
    let mut worker = worker();
    worker.commit(vec![
        insert(&t, &row(1, 1, "x")),
        insert(&t, &row(2, 1, "x")),
    ]);
    let derivation = worker.commit(vec![
        update(&t, &row(2, 2, "x")),
        insert(&t, &row(3, 1, "x")),
        update(&t, &row(1, 2, "x")),
        update(&t, &row(2, 3, "x")),
    ]);
    let places: Vec<_> = derivation
        .actions
        .iter()
        .map(|d| (d.source.key.as_str(), d.source.position.lsn.get() % 10))
        .collect();
    assert_eq!(places, [("[\"2\"]", 0), ("[\"3\"]", 1), ("[\"1\"]", 2)]);
}

#[test]
fn a_truncated_table_is_named_and_what_came_before_is_not_told() {
    let t = t();
    let mut worker = worker();
    worker.commit(vec![insert(&t, &row(1, 1, "x"))]);
    let derivation = worker.commit(vec![
        insert(&t, &row(2, 1, "x")),
        delete(&t, &json!({"k": 1})),
        truncate(&t),
    ]);
    assert_eq!(
        derivation,
        Derivation {
            truncated: vec![t.table.clone()],
            ..Derivation::default()
        }
    );
}

#[test]
fn an_update_of_an_unknown_row_fills_its_image_and_tells_nothing_of_it() {
    let t = t();
    let mut worker = worker();
    let derivation = worker.commit(vec![update(&t, &row(1, 1, "x"))]);
    assert_eq!(
        (
            derivation.actions.len(),
            derivation.faults.len(),
            derivation.writes.len()
        ),
        (0, 0, 1)
    );
    assert_eq!(
        worker.sentences(vec![update(&t, &row(1, 2, "x"))]),
        ["1,1,x>1,2,x"]
    );
}

#[test]
fn the_old_row_of_replica_identity_full_is_used() {
    let t = t();
    let mut full = Relation::clone(&t);
    full.identity = ReplicaIdentity::Full;
    full.columns.iter_mut().for_each(|column| column.key = true);
    let full = Arc::new(full);
    let mut worker = Worker::new(PACK, &[&full]);
    let moved = update_full(&full, &row(1, 1, "x"), &row(2, 1, UNCHANGED));
    assert_eq!(worker.sentences(vec![moved]), ["1,1,x>2,1,x"]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(i64, i64),
    Update(i64, i64, bool),
    Rekey(i64, i64),
    Delete(i64),
    Truncate,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, value) = (0i64..4, 0i64..3);
    prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(k, v)| Step::Insert(k, v)),
        4 => (key.clone(), value, any::<bool>()).prop_map(|(k, v, toast)| Step::Update(k, v, toast)),
        4 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Rekey(from, to)),
        3 => key.prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        4 => Just(Step::Commit),
    ]
}

type Table = BTreeMap<i64, (i64, String)>;

/// What the worker's server would send, or nothing where it would refuse the statement.
fn play(t: &Arc<Relation>, step: &Step, rows: &mut Table) -> Option<Operation> {
    match step {
        Step::Insert(k, v) if !rows.contains_key(k) => {
            rows.insert(*k, (*v, format!("b{v}")));
            Some(insert(t, &row(*k, *v, &format!("b{v}"))))
        }
        Step::Update(k, v, toast) => {
            let held = rows.get_mut(k)?;
            held.0 = *v;
            if !toast {
                held.1 = format!("b{v}");
            }
            Some(update(
                t,
                &row(*k, *v, if *toast { UNCHANGED } else { &held.1 }),
            ))
        }
        Step::Rekey(from, to) if from != to && !rows.contains_key(to) => {
            let held = rows.remove(from)?;
            let change = rekey(t, &json!({"k": from}), &row(*to, held.0, UNCHANGED));
            rows.insert(*to, held);
            Some(change)
        }
        Step::Delete(k) => {
            rows.remove(k)?;
            Some(delete(t, &json!({"k": k})))
        }
        Step::Truncate => {
            rows.clear();
            Some(truncate(t))
        }
        Step::Insert(..) | Step::Rekey(..) | Step::Commit => None,
    }
}

fn shown(rows: &Table) -> Vec<String> {
    rows.iter()
        .map(|(k, (a, b))| format!("{k},{a},{b}"))
        .collect()
}

/// Takes the old rows that were told out of the table as it was, and puts the new ones in.
fn replayed(before: &Table, derivation: &Derivation) -> Vec<String> {
    let mut rows = if derivation.truncated.is_empty() {
        shown(before)
    } else {
        Vec::new()
    };
    let told = derivation
        .actions
        .iter()
        .map(|d| d.action.action_details.as_deref().unwrap());
    let told: Vec<(&str, &str)> = told
        .map(|sentence| sentence.split_once('>').unwrap())
        .collect();
    for (old, _) in told.iter().filter(|(old, _)| *old != ",,") {
        let place = rows
            .iter()
            .position(|row| row == old)
            .expect("an old row was in the table");
        rows.remove(place);
    }
    rows.extend(
        told.iter()
            .filter(|(_, new)| *new != ",,")
            .map(|(_, new)| (*new).to_owned()),
    );
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn images_end_as_the_table_does_and_actions_tell_the_whole_way(steps in prop::collection::vec(step(), 0..40)) {
        let t = t();
        let mut worker = worker();
        let mut rows = Table::new();
        let mut before = rows.clone();
        let mut pending = Vec::new();
        for step in steps.iter().chain([&Step::Commit]) {
            if !matches!(step, Step::Commit) {
                pending.extend(play(&t, step, &mut rows));
                continue;
            }
            let derivation = worker.commit(std::mem::take(&mut pending));
            prop_assert_eq!(&derivation.faults, &[]);
            prop_assert_eq!(replayed(&before, &derivation), shown(&rows));
            before = rows.clone();
            for k in 0..4 {
                let key = activity::Key::new([k.to_string().as_str()]);
                let image = match worker.images.get(&t.table, &key) {
                    Some(Loaded::Known(image)) => {
                        let column = |name| image.get(name).unwrap().unwrap().to_string();
                        Some(format!("{},{},{}", column("k"), column("a"), column("b")))
                    }
                    Some(Loaded::Absent) | None => None,
                };
                let held = rows.get(&k).map(|(a, b)| format!("{k},{a},{b}"));
                prop_assert_eq!(image, held);
            }
        }
    }
}
