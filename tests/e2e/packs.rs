//! Rule packs that are not built in: where they find their tables, and what is said of their mistakes.

use tests::Stage;

/// A worker's own table, in a schema of its own.
const TABLES: &str = r#"create schema "Shop" authorization worker; set role worker;
    create table "Shop"."Orders" ("orderId" bigint primary key, "customer" text, total numeric, note text)"#;

const PACK: &str = r#"
[pack]
name = "shop"
[tables.Orders]
[[rules]]
name = "ordered"
table = "Orders"
on = ["insert"]
project_id = "{{ new.customer }}"
action_details = "Order {{ new.orderId }} of {{ new.total }}"
[[rules]]
name = "doubled"
table = "Orders"
on = ["insert", "update"]
when = "new.note"
action_details = "Twice {{ new.note | int * 2 }}"
"#;

fn placed(pack: &str, schema: &str) -> toml::Value {
    let mut placed = toml::Table::new();
    placed.insert("pack".to_owned(), pack.into());
    placed.insert("schema".to_owned(), schema.into());
    placed.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_from_a_file_works_on_the_schema_it_is_placed_in_beside_others() {
    let mut stage = Stage::start().await;
    stage.execute(TABLES).await;
    // Relative to the settings file.
    stage.file("shop.toml", PACK);
    let rules = vec!["reference".into(), placed("shop.toml", "Shop")];
    stage.settings.set("capture.rules", rules);
    let _sidecar = stage.run().await;
    let order = r#"insert into "Shop"."Orders" values (9007199254740993, 'c1', 12.50)"#;
    stage.execute(order).await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(2).await;
    let said = ["Order 9007199254740993 of 12.50", "Project 'x' created"];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(stage.actions().await[0].action_type, "ordered");
    let project: String = stage
        .value("select project_id from project_actions where action_type = 'ordered'")
        .await;
    assert_eq!(project, "c1");
    let rule: String = stage
        .value("select rule from tidings.actions where seq = 1")
        .await;
    assert_eq!(rule, "shop/ordered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_on_a_row_quarantines_that_change_only() {
    let mut stage = Stage::start().await;
    stage.execute(TABLES).await;
    stage.file("shop.toml", PACK);
    stage
        .settings
        .set("capture.rules", vec![placed("shop.toml", "Shop")]);
    let sidecar = stage.run().await;
    let orders = r#"insert into "Shop"."Orders" values
        (1, 'c', 1, '21'), (2, 'c', 2, 'many s3cr3t'), (3, 'c', 3, '4')"#;
    stage.execute(orders).await;
    stage.until_actions(5).await;
    let said = [
        "Order 1 of 1",
        "Twice 42",
        "Order 2 of 2",
        "Order 3 of 3",
        "Twice 8",
    ];
    assert_eq!(stage.sentences().await, said);
    let fault: serde_json::Value = stage
        .value("select to_jsonb(q) from tidings.quarantine q")
        .await;
    assert_eq!(fault["kind"], "rule");
    assert_eq!(fault["rule"], "shop/doubled");
    assert_eq!(fault["table_name"], r#""Shop"."Orders""#);
    assert_eq!(fault["key"], r#"["2"]"#);
    assert!(
        !fault["reason"].as_str().unwrap().contains("s3cr3t"),
        "{fault}"
    );
    let status = stage.tidings(["status", "--json"]).await.success().json();
    let states: Vec<(&str, &str)> = status["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (
                rule["name"].as_str().unwrap(),
                rule["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [("shop/ordered", "ok"), ("shop/doubled", "failing")]
    );
    assert!(!sidecar.log().contains("s3cr3t"));

    // The row is mended, and the rule goes on with it.
    stage
        .execute(r#"update "Shop"."Orders" set note = '5' where "orderId" = 2"#)
        .await;
    stage.until_actions(6).await;
    assert_eq!(stage.sentences().await[5], "Twice 10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_pack_is_told_with_file_rule_and_key() {
    let mut stage = Stage::start().await;
    let good = stage.file("good.toml", PACK).display().to_string();
    let checked = stage.tidings(["rules", "check", &good]).await.success();
    assert!(
        checked.stdout.contains("2 rules") && checked.stdout.contains("orderId"),
        "{}",
        checked.stdout
    );
    stage
        .tidings(["rules", "check", "reference"])
        .await
        .success();

    for (wrong, instead, says) in [
        (
            "new.note | int * 2",
            "new.note | itn * 2",
            &["doubled", "itn"][..],
        ),
        ("when = \"new.note\"", "when = \"new.note ==\"", &["when"]),
        (
            "on = [\"insert\"]",
            "on = [\"inserted\"]",
            &["ordered", "on"],
        ),
        (
            "project_id =",
            "projct_id =",
            &["ordered", "projct_id", "project_id"],
        ),
        (
            "table = \"Orders\"",
            "table = \"Odrers\"",
            &["ordered", "Odrers"],
        ),
    ] {
        let bad = stage
            .file("bad.toml", &PACK.replacen(wrong, instead, 1))
            .display()
            .to_string();
        let refused = stage.tidings(["rules", "check", &bad]).await;
        assert_eq!(
            refused.code(),
            2,
            "{instead}: {}{}",
            refused.stdout,
            refused.stderr
        );
        for text in says.iter().chain(&["bad.toml", "rule "]) {
            assert!(
                refused.stderr.contains(*text),
                "{text} is not in {}",
                refused.stderr
            );
        }
        stage.settings.set("capture.rules", vec![bad]);
        for command in ["setup", "run"] {
            assert_eq!(stage.tidings([command]).await.code(), 2, "{instead}");
        }
    }
    let missing = stage.tidings(["rules", "check", "missing.toml"]).await;
    assert_eq!(missing.code(), 2);
    assert!(
        missing.stderr.contains("missing.toml"),
        "{}",
        missing.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_altered_mid_stream_goes_on_being_told() {
    let mut stage = Stage::start().await;
    stage.execute(TABLES).await;
    stage.file("shop.toml", PACK);
    stage
        .settings
        .set("capture.rules", vec![placed("shop.toml", "Shop")]);
    stage.tidings(["setup"]).await.success();
    // Before the sidecar reads any of it, so that one stream carries every shape of the table.
    for statement in [
        r#"insert into "Shop"."Orders" values (1, 'c', 1)"#,
        r#"alter table "Shop"."Orders" add column extra int default 7"#,
        r#"insert into "Shop"."Orders" values (2, 'c', 2.5, '4', 8)"#,
        r#"alter table "Shop"."Orders" alter column total type text"#,
        r#"alter table "Shop"."Orders" drop column extra"#,
        r#"insert into "Shop"."Orders" values (3, 'c', 'three')"#,
        r#"update "Shop"."Orders" set note = '6' where "orderId" = 1"#,
    ] {
        stage.execute(statement).await;
    }
    let _sidecar = stage.resume().await;
    stage.until_actions(5).await;
    let said = [
        "Order 1 of 1",
        "Order 2 of 2.5",
        "Twice 8",
        "Order 3 of three",
        "Twice 12",
    ];
    assert_eq!(stage.sentences().await, said);
    let quarantined: i64 = stage.value("select count(*) from tidings.quarantine").await;
    assert_eq!(quarantined, 0);
}
