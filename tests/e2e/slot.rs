//! A slot that is not where it was left: nothing is passed over silently.

use scratch::Server;
use tests::{PATIENCE, Stage};

async fn stage() -> Stage {
    let mut stage = Stage::on(Server::builder().fast()).await;
    stage.settings.set("capture.confirm_lease", "64KiB");
    stage
}

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

/// One row was inserted while nobody watched: it is found, and the reason is kept.
async fn assert_goes_on_with_a_new_slot(stage: &Stage, seen: i64, why: &str) {
    stage.until_actions(seen + 1).await;
    insert(stage, "afterwards").await;
    stage.until_actions(seen + 2).await;
    let origins = "select string_agg(origin, ' ' order by seq) from tidings.actions
                   where origin <> 'notice'";
    assert_eq!(
        stage.value::<String>(origins).await,
        "stream reconciled stream"
    );
    let reason: String = stage.value("select reason from tidings.gaps").await;
    assert!(reason.contains(why), "{reason}");
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["gap"]["reason"], reason.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_advanced_after_a_clean_stop_is_made_anew() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    insert(&stage, "passed over").await;
    advance(&stage).await;
    let _sidecar = stage.resume().await;
    assert_goes_on_with_a_new_slot(&stage, 1, "moved by somebody else").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_advanced_beyond_the_lease_after_a_crash_is_made_anew() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    sidecar.kill9().await;
    insert(&stage, "passed over").await;
    stage
        .execute("create table other as select repeat('x', 500) from generate_series(1, 2000)")
        .await;
    stage
        .until("select not active from pg_replication_slots")
        .await;
    advance(&stage).await;
    let _sidecar = stage.resume().await;
    assert_goes_on_with_a_new_slot(&stage, 1, "moved by somebody else").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_right_after_a_crash_is_not_taken_for_a_slot_that_was_moved() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    // The slot is confirmed past the last action, by others' WAL.
    stage
        .execute("create table other as select generate_series(1, 100)")
        .await;
    let confirmed =
        "select confirmed_flush_lsn > end_lsn from pg_replication_slots, tidings.progress";
    stage.until(confirmed).await;
    sidecar.kill9().await;
    for _ in 0..3 {
        stage
            .until("select not active from pg_replication_slots")
            .await;
        let sidecar = stage.resume().await;
        assert!(sidecar.terminate(PATIENCE).await.success());
    }
    let _sidecar = stage.resume().await;
    insert(&stage, "after").await;
    stage.until_actions(2).await;
}

/// Inside the lease no position tells it, but a process that lives knows what it has confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moved_or_made_anew_under_a_living_sidecar_is_made_anew_within_the_lease_too() {
    for recreate in [false, true] {
        let mut stage = stage().await;
        stage.settings.set("capture.confirm_lease", "16MB");
        let sidecar = stage.run().await;
        stage.until_compared().await;
        insert(&stage, "before").await;
        stage.until_actions(1).await;
        sidecar.freeze();
        stage
            .execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where active",
            )
            .await;
        stage
            .until("select not active from pg_replication_slots")
            .await;
        insert(&stage, "passed over").await;
        if recreate {
            stage
                .execute("select pg_drop_replication_slot('tidings')")
                .await;
            stage
                .execute("select pg_create_logical_replication_slot('tidings', 'pgoutput')")
                .await;
        } else {
            advance(&stage).await;
        }
        let limit = "select confirmed_flush_lsn < confirm_limit from pg_replication_slots, tidings.progress";
        assert!(stage.value::<bool>(limit).await);
        sidecar.thaw();
        assert_goes_on_with_a_new_slot(&stage, 1, "moved by somebody else").await;
    }
}

/// To the end of the WAL, as anybody may who may replicate.
async fn advance(stage: &Stage) {
    stage
        .execute("select pg_replication_slot_advance('tidings', pg_current_wal_lsn())")
        .await;
}
