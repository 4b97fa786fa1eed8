//! A publication that is dropped takes changes with it that no stream ever shows.

use scratch::Server;
use tests::{Stage, eventually};
use tokio_postgres::types::PgLsn;

const DROP: &str = "drop publication tidings";
const CREATE: &str = "create publication tidings for table projects, databases, deployments \
                      with (publish_via_partition_root = true);
                      alter publication tidings owner to tidings";

async fn stage() -> Stage {
    let stage = Stage::on(Server::builder().fast()).await;
    // From Postgres 18 on the stream tells of it by a warning, which no setting may keep from us.
    stage
        .execute("alter role tidings set client_min_messages = error")
        .await;
    stage
}

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

/// Drops the publication, and tells where in the WAL that was at the latest.
async fn drop_publication(stage: &Stage) -> PgLsn {
    stage.execute(DROP).await;
    stage.value("select pg_current_wal_insert_lsn()").await
}

async fn until_named(stage: &Stage) {
    eventually("status names the publication and the command", async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "stopped"
            && reason.contains("publication")
            && reason.contains("tidings setup")
    })
    .await;
}

async fn assert_nothing_confirmed_past(stage: &Stage, dropped: PgLsn) {
    let query = "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'tidings'";
    let confirmed: PgLsn = stage.value(query).await;
    assert!(
        confirmed <= dropped,
        "confirmed {confirmed}, dropped at {dropped}"
    );
}

/// Once there is a publication again, what is committed is observed, and rows from before are found once.
async fn assert_goes_on_by_itself(stage: &Stage, rows: i64) {
    let rebuilt = "(select count(*) = 1 and bool_and(until_lsn is not null) from tidings.gaps)";
    stage.until(rebuilt).await;
    insert(stage, "afterwards").await;
    stage.until_actions(rows + 1).await;
    stage.until_compared().await;
    stage.until_actions(rows + 1).await;
    let said = stage.sentences().await;
    assert!(said.contains(&"Project 'afterwards' created".to_owned()));
    let reason: String = stage.value("select reason from tidings.gaps").await;
    assert!(reason.contains("dropped and recreated"), "{reason}");
    stage
        .until("(select count(*) from tidings.actions where action_type = 'capture_gap') = 1")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_dropped_while_running_is_named_and_nothing_past_it_is_confirmed() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    let dropped = drop_publication(&stage).await;
    for id in ["a", "b", "c"] {
        insert(&stage, id).await;
    }
    until_named(&stage).await;
    assert_nothing_confirmed_past(&stage, dropped).await;
    stage.execute(CREATE).await;
    insert(&stage, "d").await;
    assert_goes_on_by_itself(&stage, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_dropped_from_an_idle_database_is_named_and_nothing_past_it_is_confirmed() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    let dropped = drop_publication(&stage).await;
    stage
        .execute("create table other as select generate_series(1, 1000)")
        .await;
    until_named(&stage).await;
    assert_nothing_confirmed_past(&stage, dropped).await;
    // `setup` makes it anew, and leaves the slot to the sidecar.
    stage.tidings(["setup"]).await.success();
    assert_goes_on_by_itself(&stage, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_a_publication_is_gone_for_a_moment_is_found() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    drop_publication(&stage).await;
    insert(&stage, "unseen").await;
    stage.execute(CREATE).await;
    insert(&stage, "later").await;
    assert_goes_on_by_itself(&stage, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_a_publication_is_gone_and_nobody_runs_is_found() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    assert!(sidecar.terminate(tests::PATIENCE).await.success());
    drop_publication(&stage).await;
    insert(&stage, "unseen").await;
    stage.execute(CREATE).await;
    let _sidecar = stage.resume().await;
    assert_goes_on_by_itself(&stage, 2).await;
}
