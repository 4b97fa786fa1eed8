//! What the quarantine keeps of a change, and what comes of it under a mended pack.

use std::collections::BTreeMap;
use std::sync::Arc;

use activity::{Key, Relation};
use rules::{Derivation, Image, Images, KeptChange, Loaded, Rules};
use serde_json::json;

use crate::worker::{UNCHANGED, Worker, insert, rekey, table, update};

fn before() -> Arc<Relation> {
    table("t", &[("k", 23), ("state", 25), ("big", 25), ("note", 25)])
}

/// The same table with `state` renamed to `phase`.
fn after() -> Arc<Relation> {
    table("t", &[("k", 23), ("phase", 25), ("big", 25), ("note", 25)])
}

fn pack(column: &str) -> String {
    format!(
        "[pack]\nname = \"p\"\n[tables.t]\n
         [[rules]]\nname = \"moved\"\ntable = \"t\"\non = [\"insert\", \"update\"]\n\
         when = \"changed('{column}')\"\naction_details = \"{{{{ old.{column} }}}} > {{{{ new.{column} }}}}\"\n
         [[rules]]\nname = \"noted\"\ntable = \"t\"\non = [\"insert\", \"update\"]\n\
         when = \"changed('note')\"\naction_details = \"{{{{ new.note }}}}\"\n"
    )
}

fn compiled(pack: &str) -> Rules {
    Worker::new(pack, &[&after()]).rules
}

fn again(rules: &Rules, worker: &Worker, kept: &KeptChange) -> Derivation {
    // The table as it is by now.
    let shapes = Worker::new(&pack("phase"), &[&after()]).shapes;
    rules.rederive(&[kept], Some("p/moved"), &shapes, &worker.images)
}

fn sentence(derivation: &Derivation) -> Option<&str> {
    assert_eq!(derivation.faults, []);
    derivation.actions.first()?.action.action_details.as_deref()
}

fn names(image: Option<&Image>) -> Vec<&str> {
    image
        .map(|image| image.columns().collect())
        .unwrap_or_default()
}

#[test]
fn a_renamed_column_keeps_whole_rows_and_a_mended_pack_works_them_out() {
    let mut worker = Worker::new(&pack("state"), &[&before()]);
    worker.commit(vec![insert(
        &before(),
        &json!({"k": 1, "state": "a", "big": "x"}),
    )]);
    let derivation = worker.commit(vec![update(
        &after(),
        &json!({"k": 1, "phase": "b", "big": UNCHANGED, "note": "n"}),
    )]);
    // The other rule went on.
    assert_eq!(derivation.actions.len(), 1);
    let fault = &derivation.faults[0];
    assert_eq!(fault.rule.as_deref(), Some("p/moved"));
    assert_eq!(fault.key, Some(Key::new(["1"])));
    let kept = fault.kept.as_deref().unwrap();
    assert_eq!(names(kept.new.as_ref()), ["k", "note", "phase"]);
    assert_eq!(names(kept.old.as_ref()), ["note", "state"]);

    let mended = compiled(&pack("phase"));
    // What the column was called before is not known: the rule needs an old value.
    assert_eq!(again(&mended, &worker, kept), Derivation::default());
    let called = BTreeMap::from([("phase".to_owned(), vec!["state".to_owned()])]);
    let kept = KeptChange {
        old: kept.old.clone().map(|old| old.renamed(&called)),
        ..kept.clone()
    };
    assert_eq!(sentence(&again(&mended, &worker, &kept)), Some("a > b"));
    // Under the rules that failed it fails again.
    let failed = again(&worker.rules, &worker, &kept);
    assert_eq!(failed.faults[0].reason, fault.reason);
}

#[test]
fn an_ordinary_fault_keeps_only_the_columns_that_rules_name() {
    let rule = "[pack]\nname = \"p\"\n[tables.t]\n[[rules]]\nname = \"moved\"\ntable = \"t\"\n\
                on = [\"insert\"]\naction_details = \"{{ (new.note | fromjson).a }}\"\n";
    let rule = rule.replace("(new.note | fromjson).a", "new.note + 1");
    let mut worker = Worker::new(&rule, &[&before()]);
    let derivation = worker.commit(vec![insert(
        &before(),
        &json!({"k": 1, "state": "s3cr3t", "note": "many"}),
    )]);
    let kept = derivation.faults[0].kept.as_deref().unwrap();
    assert_eq!(names(kept.new.as_ref()), ["note"]);
    assert_eq!(kept.old, None);
    let mended = compiled(&rule.replace("new.note + 1", "new.note"));
    assert_eq!(sentence(&again(&mended, &worker, kept)), Some("many"));
    let other = compiled(&rule.replace("\"moved\"", "\"other\""));
    let gone = again(&other, &worker, kept);
    assert!(gone.faults[0].reason.contains("no rule p/moved any more"));
}

#[test]
fn a_value_that_was_not_kept_is_taken_from_the_image_as_it_is_by_then() {
    let mut worker = Worker::new(&pack("state"), &[&before()]);
    let operation = update(&before(), &json!({"k": 1, "state": "b", "note": UNCHANGED}));
    let derivation = worker.commit(vec![operation]);
    let fault = &derivation.faults[0];
    assert_eq!(fault.rule, None);
    let kept = fault.kept.as_deref().unwrap();
    let retry = |images: &Images| worker.rules.rederive(&[kept], None, &worker.shapes, images);
    assert_eq!(retry(&Images::default()).faults[0].reason, fault.reason);
    let mut images = Images::default();
    let image = [(Arc::from("note"), Some("n".into()))]
        .into_iter()
        .collect();
    images.insert(
        before().table.clone(),
        Key::new(["1"]),
        Loaded::Known(image),
    );
    // Both rules have had it: nothing is told twice.
    assert_eq!(retry(&images), Derivation::default());
}

#[test]
fn a_renamed_key_column_still_tells_rows_apart() {
    let renamed = table("t", &[("id", 23), ("state", 25), ("big", 25), ("note", 25)]);
    let mut worker = Worker::new(&pack("state"), &[&before()]);
    worker.commit(vec![insert(&before(), &json!({"k": 1, "state": "a"}))]);
    let moved = rekey(&renamed, &json!({"id": 1}), &json!({"id": 2, "state": "b"}));
    assert_eq!(worker.sentences(vec![moved]), ["a > b"]);
}
