//! Many rows, one action.

use activity::Operation;
use serde_json::json;

use crate::worker::{Worker, delete, insert, part, table, update};

const PACK: &str = r#"
[pack]
name = "p"
[tables.queries]
[tables.databases]
[[rules]]
name = "executed"
table = "queries"
on = ["insert", "delete"]
when = "not tx.inserted('databases')"
group = "new.project | default(old.project)"
project_id = "{{ new.project }}"
action_details = "{{ rows | count('query', 'queries') }}: {{ rows | map(attribute='tab') | unique | join }}"
"#;

fn queries() -> std::sync::Arc<activity::Relation> {
    table("queries", &[("id", 25), ("project", 25), ("tab", 25)])
}

fn databases() -> std::sync::Arc<activity::Relation> {
    table("databases", &[("id", 25)])
}

fn query(id: &str, project: &str, tab: &str) -> Operation {
    insert(
        &queries(),
        &json!({"id": id, "project": project, "tab": tab}),
    )
}

fn worker(pack: &str) -> Worker {
    Worker::new(pack, &[&queries(), &databases()])
}

#[test]
fn rows_that_have_a_value_in_common_become_one_action_at_the_place_of_the_first() {
    let told = worker(PACK).sentences(vec![
        query("1", "a", "users"),
        query("2", "b", "orders"),
        query("3", "a", "posts"),
        query("4", "a", "users"),
    ]);
    assert_eq!(told, ["3 queries: users, posts", "1 query: orders"]);
}

#[test]
fn a_group_is_of_one_transaction() {
    let mut worker = worker(PACK);
    assert_eq!(
        worker.sentences(vec![query("1", "a", "users")]),
        ["1 query: users"]
    );
    assert_eq!(
        worker.sentences(vec![query("2", "a", "users")]),
        ["1 query: users"]
    );
}

#[test]
fn rows_of_deleted_ones_are_as_they_were() {
    let mut worker = worker(PACK);
    worker.commit(vec![query("1", "a", "users"), query("2", "a", "posts")]);
    let gone = |id: &str| delete(&queries(), &json!({"id": id}));
    assert_eq!(
        worker.sentences(vec![gone("1"), gone("2")]),
        ["2 queries: users, posts"]
    );
}

#[test]
fn what_else_the_transaction_did_decides() {
    let database = insert(&databases(), &json!({"id": "d"}));
    let told = worker(PACK).sentences(vec![query("1", "a", "users"), database]);
    assert_eq!(told, [""; 0]);
}

#[test]
fn a_group_that_fails_sets_each_of_its_rows_aside() {
    let pack = PACK.replace("| count('query', 'queries')", "| int");
    let derivation = worker(&pack).commit(vec![query("1", "a", "x"), query("2", "a", "y")]);
    let keys: Vec<_> = derivation
        .faults
        .iter()
        .filter_map(|fault| fault.key.as_ref())
        .collect();
    assert_eq!(
        keys.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
        [r#"["1"]"#, r#"["2"]"#]
    );
    assert_eq!(derivation.actions, []);
}

#[test]
fn an_action_of_a_part_of_a_transaction_says_so() {
    let mut worker = worker(PACK);
    let mut half = part(500, vec![query("1", "a", "users")]);
    half.end = None;
    let derivation = worker.derive(activity::Origin::Stream, &half);
    assert_eq!(derivation.actions[0].action.data["partial"], true);
    let whole = worker.commit(vec![query("2", "a", "users")]);
    assert!(!whole.actions[0].action.data.contains_key("partial"));
}

#[test]
fn an_update_that_the_rule_does_not_name_is_no_row_of_its_group() {
    let pack = PACK.replace(r#"["insert", "delete"]"#, r#"["update"]"#);
    let mut worker = worker(&pack);
    worker.commit(vec![query("1", "a", "users"), query("2", "a", "posts")]);
    let set = |id: &str, project: &str, tab: &str| {
        update(
            &queries(),
            &json!({"id": id, "project": project, "tab": tab}),
        )
    };
    // Only what `when` and `group` read brings an update in.
    assert_eq!(
        worker.sentences(vec![set("1", "a", "other"), set("2", "b", "posts")]),
        ["1 query: posts"]
    );
}
