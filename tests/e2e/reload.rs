//! SIGHUP: rules that can take over do so while everything runs; others leave those in force alone.

use scratch::Server;
use serde_json::Value;
use tests::{Stage, eventually};

const PACK: &str = r#"
[pack]
name = "mine"
[tables.projects]
[[rules]]
name = "made"
table = "projects"
on = ["insert"]
project_id = "{{ new.project_id }}"
action_details = "Made {{ new.name }}"
"#;

async fn stage() -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.file("mine.toml", PACK);
    stage.settings.set("capture.rules", vec!["mine.toml"]);
    stage
}

async fn insert(stage: &Stage, id: &str) {
    let sql = format!("insert into projects (project_id, name) values ('{id}', '{id}')");
    stage.execute(&sql).await;
}

async fn status(stage: &Stage) -> Value {
    stage.tidings(["status", "--json"]).await.success().json()
}

async fn until_refused(stage: &Stage, says: &[&str]) {
    eventually(&format!("status says {says:?}"), async || {
        let status = status(stage).await;
        let reason = status["rules_error"].as_str().unwrap_or_default();
        says.iter().all(|text| reason.contains(text))
    })
    .await;
}

async fn until_accepted(stage: &Stage) {
    eventually("status has no complaint", async || {
        let status = status(stage).await;
        status["rules_error"].is_null() && status["state"] == "active"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_compile_take_over_and_others_leave_the_old_ones_running() {
    let stage = stage().await;
    let mut sidecar = stage.run().await;
    insert(&stage, "a").await;
    stage.until_actions(1).await;

    stage.file("mine.toml", &PACK.replace("new.name", "new.nmae |"));
    sidecar.hang_up();
    until_refused(&stage, &["mine.toml:", "rule made", "action_details"]).await;
    insert(&stage, "b").await;
    stage.until_actions(2).await;
    assert_eq!(status(&stage).await["state"], "active");
    assert!(sidecar.log().contains("nothing is taken over"));

    std::fs::remove_file(stage.file("mine.toml", "")).unwrap();
    sidecar.hang_up();
    until_refused(&stage, &["no file at"]).await;
    insert(&stage, "c").await;
    stage.until_actions(3).await;

    stage.file("mine.toml", &PACK.replace("Made", "Began"));
    sidecar.hang_up();
    eventually("the new rules are in force", async || {
        sidecar.log().contains("new rules take over")
    })
    .await;
    until_accepted(&stage).await;
    insert(&stage, "d").await;
    stage.until_actions(4).await;
    let said = ["Made a", "Made b", "Made c", "Began d"];
    assert_eq!(stage.sentences().await, said);
    assert!(sidecar.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_published_is_published_by_its_owner_or_refused() {
    let mut stage = stage().await;
    let admin = stage.server.url("app");
    let sidecar = stage.run().await;
    insert(&stage, "a").await;
    stage.until_actions(1).await;

    let more = PACK.to_owned()
        + "[tables.databases]\n[[rules]]\nname = \"db\"\ntable = \"databases\"\non = [\"insert\"]\n\
           action_details = \"Database {{ new.name }}\"\n";
    let more = more.replace("[tables.databases]\n", "");
    let more = more.replace(
        "[tables.projects]\n",
        "[tables.projects]\n[tables.databases]\n",
    );
    stage.file("mine.toml", &more);
    stage.settings.set("database.admin_url", "");
    stage.config();
    sidecar.hang_up();
    until_refused(&stage, &["public.databases", "tidings setup"]).await;
    insert(&stage, "b").await;
    stage.until_actions(2).await;

    stage.settings.set("database.admin_url", admin);
    stage.config();
    sidecar.hang_up();
    until_accepted(&stage).await;
    stage
        .execute("insert into databases (database_id, project_id, name) values ('x', 'p', 'x')")
        .await;
    stage.until_actions(3).await;
    assert_eq!(stage.sentences().await[2], "Database x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_half_done_is_finished_under_the_rules_it_began_with() {
    const ROWS: i64 = 60_000;
    let stage = stage().await;
    let sidecar = stage.run().await;
    let many = "insert into projects (project_id, name) select 'p' || n, 'p' || n from generate_series(1, 60000) n";
    stage.execute(many).await;
    stage
        .until("(select half_commit_lsn is not null from tidings.progress)")
        .await;
    stage.file("mine.toml", &PACK.replace("Made", "Began"));
    sidecar.hang_up();
    eventually("the new rules are in force", async || {
        sidecar.log().contains("new rules take over")
    })
    .await;
    insert(&stage, "last").await;
    stage.until_actions(ROWS + 1).await;
    let began: Vec<String> = stage
        .value("select array_agg(action_details) from project_actions where action_details like 'Began%'")
        .await;
    assert_eq!(began, ["Began last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_the_settings_are_declared_anew_and_what_needs_a_restart_is_named() {
    let mut stage = stage().await;
    let sidecar = stage.run().await;
    let ops = stage.subscribe("ops").await;
    stage.settings.set("webhooks.timeout", "3s");
    stage.config();
    sidecar.hang_up();
    eventually("the log names what waits for a restart", async || {
        sidecar.log().contains("at the next start: [webhooks]")
    })
    .await;
    stage
        .until("(select count(*) = 1 from tidings.endpoints where name = 'ops')")
        .await;
    insert(&stage, "a").await;
    ops.until(1).await;
}
