//! Rows that rules look up, as of the commit.

use activity::{Found, Origin};
use rules::Derivation;
use serde_json::json;

use crate::worker::{Worker, delete, insert, part, table, truncate, update};

const INT8: u32 = 20;
const TEXT: u32 = 25;

const PACK: &str = r#"
[pack]
name = "p"
[tables.owners]
[tables.projects]
[tables.builds]
[tables.deployments]

[[rules]]
name = "deployed"
table = "deployments"
on = ["insert", "update", "delete"]
let = { build = "lookup('builds', new.build | default(old.build))", project = "lookup('projects', build.project, by='slug')" }
user_id = "{{ lookup('owners', project.owner).name }}"
action_details = "{{ project.title | default('nothing') }}{% if not project %}!{% endif %}"
"#;

fn worker() -> Worker {
    Worker::new(
        PACK,
        &[
            &table("owners", &[("id", INT8), ("name", TEXT)]),
            &table(
                "projects",
                &[
                    ("id", INT8),
                    ("slug", TEXT),
                    ("title", TEXT),
                    ("owner", TEXT),
                ],
            ),
            &table("builds", &[("id", INT8), ("project", TEXT)]),
            &table("deployments", &[("id", INT8), ("build", TEXT)]),
        ],
    )
}

fn owner(id: u64, name: &str) -> activity::Operation {
    insert(
        &table("owners", &[("id", INT8), ("name", TEXT)]),
        &json!({"id": id, "name": name}),
    )
}

fn projects() -> std::sync::Arc<activity::Relation> {
    table(
        "projects",
        &[
            ("id", INT8),
            ("slug", TEXT),
            ("title", TEXT),
            ("owner", TEXT),
        ],
    )
}

fn project(id: u64, slug: &str, title: &str) -> activity::Operation {
    // The owner's bigint key, as a text.
    insert(
        &projects(),
        &json!({"id": id, "slug": slug, "title": title, "owner": "1"}),
    )
}

fn build(id: u64, project: &str) -> activity::Operation {
    insert(
        &table("builds", &[("id", INT8), ("project", TEXT)]),
        &json!({"id": id, "project": project}),
    )
}

fn deploy(id: u64, build: u64) -> activity::Operation {
    let deployments = table("deployments", &[("id", INT8), ("build", TEXT)]);
    insert(&deployments, &json!({"id": id, "build": build.to_string()}))
}

fn told(derivation: &Derivation) -> Vec<(&str, &str)> {
    assert_eq!(derivation.faults, []);
    let of = |derived: &rules::Derived| -> (&str, &str) {
        let action = &derived.action;
        let text = |text: &Option<String>| {
            text.as_ref()
                .map_or("-", |t| Box::leak(t.clone().into_boxed_str()))
        };
        (text(&action.action_details), text(&action.user_id))
    };
    derivation.actions.iter().map(of).collect()
}

#[test]
fn a_lookup_goes_over_several_hops_and_across_types() {
    let mut worker = worker();
    worker.commit(vec![
        owner(1, "ann"),
        project(5, "shop", "My shop"),
        build(7, "shop"),
    ]);
    let derivation = worker.commit(vec![deploy(9, 7)]);
    assert_eq!(told(&derivation), [("My shop", "ann")]);
    let actor = derivation.actions[0].action.actor.as_ref().unwrap();
    assert_eq!((actor.id.as_str(), actor.found), ("ann", Found::Lookup));
}

#[test]
fn rows_of_the_same_transaction_are_found_whatever_their_order() {
    let derivation = worker().commit(vec![
        deploy(9, 7),
        build(7, "shop"),
        project(5, "shop", "My shop"),
        owner(1, "ann"),
    ]);
    assert_eq!(told(&derivation), [("My shop", "ann")]);
}

#[test]
fn what_is_not_there_is_a_row_of_nothing_and_false() {
    let derivation = worker().commit(vec![deploy(9, 7)]);
    assert_eq!(told(&derivation), [("nothing!", "-")]);
}

#[test]
fn a_lookup_is_as_of_the_commit() {
    let mut worker = worker();
    worker.commit(vec![
        owner(1, "ann"),
        project(5, "shop", "Old"),
        build(7, "shop"),
    ]);
    let renamed = json!({"id": 5, "slug": "shop", "title": "New", "owner": "1"});
    let derivation = worker.commit(vec![deploy(9, 7), update(&projects(), &renamed)]);
    assert_eq!(told(&derivation), [("New", "ann")]);
    // A value that has moved to another row is found there, and nowhere else.
    let moved = json!({"id": 5, "slug": "other", "title": "New", "owner": "1"});
    worker.commit(vec![update(&projects(), &moved)]);
    assert_eq!(
        told(&worker.commit(vec![deploy(10, 7)])),
        [("nothing!", "-")]
    );
    worker.commit(vec![project(6, "shop", "Next")]);
    assert_eq!(told(&worker.commit(vec![deploy(11, 7)])), [("Next", "ann")]);
}

#[test]
fn a_row_that_the_transaction_deletes_is_found_as_it_was() {
    let mut worker = worker();
    worker.commit(vec![
        owner(1, "ann"),
        project(5, "shop", "My shop"),
        build(7, "shop"),
        deploy(9, 7),
    ]);
    let deployments = table("deployments", &[("id", INT8), ("build", TEXT)]);
    let derivation = worker.commit(vec![
        delete(&projects(), &json!({"id": 5})),
        delete(&deployments, &json!({"id": 9})),
    ]);
    assert_eq!(told(&derivation), [("My shop", "ann")]);
    assert_eq!(
        told(&worker.commit(vec![deploy(10, 7)])),
        [("nothing!", "-")]
    );
}

#[test]
fn a_truncated_table_has_no_rows_to_look_up() {
    let mut worker = worker();
    worker.commit(vec![
        owner(1, "ann"),
        project(5, "shop", "My shop"),
        build(7, "shop"),
    ]);
    let derivation = worker.commit(vec![truncate(&projects()), deploy(9, 7)]);
    assert_eq!(told(&derivation), [("nothing!", "-")]);
    assert_eq!(
        told(&worker.commit(vec![deploy(10, 7)])),
        [("nothing!", "-")]
    );
}

#[test]
fn an_update_of_a_column_that_only_lookups_read_makes_no_action_but_is_remembered() {
    let mut worker = worker();
    worker.commit(vec![project(5, "shop", "Old")]);
    let renamed = json!({"id": 5, "slug": "shop", "title": "New", "owner": "1"});
    let derivation = worker.commit(vec![update(&projects(), &renamed)]);
    assert_eq!((derivation.actions.len(), derivation.writes.len()), (0, 1));
}

#[test]
fn a_column_that_no_text_names_is_told_by_name() {
    let pack = r#"
[pack]
name = "p"
[tables.a]
COLUMNS
[tables.b]
[[rules]]
name = "r"
table = "b"
on = "insert"
action_details = "{{ [lookup('a', new.a)] | map(attribute='title') | join }}"
"#;
    let a = table("a", &[("id", TEXT), ("title", TEXT)]);
    let b = table("b", &[("id", TEXT), ("a", TEXT)]);
    let rows = || {
        vec![
            insert(&a, &json!({"id": "1", "title": "A"})),
            insert(&b, &json!({"id": "2", "a": "1"})),
        ]
    };
    let derivation = Worker::new(&pack.replace("COLUMNS", ""), &[&a, &b]).commit(rows());
    let reason = &derivation.faults[0].reason;
    assert!(
        reason.contains("\"title\" of public.a") && reason.contains("`columns`"),
        "{reason}"
    );
    let named = pack.replace("COLUMNS", "columns = ['title']");
    assert_eq!(Worker::new(&named, &[&a, &b]).sentences(rows()), ["A"]);
}

#[test]
fn what_is_found_in_a_table_has_the_time_that_its_row_tells() {
    let pack = r#"
[pack]
name = "p"
[tables.a]
[[rules]]
name = "r"
table = "a"
on = "insert"
created_at = "{{ new.at }}"
[[rules]]
name = "s"
table = "a"
on = "insert"
backfill = false
"#;
    let a = table("a", &[("id", TEXT), ("at", INT8)]);
    let mut worker = Worker::new(pack, &[&a]);
    let found = part(
        500,
        vec![insert(&a, &json!({"id": "1", "at": 1_700_000_000}))],
    );
    let times = |derivation: &Derivation| -> Vec<Option<i64>> {
        derivation
            .actions
            .iter()
            .map(|d| d.action.created_at)
            .collect()
    };
    assert_eq!(times(&worker.derive(Origin::Stream, &found)), [None, None]);
    assert_eq!(
        times(&worker.derive(Origin::Reconciled, &found)),
        [Some(1_700_000_000), None]
    );
    assert_eq!(
        times(&worker.derive(Origin::Backfill, &found)),
        [Some(1_700_000_000)]
    );
}
