//! Other rows of the transaction, its message, its truncations, and what actions tell for machines.

use activity::{Found, Operation};
use serde_json::json;

use crate::worker::{Worker, delete, insert, table, truncate, update};

const PACK: &str = r#"
[pack]
name = "p"
[tables.projects]
[tables.parts]

[defaults]
let = { project = "lookup('projects', new.project | default(old.project))", unused = "lookup('projects', new.nothing)" }
user_id = "{{ new.owner | default(old.owner) }}"

[[rules]]
name = "project_deleted"
table = "projects"
on = ["delete"]
user_id = "{{ old.owner }}"
action_details = "Deleted {{ old.name }} with {{ tx.deleted('parts') | count('part') }}"

[[rules]]
name = "part_deleted"
table = "parts"
on = ["delete"]
when = "not tx.deleted('projects')"
user_id = "{{ project.owner }}"
action_details = "Deleted part {{ old.name }} of {{ project.name }}"

[[rules]]
name = "emptied"
table = "parts"
on = ["truncate"]
user_id = ""
action_details = "All parts are gone"

[[rules]]
name = "renamed"
table = "projects"
on = ["update"]
let = { length = "new.name | length" }
data = { twice = "length * 2", who = "context.actor" }
changes = ["name", "size"]
user_id = "{{ new.owner }}"
action_details = "Renamed{% if context.reason %} because {{ context.reason }}{% endif %}"
"#;

fn projects() -> std::sync::Arc<activity::Relation> {
    table(
        "projects",
        &[
            ("id", 25),
            ("name", 25),
            ("owner", 25),
            ("size", 23),
            ("nothing", 25),
        ],
    )
}

fn parts() -> std::sync::Arc<activity::Relation> {
    table(
        "parts",
        &[("id", 25), ("name", 25), ("project", 25), ("nothing", 25)],
    )
}

fn worker() -> Worker {
    Worker::new(PACK, &[&projects(), &parts()])
}

fn project() -> Operation {
    insert(
        &projects(),
        &json!({"id": "p", "name": "Shop", "owner": "ann", "size": 1}),
    )
}

fn piece(n: usize) -> Operation {
    insert(
        &parts(),
        &json!({"id": n.to_string(), "name": n.to_string(), "project": "p"}),
    )
}

fn message(text: &str) -> Operation {
    Operation::Message {
        prefix: "tidings".to_owned(),
        content: text.as_bytes().to_vec(),
    }
}

#[test]
fn deleting_a_project_with_300_children_is_one_action() {
    let mut worker = worker();
    worker.commit(
        std::iter::once(project())
            .chain((0..300).map(piece))
            .collect(),
    );
    let mut gone: Vec<Operation> = (0..300)
        .map(|n| delete(&parts(), &json!({"id": n.to_string()})))
        .collect();
    gone.push(delete(&projects(), &json!({"id": "p"})));
    assert_eq!(worker.sentences(gone), ["Deleted Shop with 300 parts"]);
}

#[test]
fn a_child_alone_is_told_with_its_project() {
    let mut worker = worker();
    worker.commit(vec![project(), piece(1)]);
    let gone = delete(&parts(), &json!({"id": "1"}));
    assert_eq!(worker.sentences(vec![gone]), ["Deleted part 1 of Shop"]);
}

#[test]
fn a_truncation_is_one_action_of_its_table() {
    let mut worker = worker();
    worker.commit(vec![project(), piece(1)]);
    let derivation = worker.commit(vec![truncate(&parts())]);
    assert_eq!(derivation.actions.len(), 1);
    let derived = &derivation.actions[0];
    assert_eq!(
        derived.action.action_details.as_deref(),
        Some("All parts are gone")
    );
    assert_eq!(
        (derived.source.event, derived.source.key.as_str()),
        (activity::Event::Truncate, "[]")
    );
}

#[test]
fn the_message_of_a_transaction_says_who_and_why() {
    let mut worker = worker();
    worker.commit(vec![project()]);
    let rename = |name: &str| {
        update(
            &projects(),
            &json!({"id": "p", "name": name, "owner": "ann", "size": 1}),
        )
    };
    let told = worker.commit(vec![
        rename("Store"),
        message(r#"{"user_id": "bob", "request_id": 7, "reason": "a whim"}"#),
    ]);
    let action = &told.actions[0].action;
    assert_eq!(
        action.action_details.as_deref(),
        Some("Renamed because a whim")
    );
    assert_eq!(
        (action.user_id.as_deref(), action.request_id.as_deref()),
        (Some("bob"), Some("7"))
    );
    let actor = action.actor.as_ref().unwrap();
    assert_eq!((actor.id.as_str(), actor.found), ("bob", Found::Message));

    let told = worker.commit(vec![message("no JSON"), message("[1]"), rename("Shop")]);
    assert_eq!(told.unreadable, 2);
    let action = &told.actions[0].action;
    assert_eq!(action.action_details.as_deref(), Some("Renamed"));
    let actor = action.actor.as_ref().unwrap();
    assert_eq!((actor.id.as_str(), actor.found), ("ann", Found::Row));
}

#[test]
fn messages_can_be_ignored_altogether() {
    let mut worker = worker();
    worker.rules = rules::Rules::compile(worker.rules.sources())
        .unwrap()
        .with_context(false);
    worker.commit(vec![project()]);
    let rename = update(
        &projects(),
        &json!({"id": "p", "name": "x", "owner": "ann", "size": 1}),
    );
    let told = worker.commit(vec![rename, message(r#"{"user_id": "bob"}"#)]);
    assert_eq!(told.actions[0].action.user_id.as_deref(), Some("ann"));
}

#[test]
fn data_holds_variables_expressions_and_columns_before_and_after_with_their_types() {
    let mut worker = worker();
    worker.commit(vec![project()]);
    let rename = update(
        &projects(),
        &json!({"id": "p", "name": "Store", "owner": "ann", "size": 2}),
    );
    let told = worker.commit(vec![rename]);
    let derived = &told.actions[0];
    assert_eq!(
        serde_json::Value::from(derived.action.data.clone()),
        json!({
            "length": 5, "twice": 10, "who": null,
            "changes": {
                "name": {"before": "Shop", "after": "Store"},
                "size": {"before": 1, "after": 2},
            },
        })
    );
    let changed: Vec<&str> = derived.source.changed.iter().map(|name| &**name).collect();
    assert_eq!(changed, ["name", "size"]);
    assert_eq!(derived.source.version.len(), 12);
}

#[test]
fn a_default_that_a_rule_does_not_use_asks_for_no_column() {
    let rules = worker().rules;
    let columns = |name: &str| {
        let used = rules.tables().find(|used| used.table.name == name).unwrap();
        used.columns.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(columns("parts"), ["name", "project"]);
    assert_eq!(columns("projects"), ["name", "owner", "size"]);
}
