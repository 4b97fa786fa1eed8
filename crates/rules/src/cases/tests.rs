use super::*;
use serde_json::json;

const PACK: &str = r#"
[pack]
name = "shop"
[tables.shops]
[tables.orders]
[[rules]]
name = "ordered"
table = "orders"
on = ["insert"]
let = { shop = "lookup('shops', new.shop_id)" }
project_id = "{{ shop.name }}"
user_id = "{{ new.user_id }}"
action_details = "Order {{ new.id }} over {{ new.total }}"
data = { total = "new.total", tags = "new.tags" }
reference_ids = { order_id = "{{ new.id }}" }
[[rules]]
name = "paid"
table = "orders"
on = ["update"]
when = "changed('paid') and new.paid"
status = "{{ new.note }}"
action_details = "Order {{ new.id }} of {{ new.total }} is paid"
[[rules]]
name = "doubled"
table = "orders"
on = ["insert"]
when = "new.note"
action_details = "{{ new.note | int }}"
[[rules]]
name = "gone"
table = "orders"
on = ["delete"]
action_details = "Order {{ old.id }} of {{ old.total }} is gone"
"#;

const HEAD: &str = r#"
pack = "shop.toml"
[types]
orders = { id = "bigint", total = "numeric", paid = "bool", tags = "text[]" }
"#;

fn pack() -> PackSource {
    PackSource {
        origin: "shop.toml".to_owned(),
        text: PACK.to_owned(),
        schema: None,
    }
}

fn verdicts(cases: &str) -> Vec<Verdict> {
    let suite = Suite::read("shop.cases.toml", &format!("{HEAD}{cases}"));
    let suite = suite.unwrap_or_else(|errors| panic!("{errors}"));
    let run = suite.run(&pack());
    run.unwrap_or_else(|errors| panic!("{errors}")).verdicts
}

/// The printed verdict of the one case.
fn told(cases: &str) -> String {
    let verdicts = verdicts(cases);
    assert_eq!(verdicts.len(), 1);
    verdicts[0].to_string()
}

#[test]
fn rows_go_through_the_real_engine_and_images_last_from_transaction_to_transaction() {
    let cases = r#"
[[cases]]
name = "an order is told, and told when it is paid"
rows = { shops = [{ shop_id = "s1", name = "Corner" }] }
[[cases.transactions]]
context = { user_id = "u9" }
insert = { orders = [{ id = 7, shop_id = "s1", total = 12.50, paid = false, tags = ["a", "b"] }] }
[[cases.transactions]]
update = { orders = [{ id = 7, paid = true, total = "@unchanged" }] }
[[cases.transactions]]
changes = [{ delete = "orders", key = [7] }, { insert = "orders", row = { id = 7, shop_id = "none", total = 1 } }]
[[cases.transactions]]
delete = { orders = [7] }
[[cases.actions]]
rule = "ordered"
action_details = "Order 7 over 12.50"
project_id = "Corner"
user_id = "u9"
actor_found = "message"
reference_ids = { order_id = "7" }
data = { tags = ["a", "b"], total = 12.50 }
[[cases.actions]]
rule = "shop/paid"
action_details = "Order 7 of 12.50 is paid"
status = "@null"
event = "update"
[[cases.actions]]
action_details = "Order 7 of 1 is gone"
"#;
    assert_eq!(
        told(cases),
        "ok    an order is told, and told when it is paid"
    );
}

#[test]
fn what_differs_is_shown_with_its_place_in_the_file() {
    let told = told(
        r#"
[[cases]]
name = "wrong in three ways"
[[cases.transactions]]
insert = { orders = [{ id = 1, total = 1 }, { id = 2, total = 2 }, { id = 3, total = 3, note = "many" }] }
[[cases.actions]]
action_details = "Order 1 over 9"
[[cases.actions]]
action_details = "Order 3 over 3"
[[cases.actions]]
action_details = "Order 4 over 4"
"#,
    );
    let expected = [
        "FAIL  wrong in three ways (line 7)",
        "action 1 (line 10): action_details",
        "- \"Order 1 over 9\"",
        "+ \"Order 1 over 1\"",
        "a further action that no case expects",
        "action_details = \"Order 2 over 2\"",
        "action 3 (line 14) is missing",
        "a further fault that no case expects",
        "rule = \"shop/doubled\"",
    ];
    for text in expected {
        assert!(told.contains(text), "{text} is not in\n{told}");
    }
}

#[test]
fn a_fault_is_a_failure_unless_it_is_expected() {
    let case = r#"
[[cases]]
name = "a note that is no number"
[[cases.transactions]]
insert = { orders = [{ id = 1, total = 1, note = "many" }] }
[[cases.actions]]
action_details = "Order 1 over 1"
"#;
    assert!(!verdicts(case)[0].holds());
    let expected =
        format!("{case}[[cases.faults]]\nrule = \"doubled\"\nreason = \"action_details\"\n");
    assert!(verdicts(&expected)[0].holds(), "{}", verdicts(&expected)[0]);
}

#[test]
fn an_update_without_an_image_leaves_rules_that_need_one_silent() {
    let silent = r#"
[[cases]]
name = "nobody saw the row before"
[[cases.transactions]]
update = { orders = [{ id = 1, paid = true }] }
"#;
    assert!(verdicts(silent)[0].holds(), "{}", verdicts(silent)[0]);
}

#[test]
fn unknown_keys_types_and_tables_are_refused_with_their_line_and_a_hint() {
    for (text, says) in [
        (
            "pack = 'p'\nkase = []\n",
            &["2", "kase", "did you mean"][..],
        ),
        (
            "pack = 'p'\n[types]\no = { a = 'jsonbb' }\n",
            &["3", "jsonbb", "did you mean jsonb"],
        ),
        (
            "pack = 'p'\n[[cases]]\nname = 'x'\n",
            &["transactions", "none"],
        ),
        (
            "pack = 'p'\n[[cases]]\nname = 'x'\n[[cases.transactions]]\nisnert = { a = [] }\n",
            &["5", "isnert", "did you mean insert"],
        ),
        (
            "pack = 'p'\n[[cases]]\nname = 'x'\n[[cases.transactions]]\nchanges = [{ delete = 'a' }]\n",
            &["5", "key"],
        ),
        (
            "pack = 'p'\n[[cases]]\nname = 'x'\n[[cases.transactions]]\n[[cases.actions]]\ndetails = 'x'\n",
            &["6", "details"],
        ),
        ("pack = \n", &["1"]),
    ] {
        let told = Suite::read("c.toml", text).unwrap_err().to_string();
        for part in says {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
    let cases =
        format!("{HEAD}[[cases]]\nname = 'x'\n[[cases.transactions]]\ninsert = {{ oders = [] }}\n");
    let suite = Suite::read(
        "c.toml",
        &cases.replace("oders = []", "oders = [{ a = 1 }]"),
    )
    .unwrap();
    let told = suite.run(&pack()).unwrap_err().to_string();
    assert!(
        told.contains("oders") && told.contains("did you mean orders"),
        "{told}"
    );
}

#[test]
fn a_key_that_moves_is_one_row() {
    let cases = r#"
[[cases]]
name = "an order gets another number"
rows = { orders = [{ id = 1, total = 5 }] }
[[cases.transactions]]
changes = [{ update = "orders", key = [1], row = { id = 2, paid = true } }]
[[cases.actions]]
action_details = "Order 2 of 5 is paid"
[[cases.transactions]]
truncate = { }
"#;
    // The table of a truncate is a list, so the file is refused.
    let refused = Suite::read("c.toml", &format!("{HEAD}{cases}")).unwrap_err();
    assert!(refused.to_string().contains("truncate"), "{refused}");
    let cases = cases.replace("truncate = { }", "truncate = [\"orders\"]");
    assert!(verdicts(&cases)[0].holds(), "{}", verdicts(&cases)[0]);
}

#[test]
fn a_verdict_is_told_to_machines_too() {
    let verdict = Verdict {
        name: "x".to_owned(),
        line: 3,
        differences: vec![Difference::Unexpected {
            of: "action",
            got: json!({"a": 1}),
        }],
    };
    let told = serde_json::to_value(&verdict).unwrap();
    assert_eq!(told["differences"][0]["kind"], "unexpected");
}
