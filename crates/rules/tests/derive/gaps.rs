//! What becomes of rows that change before they are compared, after a gap that nobody saw into.

use std::sync::Arc;

use activity::{Relation, TableName};
use serde_json::json;

use crate::worker::{UNCHANGED, Worker, delete, insert, rekey, table, update, update_full};

const PACK: &str = r#"
[pack]
name = "p"
[tables.projects]
[[rules]]
name = "project_created"
table = "projects"
on = ["insert"]
action_details = "{{ new.id }} created as {{ new.name }}"
[[rules]]
name = "project_renamed"
table = "projects"
on = ["update"]
when = "changed('name')"
action_details = "{{ old.name }} is {{ new.name }} now"
"#;

fn projects() -> Arc<Relation> {
    table("projects", &[("id", 25), ("name", 25), ("state", 25)])
}

/// `known` was seen; since then nobody has watched.
fn after_gap() -> Worker {
    let mut worker = Worker::new(PACK, &[&projects()]);
    worker.commit(vec![insert(
        &projects(),
        &json!({"id": "known", "name": "a"}),
    )]);
    worker.after_gap.push(TableName::new("public", "projects"));
    worker
}

fn set(id: &str, name: &str) -> activity::Operation {
    update(&projects(), &json!({"id": id, "name": name}))
}

#[test]
fn a_row_that_came_unobserved_is_told_of_as_new_by_its_first_change_and_then_as_ever() {
    let mut worker = after_gap();
    let derivation = worker.commit(vec![set("came", "b")]);
    assert!(derivation.writes.iter().all(|write| write.unobserved));
    let details = derivation.actions[0].action.action_details.clone();
    assert_eq!(details.as_deref(), Some("came created as b"));
    assert_eq!(worker.sentences(vec![set("came", "c")]), ["b is c now"]);
}

#[test]
fn without_a_gap_a_row_without_an_image_is_not_new() {
    let mut worker = after_gap();
    worker.after_gap.clear();
    assert_eq!(worker.sentences(vec![set("filled", "b")]), [""; 0]);
}

#[test]
fn a_row_that_was_known_is_told_of_from_where_it_was_seen_last() {
    let mut worker = after_gap();
    let seen_by_the_server = json!({"id": "known", "name": "b"});
    let now = json!({"id": "known", "name": "c"});
    let full = update_full(&projects(), &seen_by_the_server, &now);
    assert_eq!(worker.sentences(vec![full]), ["a is c now"]);
    let full = update_full(
        &projects(),
        &json!({"id": "came", "name": "x"}),
        &now_of("came"),
    );
    assert_eq!(worker.sentences(vec![full]), ["came created as y"]);
}

fn now_of(id: &str) -> serde_json::Value {
    json!({"id": id, "name": "y"})
}

#[test]
fn a_row_that_came_unobserved_and_goes_leaves_a_tombstone_and_no_word() {
    let mut worker = after_gap();
    for operations in [
        vec![delete(&projects(), &json!({"id": "gone"}))],
        vec![
            set("gone", "b"),
            delete(&projects(), &json!({"id": "gone"})),
        ],
    ] {
        let derivation = worker.commit(operations);
        assert!(derivation.actions.is_empty() && derivation.faults.is_empty());
        let [write] = &derivation.writes[..] else {
            panic!("{:?}", derivation.writes);
        };
        assert!(write.image.is_none());
    }
}

#[test]
fn a_row_that_came_unobserved_and_moves_its_key_is_new_under_the_last_one() {
    let mut worker = after_gap();
    let moved = rekey(&projects(), &json!({"id": "came"}), &now_of("moved"));
    let derivation = worker.commit(vec![moved]);
    let details = derivation.actions[0].action.action_details.clone();
    assert_eq!(details.as_deref(), Some("moved created as y"));
    assert_eq!(derivation.writes.len(), 2, "and a tombstone where it was");
}

#[test]
fn a_large_value_that_is_not_sent_is_told_of_as_missing() {
    let mut worker = after_gap();
    let unsent = json!({"id": "came", "name": UNCHANGED});
    let derivation = worker.commit(vec![update(&projects(), &unsent)]);
    assert_eq!(derivation.faults.len(), 1);
    assert!(
        derivation.faults[0].kept.is_some(),
        "to be worked out again"
    );
}
