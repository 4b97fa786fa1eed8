//! `tidings rules explain`: why an action is here, and what became of it.

use tests::{Behaviour, Stage, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_action_tells_its_rule_its_row_its_actor_and_its_deliveries() {
    let mut stage = Stage::start().await;
    let pack = include_str!("../../config/rules/reference.toml");
    stage.file("mine.toml", pack);
    stage.settings.set("capture.rules", vec!["mine.toml"]);
    let mut ops = stage.subscribe("ops").await;
    let mut down = stage.subscribe("down").await;
    down.behave(Behaviour::Status(500)).await;
    ops.behave(Behaviour::Status(200)).await;
    let _sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, user_id, name, status) values ('p', 'u1', 'x', 'creating')")
        .await;
    stage
        .execute("update projects set status = 'active', updated_at = 1")
        .await;
    stage.until_actions(1).await;
    ops.until(1).await;
    stage
        .until("(select count(*) = 1 from tidings.parked)")
        .await;
    stage
        .until("(select count(*) = 2 from tidings.attempts)")
        .await;
    let id = stage.actions().await[0].action_id.clone();

    let told = stage
        .tidings(["rules", "explain", &id])
        .await
        .success()
        .stdout;
    for text in [
        "Project 'x' created",
        "reference/project_created, version ",
        "as in force: mine.toml",
        "(new.container_id or new.status == 'active') and not",
        "the row was updated: status changed",
        "public.projects [\"p\"]",
        "u1, found by a column of the row",
        "in public.project_actions",
        "ops: delivered, HTTP 200, 1 attempt",
        "down: parked after 1 attempt, next try at ",
    ] {
        assert!(told.contains(text), "{text} is not in\n{told}");
    }
    // By its number, too, and for machines.
    let json = stage
        .tidings(["rules", "explain", "1", "--json"])
        .await
        .success()
        .json();
    assert_eq!(json["action_id"], id.as_str());
    assert_eq!(json["in_force"]["same"], true);
    assert_eq!(json["changed"], serde_json::json!(["status"]));
    assert_eq!(json["in_table"], true);
    assert_eq!(json["deliveries"][1]["state"], "delivered");

    stage.file("mine.toml", &pack.replace("created{%", "is there{%"));
    stage.execute("delete from project_actions").await;
    let told = stage
        .tidings(["rules", "explain", &id])
        .await
        .success()
        .stdout;
    assert!(told.contains("the pack has changed since"), "{told}");
    assert!(
        told.contains("not in public.project_actions any more"),
        "{told}"
    );

    let url = stage.server.url_as("tidings", "app");
    let variables = [("TIDINGS_DATABASE__ADMIN_URL", url.as_str())];
    let told = stage
        .tidings_with(&variables, ["rules", "explain", &id])
        .await
        .success()
        .stdout;
    assert!(told.contains("this role may not read"), "{told}");
    let nothing = stage.tidings(["rules", "explain", "nothing"]).await;
    assert_eq!(nothing.code(), 1);
    assert!(
        nothing.stderr.contains("no action nothing"),
        "{}",
        nothing.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_the_table_refused_says_so() {
    let stage = Stage::start().await;
    stage
        .execute(
            "set role worker; create table project_actions (action_id varchar primary key, action_details varchar(10))",
        )
        .await;
    let _sidecar = stage.run().await;
    stage
        .execute(
            "insert into projects (project_id, name, status) values ('p', 'long enough', 'active')",
        )
        .await;
    eventually("the refusal is explained", async || {
        let told = stage.tidings(["rules", "explain", "1"]).await;
        told.stdout
            .contains("refused by public.project_actions, in quarantine")
    })
    .await;
}
