//! What `tidings uninstall` leaves alone, and what it gives back.

use tests::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_somebody_else_stays() {
    let stage = Stage::start().await;
    let theirs = "select pg_create_logical_replication_slot('tidings', 'test_decoding')";
    stage.execute(theirs).await;
    let left = stage.tidings(["uninstall", "--yes"]).await.success().stdout;
    assert!(left.contains("slot tidings stays"), "{left}");
    let slots = "select count(*) from pg_replication_slots";
    assert_eq!(stage.value::<i64>(slots).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_a_sidecar_of_another_database_stays() {
    let mut stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let other = stage.server.url_as("tidings", "postgres");
    stage.settings.set("database.url", other);
    stage.settings.set("database.admin_url", "");
    let left = stage.tidings(["uninstall", "--yes"]).await.success().stdout;
    assert!(
        left.contains("stays") && left.contains("database app"),
        "{left}"
    );
    let slots = "select count(*) from pg_replication_slots";
    assert_eq!(stage.value::<i64>(slots).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_role_loses_what_setup_granted_on_the_database() {
    let mut stage = Stage::start().await;
    let may = "select has_database_privilege('tidings', 'app', 'create')";
    assert!(!stage.value::<bool>(may).await);
    stage.tidings(["setup"]).await.success();
    assert!(stage.value::<bool>(may).await);
    stage.tidings(["uninstall", "--yes"]).await.success();
    assert!(!stage.value::<bool>(may).await);
    // Where the sidecar's own role is all there is, the command is said.
    stage.tidings(["setup"]).await.success();
    stage.settings.set("database.admin_url", "");
    let said = stage.tidings(["uninstall", "--yes"]).await.success().stdout;
    assert!(
        said.contains("revoke create on database \"app\" from \"tidings\";"),
        "{said}"
    );
    assert!(stage.value::<bool>(may).await);
}
