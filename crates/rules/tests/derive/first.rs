//! `first`: what a row reaches for the first time.

use activity::Operation;
use serde_json::json;

use crate::worker::{Worker, delete, insert, table, update};

const PACK: &str = r#"
[pack]
name = "p"
[tables.services]
[[rules]]
name = "healthy"
table = "services"
on = ["insert", "update"]
when = "first('status', 'HEALTHY')"
action_details = "{{ new.id }} is healthy"
"#;

fn services() -> std::sync::Arc<activity::Relation> {
    table("services", &[("id", 25), ("status", 25)])
}

fn set(status: &str) -> Operation {
    update(&services(), &json!({"id": "a", "status": status}))
}

fn begin(status: &str) -> Operation {
    insert(&services(), &json!({"id": "a", "status": status}))
}

#[test]
fn a_service_that_flaps_is_told_once() {
    let mut worker = Worker::new(PACK, &[&services()]);
    assert_eq!(worker.sentences(vec![begin("STARTING")]), [""; 0]);
    assert_eq!(worker.sentences(vec![set("HEALTHY")]), ["a is healthy"]);
    for status in ["UNHEALTHY", "HEALTHY", "UNHEALTHY", "HEALTHY"] {
        assert_eq!(worker.sentences(vec![set(status)]), [""; 0], "{status}");
    }
}

#[test]
fn a_row_that_begins_there_has_reached_it() {
    let mut worker = Worker::new(PACK, &[&services()]);
    assert_eq!(worker.sentences(vec![begin("HEALTHY")]), ["a is healthy"]);
    assert_eq!(worker.sentences(vec![set("UNHEALTHY")]), [""; 0]);
    assert_eq!(worker.sentences(vec![set("HEALTHY")]), [""; 0]);
}

#[test]
fn a_row_that_is_made_anew_begins_anew() {
    let mut worker = Worker::new(PACK, &[&services()]);
    worker.commit(vec![begin("HEALTHY")]);
    worker.commit(vec![delete(&services(), &json!({"id": "a"}))]);
    assert_eq!(worker.sentences(vec![begin("HEALTHY")]), ["a is healthy"]);
}

#[test]
fn what_a_row_was_before_it_was_watched_is_not_known_and_not_told() {
    let mut worker = Worker::new(PACK, &[&services()]);
    assert_eq!(worker.sentences(vec![set("HEALTHY")]), [""; 0]);
    assert_eq!(worker.sentences(vec![set("UNHEALTHY")]), [""; 0]);
    assert_eq!(worker.sentences(vec![set("HEALTHY")]), [""; 0]);
}
