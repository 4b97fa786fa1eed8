//! A stream that is not understood is not passed over.

use scratch::Server;
use tests::{Damage, Proxy, Stage, eventually};
use tokio_postgres::types::PgLsn;

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

/// A spoiled change stops capture by name, is not confirmed, and is not lost: as it was meant, it is
/// read on the next connection.
async fn a_spoiled_change_stops_capture(damage: Damage) {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let proxy = Proxy::open(&stage).await;
    stage.settings.set("database.url", proxy.url());
    let mut sidecar = stage.run().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    proxy.spoil(damage);
    let begins: PgLsn = stage.value("select pg_current_wal_insert_lsn()").await;
    insert(&stage, "spoiled").await;
    eventually("a change was spoiled", async || proxy.has_spoiled()).await;
    eventually("status names what stopped capture", async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "stopped" && reason.contains("is not understood")
    })
    .await;
    // A mark of the time before may lie past the beginning of the transaction, never past its commit.
    let commit: PgLsn = stage.value("select pg_current_wal_insert_lsn()").await;
    assert!(
        proxy.confirmed() < u64::from(commit),
        "confirmed {}, {begins} to {commit}",
        proxy.confirmed()
    );
    stage.until_actions(2).await;
    assert!(
        sidecar.is_running() && !sidecar.log().contains("panicked"),
        "{}",
        sidecar.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_change_stops_capture_and_is_not_lost() {
    a_spoiled_change_stops_capture(Damage::Truncated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_longer_than_any_can_be_stops_capture_and_is_not_lost() {
    a_spoiled_change_stops_capture(Damage::Oversized).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_unknown_kind_stops_capture_and_is_not_lost() {
    a_spoiled_change_stops_capture(Damage::UnknownTag).await;
}
