//! What a rule could not work out, or `project_actions` did not take, is worked off later: in order, once.

use scratch::Server;
use serde_json::Value;
use tests::{Sidecar, Stage, eventually};

const TABLES: &str = "set role worker;
    create table orders (id bigint primary key, number text, state text, note text)";

const PACK: &str = r#"
[pack]
name = "shop"
[tables.orders]
[defaults]
project_id = "p"
[[rules]]
name = "placed"
table = "orders"
on = ["insert"]
action_details = "Order {{ new.number }} placed"
[[rules]]
name = "opened"
table = "orders"
on = ["insert"]
action_details = "Order {{ new.number }} is {{ new.state }}"
[[rules]]
name = "moved"
table = "orders"
on = ["update"]
when = "changed('state')"
action_details = "Order {{ new.number }} went from {{ old.state }} to {{ new.state }}"
[[rules]]
name = "noted"
table = "orders"
on = ["insert", "update"]
when = "new.note and changed('note')"
action_details = "Order {{ new.number }} notes {{ new.note | int }}"
"#;

async fn stage(pack: &str) -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.execute(TABLES).await;
    stage.file("shop.toml", pack);
    stage.settings.set("capture.rules", vec!["shop.toml"]);
    stage
}

/// The sentences of a rule, in the order in which they were recorded.
async fn said(stage: &Stage, rule: &str) -> Vec<String> {
    let sql = format!(
        "select coalesce(array_agg(a.action_details order by l.seq), '{{}}')
         from project_actions a join tidings.actions l using (action_id) where l.rule = 'shop/{rule}'"
    );
    stage.value(&sql).await
}

async fn restarted(stage: &Stage, sidecar: Sidecar, pack: &str) -> Sidecar {
    sidecar.terminate(std::time::Duration::from_secs(20)).await;
    stage.file("shop.toml", pack);
    stage.resume().await
}

async fn until_quarantined(stage: &Stage, count: i64) {
    stage
        .until(&format!(
            "(select count(*) = {count} from tidings.quarantine)"
        ))
        .await;
}

async fn states(stage: &Stage) -> Vec<(String, String)> {
    let status = stage.tidings(["status", "--json"]).await.success().json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rules = status["rules"].as_array().unwrap().iter();
    rules
        .map(|r| (text(&r["name"]), text(&r["state"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_sets_its_rules_aside_and_a_mended_pack_works_them_off_in_order_once() {
    let stage = stage(PACK).await;
    let sidecar = stage.run().await;
    stage
        .execute("insert into orders values (1, 'A', 'open'), (2, 'B', 'open'), (4, 'D', 'open')")
        .await;
    stage.until_actions(6).await;
    stage
        .execute("alter table orders rename state to phase")
        .await;
    for sql in [
        "update orders set phase = 'paid' where id = 1",
        "update orders set phase = 'sent' where id = 1",
        "update orders set phase = 'paid' where id = 2",
        "insert into orders values (3, 'C', 'open')",
        "update orders set phase = 'lost' where id = 3",
    ] {
        stage.execute(sql).await;
    }
    // The rules that name no such column go on.
    stage.until_actions(7).await;
    assert_eq!(said(&stage, "placed").await.len(), 4);
    until_quarantined(&stage, 5).await;
    let keys: Vec<String> = stage
        .value("select array_agg(rule || key order by quarantine_id) from tidings.quarantine")
        .await;
    let expected = [
        r#"shop/moved["1"]"#,
        r#"shop/moved["1"]"#,
        r#"shop/moved["2"]"#,
        r#"shop/opened["3"]"#,
        r#"shop/moved["3"]"#,
    ];
    assert_eq!(keys, expected);
    let failing: Vec<_> = states(&stage)
        .await
        .into_iter()
        .filter(|s| s.1 == "failing")
        .collect();
    assert_eq!(failing.len(), 2, "{failing:?}");
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert!(status.to_string().contains("state"), "{status}");

    // Under the pack that failed it fails again, and stays.
    let again = stage
        .tidings(["quarantine", "retry", "--rule", "shop/opened"])
        .await;
    assert_eq!(again.code(), 1, "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("failed again"), "{}", again.stdout);

    let mended = PACK
        .replace("new.state", "new.phase")
        .replace("old.state", "old.phase");
    let mended = mended.replace("changed('state')", "changed('phase')");
    let _sidecar = restarted(&stage, sidecar, &mended).await;
    let retried = stage.tidings(["quarantine", "retry"]).await.success();
    assert_eq!(
        retried.stdout.matches("written: 1 action").count(),
        5,
        "{}",
        retried.stdout
    );
    let moved = [
        "Order A went from open to paid",
        "Order A went from paid to sent",
        "Order B went from open to paid",
        "Order C went from open to lost",
    ];
    assert_eq!(said(&stage, "moved").await, moved);
    let opened = said(&stage, "opened").await;
    assert_eq!(opened[3], "Order C is open");
    let origins: i64 = stage
        .value("select count(*) from tidings.actions where origin = 'retried'")
        .await;
    assert_eq!(origins, 5);
    let in_commit_time: bool = stage
        .value(
            "select bool_and(a.created_at = floor(extract(epoch from l.committed_at))::bigint
               and l.committed_at < l.recorded_at)
             from project_actions a join tidings.actions l using (action_id)",
        )
        .await;
    assert!(in_commit_time);

    let second = stage.tidings(["quarantine", "retry"]).await.success();
    assert!(
        second.stdout.contains("nothing to retry"),
        "{}",
        second.stdout
    );
    assert!(states(&stage).await.iter().all(|(_, state)| state == "ok"));
    // An image from before the rename is one of the same columns.
    stage
        .execute("update orders set phase = 'sent' where id = 4")
        .await;
    stage.until_actions(13).await;
    let moved = said(&stage, "moved").await;
    assert_eq!(moved[4], "Order D went from open to sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_failed_on_one_row_makes_its_action_once_it_is_mended() {
    let stage = stage(PACK).await;
    let sidecar = stage.run().await;
    stage
        .execute("insert into orders values (1, 'A', 'open', '4'), (2, 'B', 'open', 's3cr3t')")
        .await;
    stage.until_actions(5).await;
    until_quarantined(&stage, 1).await;
    let listed = stage.tidings(["quarantine", "list"]).await.success();
    assert!(
        listed.stdout.contains("shop/noted") && !listed.stdout.contains("s3cr3t"),
        "{}",
        listed.stdout
    );
    let list = stage
        .tidings(["quarantine", "list", "--json"])
        .await
        .success()
        .json();
    let id = list[0]["id"].to_string();
    let shown = stage
        .tidings(["quarantine", "show", &id, "--json"])
        .await
        .success()
        .json();
    assert_eq!(shown["new"]["note"], "s3cr3t");
    assert_eq!(stage.tidings(["quarantine", "show", "999"]).await.code(), 1);
    let mended = PACK.replace("{{ new.note | int }}", "{{ new.note }}");
    let sidecar = restarted(&stage, sidecar, &mended).await;
    stage.tidings(["quarantine", "retry", &id]).await.success();
    assert_eq!(
        said(&stage, "noted").await,
        ["Order A notes 4", "Order B notes s3cr3t"]
    );
    let gone = stage.tidings(["quarantine", "retry", &id]).await;
    assert_eq!(gone.code(), 1);
    assert!(!sidecar.log().contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_is_written_once_the_table_takes_it_and_discarding_gives_up() {
    let stage = stage(PACK).await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table project_actions alter action_details type varchar(15)")
        .await;
    let sidecar = stage.resume().await;
    stage
        .execute("insert into orders values (1, 'A', 'open'), (2, 'longer', 'open')")
        .await;
    until_quarantined(&stage, 2).await;
    stage.until_actions(2).await;
    let again = stage.tidings(["quarantine", "retry", "--all"]).await;
    assert_eq!(again.code(), 1, "{}{}", again.stdout, again.stderr);
    stage
        .execute("alter table project_actions alter action_details type varchar")
        .await;
    let rule = ["quarantine", "discard", "--rule", "shop/opened"];
    assert_eq!(stage.tidings(["quarantine", "discard"]).await.code(), 2);
    let discarded = stage.tidings(rule).await.success();
    assert!(
        discarded.stdout.contains("1 discarded"),
        "{}",
        discarded.stdout
    );
    let retried = stage
        .tidings(["quarantine", "retry", "--json"])
        .await
        .success()
        .json();
    assert_eq!(retried[0]["outcome"], "written", "{retried}");
    assert_eq!(
        said(&stage, "placed").await,
        ["Order A placed", "Order longer placed"]
    );
    stage.until_actions(3).await;
    let logged: i64 = stage.value("select count(*) from tidings.actions").await;
    assert_eq!(logged, 4);

    sidecar.kill9().await;
    let nobody = stage.tidings(["quarantine", "retry"]).await;
    assert_eq!(nobody.code(), 3);
    assert!(nobody.stderr.contains("tidings run"), "{}", nobody.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_retry_loses_nothing_and_doubles_nothing() {
    let bad = PACK.replace("{{ new.state }}", "{{ new.state | int }}");
    let stage = stage(&bad).await;
    let sidecar = stage.run().await;
    stage
        .execute("insert into orders select n, 'N' || n, 'open' from generate_series(1, 9000) n")
        .await;
    until_quarantined(&stage, 9000).await;
    let mut sidecar = restarted(&stage, sidecar, PACK).await;
    let opened = "select count(*) from tidings.actions where rule = 'shop/opened'";
    let retry = stage.tidings(["quarantine", "retry"]);
    let kills = async {
        let mut seen = 0;
        for _ in 0..3 {
            eventually("some are worked off", async || {
                let now = stage.value::<i64>(opened).await;
                now > seen || now == 9000
            })
            .await;
            sidecar.kill9().await;
            seen = stage.value(opened).await;
            sidecar = stage.resume().await;
        }
        sidecar
    };
    let (retried, _sidecar) = tokio::join!(retry, kills);
    let retried = retried.success();
    assert_eq!(retried.stdout.matches("written: 1 action").count(), 9000);
    let expected: Vec<String> = (1..=9000).map(|n| format!("Order N{n} is open")).collect();
    assert_eq!(said(&stage, "opened").await, expected);
    until_quarantined(&stage, 0).await;
    let gaps: bool = stage
        .value("select count(*) = max(seq) and count(*) = 18000 from tidings.actions")
        .await;
    assert!(gaps);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_filled_after_a_column_was_renamed_keep_what_it_held() {
    let stage = stage(PACK).await;
    stage.execute("create table elsewhere (n int)").await;
    stage.tidings(["setup"]).await.success();
    // Nothing is filled while a transaction is open that began before.
    let mut other = stage.connect().await;
    let open = other.transaction().await.unwrap();
    open.execute("insert into elsewhere values (1)", &[])
        .await
        .unwrap();
    let sidecar = stage.resume().await;
    stage
        .execute("insert into orders values (1, 'A', 'open')")
        .await;
    stage.until_actions(2).await;
    stage
        .execute("alter table orders rename state to phase")
        .await;
    open.commit().await.unwrap();
    stage.until_compared().await;
    stage
        .execute("update orders set phase = 'paid' where id = 1")
        .await;
    until_quarantined(&stage, 1).await;
    let mended = PACK
        .replace("new.state", "new.phase")
        .replace("old.state", "old.phase")
        .replace("changed('state')", "changed('phase')");
    let _sidecar = restarted(&stage, sidecar, &mended).await;
    stage.tidings(["quarantine", "retry"]).await.success();
    assert_eq!(
        said(&stage, "moved").await,
        ["Order A went from open to paid"]
    );
}
