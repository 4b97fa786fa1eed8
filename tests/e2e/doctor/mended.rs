//! Each thing that is not well, and that what doctor says mends it.

use scratch::Server;
use tests::{Stage, eventually};

use super::{all_is_well, complains, examined, execute, healthy, is_well};

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_level_that_is_too_low_is_mended_by_what_doctor_says() {
    let server = Server::builder()
        .fast()
        .setting("max_slot_wal_keep_size", "1GB");
    let mut stage = Stage::on(server.setting("wal_level", "replica")).await;
    let told = examined(&stage).await;
    let mend = complains(&told, "wal_level", "fail", &["wal_level is replica"]);
    assert!(mend.contains("restart"), "{mend}");
    execute(&stage, &mend).await;
    stage.server.restart().unwrap();
    is_well(&examined(&stage).await, "wal_level");
    stage.tidings(["setup"]).await.success();
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_replica_identity_is_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table projects replica identity nothing")
        .await;
    let told = examined(&stage).await;
    let says = [
        "table public.projects has REPLICA IDENTITY NOTHING",
        "UPDATE and DELETE on it fails",
    ];
    let mend = complains(&told, "replica_identity", "fail", &says);
    assert_eq!(
        mend,
        "alter table public.projects replica identity default;"
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);

    // What the guard took out of the publication is put back by what is said of that.
    stage
        .execute("alter publication tidings drop table projects")
        .await;
    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "publication",
        "fail",
        &["table public.projects is not in it"],
    );
    execute(&stage, &mend).await;
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_were_taken_back_are_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    for (spoil, name, status) in [
        (
            "revoke insert on project_actions from tidings",
            "grants",
            "fail",
        ),
        (
            "revoke select on projects from tidings; revoke select (name) on projects from tidings",
            "grants",
            "warn",
        ),
        (
            "revoke select on all tables in schema tidings from tidings",
            "grants",
            "fail",
        ),
        (
            "alter publication tidings owner to postgres",
            "grants",
            "warn",
        ),
        ("alter role tidings noreplication", "role", "fail"),
        ("alter role tidings createrole", "role", "warn"),
        ("grant update on projects to tidings", "role", "warn"),
        ("alter role tidings superuser", "role", "warn"),
    ] {
        stage.execute(spoil).await;
        let told = examined(&stage).await;
        let mend = complains(&told, name, status, &["tidings"]);
        execute(&stage, &mend).await;
        all_is_well(&examined(&stage).await);
    }
    let _sidecar = stage.resume().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_used_up_orphaned_or_lost_are_mended_by_what_doctor_says() {
    let server = Server::builder()
        .fast()
        .setting("max_slot_wal_keep_size", "1GB");
    let mut stage = Stage::on(server.setting("max_replication_slots", "2")).await;
    let create = "select pg_create_logical_replication_slot";
    stage
        .execute(&format!("{create}('tidings_old', 'pgoutput')"))
        .await;
    stage
        .execute(&format!("{create}('other', 'pgoutput')"))
        .await;

    let told = examined(&stage).await;
    let says = [
        "2 of 2 replication slots are used",
        "nobody reads other, tidings_old",
    ];
    let mend = complains(&told, "slots_left", "fail", &says);
    execute(&stage, &mend).await;
    stage.server.restart().unwrap();
    is_well(&examined(&stage).await, "slots_left");
    stage.tidings(["setup"]).await.success();

    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "orphan_slots",
        "warn",
        &["tidings_old looks like one of an earlier"],
    );
    // Whether nothing needs it is for people to say.
    let statement = mend.strip_prefix("-- ").unwrap();
    let (statement, _) = statement.split_once(';').unwrap();
    execute(&stage, statement).await;
    all_is_well(&examined(&stage).await);

    stage
        .execute("select pg_drop_replication_slot('tidings')")
        .await;
    let told = examined(&stage).await;
    let says = ["it was dropped", "makes a new slot by itself"];
    let mend = complains(&told, "slot", "warn", &says);
    assert!(mend.starts_with("tidings run"), "{mend}");
    stage.tidings(["setup", "--new-slot"]).await.success();
    all_is_well(&examined(&stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_that_send_our_tables_are_mended_by_what_doctor_says() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let version: i32 = stage
        .value("select current_setting('server_version_num')::int")
        .await;
    stage
        .execute("create publication mirror for table tidings.actions, projects")
        .await;
    stage
        .execute("create publication everything for all tables")
        .await;
    if version >= 150_000 {
        stage
            .execute("create publication ours for tables in schema tidings")
            .await;
    }
    let told = examined(&stage).await;
    let says = [
        "\"mirror\" sends our table tidings.actions",
        "\"everything\" is FOR ALL TABLES",
    ];
    let mend = complains(&told, "own_tables", "warn", &says);
    assert!(
        version < 150_000 || mend.contains("drop tables in schema"),
        "{mend}"
    );
    execute(&stage, &mend).await;
    // Whose subscribers lose their place by it is for people to run.
    let told = examined(&stage).await;
    let mend = complains(&told, "own_tables", "warn", &["FOR ALL TABLES"]);
    assert!(mend.lines().all(|line| line.starts_with("-- ")), "{mend}");
    execute(
        &stage,
        mend.lines().next().unwrap().trim_start_matches("-- "),
    )
    .await;
    all_is_well(&examined(&stage).await);
    let sent: i64 = stage
        .value("select count(distinct pubname) from pg_publication_tables where tablename = 'projects'")
        .await;
    assert_eq!(sent, 3, "what others are sent of the worker's tables stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_hurt_are_mended_by_what_doctor_says() {
    let stage = Stage::on(
        Server::builder()
            .fast()
            .setting("wal_sender_timeout", "0")
            .setting("logical_decoding_work_mem", "64kB"),
    )
    .await;
    stage.tidings(["setup"]).await.success();
    let told = examined(&stage).await;
    let mend = complains(
        &told,
        "retained_wal",
        "warn",
        &["max_slot_wal_keep_size is unset"],
    );
    execute(&stage, &mend).await;
    let says = ["wal_sender_timeout is 0", "logical_decoding_work_mem is"];
    let mend = complains(&told, "server_settings", "warn", &says);
    execute(&stage, &mend).await;
    eventually("all is well", async || {
        let told = examined(&stage).await;
        told["checks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["status"] == "ok")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_rules_need_and_one_that_no_action_fills_are_named() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table databases rename query_count to queries")
        .await;
    stage
        .execute("alter table project_actions add column tenant text not null")
        .await;
    let told = examined(&stage).await;
    complains(
        &told,
        "rules",
        "fail",
        &["table public.databases has no column query_count"],
    );
    let mend = complains(
        &told,
        "actions_table",
        "fail",
        &["column tenant of public.project_actions"],
    );
    assert!(
        mend.contains("alter table public.project_actions alter tenant set default"),
        "{mend}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_made_anew_is_told_by_its_lineage() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage.execute("drop publication tidings").await;
    let told = examined(&stage).await;
    complains(
        &told,
        "publication",
        "fail",
        &["publication tidings is gone"],
    );
    stage
        .execute(
            "create publication tidings for table projects, databases, deployments
             with (publish_via_partition_root = true); alter publication tidings owner to tidings",
        )
        .await;
    let told = examined(&stage).await;
    let says = ["dropped and recreated", "makes a new slot by itself"];
    let mend = complains(&told, "lineage", "warn", &says);
    assert!(mend.starts_with("tidings run"), "{mend}");
    stage.tidings(["setup", "--new-slot"]).await.success();
    all_is_well(&examined(&stage).await);
}

/// Amazon RDS keeps the attribute to itself. Only there the server lets such a role in.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_rds_replication_may_replicate_without_the_attribute() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    stage.execute("alter role tidings noreplication").await;
    let mend = complains(&examined(&stage).await, "role", "fail", &["REPLICATION"]);
    assert!(
        mend.contains("grant rds_replication to \"tidings\""),
        "{mend}"
    );
    stage
        .execute("create role rds_replication; grant rds_replication to tidings")
        .await;
    is_well(&examined(&stage).await, "role");
}
