//! What a rule can not work out is a fault of that rule and row, and tells no value.

use std::sync::Arc;

use activity::{Relation, ReplicaIdentity};
use proptest::prelude::*;
use rules::{Derivation, Images, Loaded};
use serde_json::{Value as Json, json};

use crate::worker::{UNCHANGED, Worker, delete, insert, table, update};

/// One rule on every change that renders an expression.
fn renders(expression: &str) -> String {
    format!(
        "[pack]\nname = \"p\"\n[tables.t]\n[[rules]]\nname = \"r\"\ntable = \"t\"\n\
         on = [\"insert\", \"update\", \"delete\"]\naction_details = '''{{{{ {expression} }}}}'''\n"
    )
}

fn t() -> Arc<Relation> {
    table(
        "t",
        &[
            ("k", 23),
            ("n", 1700),
            ("s", 25),
            ("j", 3802),
            ("i", 20),
            ("bin", 17),
            ("b", 16),
        ],
    )
}

fn told(expression: &str, row: &Json) -> Result<Option<String>, String> {
    let mut worker = Worker::new(&renders(expression), &[&t()]);
    let Derivation {
        mut actions,
        mut faults,
        writes,
        ..
    } = worker.commit(vec![insert(&t(), row)]);
    assert_eq!(
        writes.len(),
        1,
        "the image is written whatever the rule gives"
    );
    match faults.pop() {
        Some(fault) => {
            assert_eq!(fault.rule.as_deref(), Some("p/r"));
            Err(fault.reason)
        }
        None => Ok(actions.remove(0).action.action_details),
    }
}

#[test]
fn values_print_exactly_and_null_prints_nothing() {
    let row = json!({"k": 1, "n": "0.100", "s": "it's", "j": {"big": 12345678901234567890123u128, "list": [1, null, "x"]}, "i": 9007199254740993i64, "b": "t"});
    for (expression, expected) in [
        ("new.n", Some("0.100")),
        ("new.i", Some("9007199254740993")),
        ("new.j.big", Some("12345678901234567890123")),
        ("new.j.list", Some("[1,null,\"x\"]")),
        ("new.j.list | join", Some("1, x")),
        ("new.b", Some("true")),
        ("new.s", Some("it's")),
        ("old.s", None),
        ("'x' ~ old.s ~ new.b", Some("xtrue")),
        ("old.s | upper", None),
        ("old.s | trim", None),
        ("old.s | replace('a', 'b')", None),
        ("old.s | lower", None),
        ("old.s | title", None),
        ("old.s | capitalize", None),
        ("old.j | first", None),
        ("old.j | length", Some("0")),
        ("old.s | split('a') | length", Some("0")),
        ("old.s | int", None),
        ("old.j | last", None),
        ("old.j | list", Some("[]")),
        ("old.j | items | list", Some("[]")),
        ("old.j | reverse", Some("[]")),
        ("old.j | map('upper') | join", None),
        ("old.j | selectattr('x') | list", Some("[]")),
        ("old.s | tojson", Some("null")),
        ("old.s | string", None),
        ("'-12.7' | int", Some("-12")),
        (
            "'Ärger im ÖPNV' | lower | capitalize",
            Some("Ärger im öpnv"),
        ),
        ("'a-b-c' | split('-') | last", Some("c")),
        (
            "' a b ' | trim | replace(' ', '') | upper | title",
            Some("Ab"),
        ),
        ("new['s']", Some("it's")),
        ("changed('s')", Some("true")),
        ("1 if new.n > 0 and new.n < new.i else 2", Some("1")),
        ("new.n == 0.1", Some("true")),
        ("new.s != none and old.s == none", Some("true")),
    ] {
        assert_eq!(
            told(expression, &row),
            Ok(expected.map(str::to_owned)),
            "{expression}"
        );
    }
}

#[test]
fn a_fault_names_the_column_or_operator_and_holds_no_value() {
    let row = json!({"k": 1, "s": "SECRET", "j": {"SECRET": "SECRET"}, "i": 7, "bin": "\\x00"});
    for (expression, reason) in [
        (
            "new.gone",
            "action_details: column \"gone\" does not exist in public.t",
        ),
        (
            "changed('gone')",
            "action_details: column \"gone\" does not exist in public.t",
        ),
        (
            "new.bin",
            "action_details: column \"bin\" is bytea, which templates can not use",
        ),
        (
            "new.s == new.i",
            "action_details: text == number can not be compared",
        ),
        (
            "new.s < 1",
            "action_details: text < number can not be compared",
        ),
        (
            "new.s in [1]",
            "action_details: text in number can not be compared",
        ),
        (
            "new.j.nothing",
            "action_details: a field or variable that does not exist was used",
        ),
        ("new.s + 1", "action_details: invalid operation"),
        (
            "new.s | count('x')",
            "action_details: count needs a list or a number, not text",
        ),
        (
            "new.s | int",
            "action_details: int needs a number, not text",
        ),
        (
            "new.s * 100000000",
            "action_details: engine ran out of fuel",
        ),
        (
            "'ab' * 40000",
            "action_details: renders more than 65536 bytes",
        ),
    ] {
        assert_eq!(
            told(expression, &row),
            Err(reason.to_owned()),
            "{expression}"
        );
    }
}

#[test]
fn a_fault_of_one_rule_lets_the_others_go_on() {
    let second = "[[rules]]\nname = \"s\"\ntable = \"t\"\non = [\"insert\"]\naction_details = \"{{ new.k }}\"\n";
    let mut worker = Worker::new(&(renders("new.s + 1") + second), &[&t()]);
    let derivation = worker.commit(vec![
        insert(&t(), &json!({"k": 1, "s": "x"})),
        insert(&t(), &json!({"k": 2, "s": "x"})),
    ]);
    let sources = derivation
        .actions
        .iter()
        .map(|d| (d.source.rule.as_str(), d.source.key.as_str()));
    assert_eq!(
        sources.collect::<Vec<_>>(),
        [("p/s", "[\"1\"]"), ("p/s", "[\"2\"]")]
    );
    assert_eq!(derivation.faults.len(), 2);
}

#[test]
fn a_toast_value_that_nothing_holds_is_a_fault_only_of_the_rules_that_use_it() {
    let other = "[[rules]]\nname = \"s\"\ntable = \"t\"\non = [\"update\"]\naction_details = \"{{ new.k }}\"\n";
    let mut worker = Worker::new(&(renders("new.s ~ new.k") + other), &[&t()]);
    let derivation = worker.commit(vec![update(&t(), &json!({"k": 1, "s": UNCHANGED}))]);
    assert_eq!(derivation.actions.len(), 1);
    assert_eq!(
        derivation.faults[0].reason,
        "action_details: column \"s\" was not sent (unchanged TOAST value) and no image holds it"
    );
    let image = derivation.writes[0].image.as_ref().unwrap();
    assert_eq!(image.columns().collect::<Vec<_>>(), ["k"]);

    let derivation = worker.commit(vec![update(&t(), &json!({"k": 1, "s": "now known"}))]);
    assert_eq!(derivation.faults, []);
    let derivation = worker.commit(vec![update(&t(), &json!({"k": 1, "s": UNCHANGED}))]);
    assert_eq!(derivation, Derivation::default());
}

#[test]
fn a_toast_value_that_nothing_holds_is_told_once_though_every_rule_is_silent() {
    let mut worker = Worker::new(&renders("old.s"), &[&t()]);
    let derivation = worker.commit(vec![update(&t(), &json!({"k": 1, "s": UNCHANGED}))]);
    let told: Vec<_> = derivation
        .faults
        .iter()
        .map(|f| (&f.rule, f.reason.as_str()))
        .collect();
    let reason = "column \"s\" was not sent (unchanged TOAST value) and no image holds it";
    assert_eq!(told, [(&None, reason)]);
    let derivation = worker.commit(vec![update(&t(), &json!({"k": 1, "s": UNCHANGED}))]);
    assert_eq!(derivation, Derivation::default());
}

#[test]
fn a_rule_that_needs_an_old_value_nobody_knows_is_silent() {
    let row = json!({"k": 1, "s": "x"});
    for expression in ["old.s", "changed('s')", "new.s ~ old.k"] {
        let mut worker = Worker::new(&renders(expression), &[&t()]);
        let derivation = worker.commit(vec![update(&t(), &row)]);
        assert_eq!(
            (derivation.actions.len(), derivation.faults.len()),
            (0, 0),
            "{expression}"
        );
    }
    // A column that came into the rules after the image was stored.
    let mut worker = Worker::new(&renders("old.s"), &[&t()]);
    let key = activity::Key::new(["1"]);
    let image = [(Arc::from("k"), Some("1".into()))].into_iter().collect();
    worker
        .images
        .insert(t().table.clone(), key, Loaded::Known(image));
    let derivation = worker.commit(vec![update(&t(), &row)]);
    assert_eq!(
        (
            derivation.actions.len(),
            derivation.faults.len(),
            derivation.writes.len()
        ),
        (0, 0, 1)
    );
    // A deleted row without an image is known by its key.
    let mut worker = Worker::new(&renders("old.k"), &[&t()]);
    assert_eq!(
        worker.sentences(vec![delete(&t(), &json!({"k": 5}))]),
        ["5"]
    );
}

#[test]
fn a_row_without_a_usable_key_is_a_fault() {
    let mut worker = Worker::new(&renders("new.s"), &[&t()]);
    worker.shapes.clear();
    let fault = worker
        .commit(vec![insert(&t(), &json!({"k": 1}))])
        .faults
        .remove(0);
    assert_eq!(
        (fault.key, fault.rule, fault.reason.as_str()),
        (None, None, "the table has no primary key")
    );

    let mut other = Relation::clone(&t());
    other.identity = ReplicaIdentity::Index;
    other.columns[0].key = false;
    let mut worker = Worker::new(&renders("old.k"), &[&t()]);
    let fault = worker
        .commit(vec![delete(&Arc::new(other), &json!({"k": 1}))])
        .faults
        .remove(0);
    assert_eq!(
        fault.reason,
        "the table's replica identity does not hold its primary key"
    );
}

#[test]
fn tables_that_no_rule_names_are_not_looked_at() {
    let other = table("other", &[("k", 23)]);
    let mut worker = Worker::new(&renders("new.s"), &[&t()]);
    assert_eq!(
        worker.commit(vec![insert(&other, &json!({"k": 1}))]),
        Derivation::default()
    );
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("method|path|change|.{0,3}", inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_in_a_column_makes_the_reference_pack_panic(
        before in any_json(), after in any_json(), count in any::<i32>(), status in ".{0,4}|ready",
    ) {
        let databases = table("databases", &[
            ("database_id", 1043), ("project_id", 1043), ("user_id", 1043), ("request_id", 1043),
            ("name", 1043), ("tables", 3802), ("query_count", 23), ("queried_tables", 3802),
            ("status", 1043), ("environment", 1043),
        ]);
        let projects = table("projects", &[
            ("project_id", 1043), ("user_id", 1043), ("request_id", 1043), ("name", 1043),
            ("container_id", 1043), ("endpoints", 3802), ("status", 1043), ("environment", 1043),
        ]);
        let mut worker = Worker::new(rules::builtin("reference").unwrap(), &[&databases, &projects]);
        let text = |json: &Json| json.to_string();
        for json in [&before, &after] {
            let database = json!({"database_id": "d", "tables": text(json), "queried_tables": text(json), "query_count": count, "status": status});
            let project = json!({"project_id": "p", "endpoints": text(json), "status": status});
            for (relation, row) in [(&databases, database), (&projects, project)] {
                worker.commit(vec![insert(relation, &row)]);
                worker.commit(vec![update(relation, &row)]);
            }
        }
    }

    #[test]
    fn no_bytes_in_a_text_column_make_a_rule_panic(text in ".{0,60}", type_oid in prop::sample::select(vec![16u32, 20, 701, 1700, 114, 3802, 1007, 1009, 1231, 3807, 25])) {
        let t = table("t", &[("k", 23), ("s", type_oid)]);
        let mut worker = Worker::new(&renders("new.s ~ old.s"), &[&t]);
        worker.commit(vec![insert(&t, &json!({"k": 1, "s": text}))]);
        worker.commit(vec![update(&t, &json!({"k": 1, "s": null}))]);
    }
}

#[test]
fn images_are_needed_only_of_rows_from_before_the_part() {
    let t = t();
    let worker = Worker::new(&renders("new.s"), &[&t]);
    let operations = vec![
        insert(&t, &json!({"k": 1})),
        update(&t, &json!({"k": 1, "s": "x"})),
        update(&t, &json!({"k": 2, "s": "x"})),
        delete(&t, &json!({"k": 3})),
    ];
    let part = crate::worker::part(10, operations);
    let needs = worker.rules.needs(&part, &worker.shapes);
    let keys: Vec<_> = needs.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(keys, ["[\"2\"]", "[\"3\"]"]);
    // Without any image nothing goes wrong.
    let derivation = worker
        .rules
        .derive(&part, &worker.shapes, &Images::default());
    assert_eq!(derivation.faults, []);
}
