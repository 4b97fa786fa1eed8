//! How slots are made, what makes them unusable, and by which codes the server says so.

use activity::Lsn;
use connect::Target;
use scratch::Server;
use tests::{Stage, eventually};
use wal::Connection;

use super::reader::{Reader, connection, start};
use super::{NAME, TABLE, published, published_on};

/// `Connection::create_slot`: why `setup` and a rebuild say whom they wait for (`catalog::open_transactions`).
#[tokio::test(flavor = "multi_thread")]
async fn a_new_slot_waits_for_open_and_for_prepared_transactions() {
    let server = Server::builder().setting("max_prepared_transactions", "2");
    let stage = published_on(server, TABLE).await;
    let client = stage.connect().await;
    let prepare = "begin; insert into t values (1, 'x'); prepare transaction 'p'";
    client.batch_execute(prepare).await.unwrap();
    let open = "begin; insert into t values (2, 'x')";
    client.batch_execute(open).await.unwrap();
    let mut connection = connection(&stage).await;
    let pid = connection.pid();
    let made = tokio::spawn(async move { connection.create_slot("second", false).await });
    let waits =
        format!("(select wait_event_type = 'Lock' from pg_stat_activity where pid = {pid})");
    stage.until(&waits).await;
    client.batch_execute("commit").await.unwrap();
    // For the other one.
    stage.until(&waits).await;
    assert!(!made.is_finished());
    client.batch_execute("commit prepared 'p'").await.unwrap();
    made.await.unwrap().unwrap();
}

/// `Connection::create_slot` makes it by SQL: by the replication command it would go on, and hold the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_made_by_sql_is_given_up_when_its_client_is_gone() {
    let stage = published(TABLE).await;
    let open = stage.connect().await;
    let insert = "begin; insert into t values (1, 'x')";
    open.batch_execute(insert).await.unwrap();
    let mut connection = connection(&stage).await;
    let creation = tokio::spawn(async move { connection.create_slot("second", false).await });
    let there = "exists (select from pg_replication_slots where slot_name = 'second')";
    stage.until(there).await;
    creation.abort();
    stage.until(&format!("not {there}")).await;
}

/// `Connection::no_snapshot`, `create_slot`; `setup --dry-run` prints the call with as many arguments.
#[tokio::test(flavor = "multi_thread")]
async fn each_major_makes_slots_by_its_own_grammar() {
    let stage = published(TABLE).await;
    let major = stage.server.version().major;
    let mut connection = connection(&stage).await;
    connection.create_temporary_slot("temporary").await.unwrap();
    let parentheses = "CREATE_REPLICATION_SLOT x TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')";
    assert_eq!(connection.query(parentheses).await.is_ok(), major >= 15);
    let failover = connection.create_slot("failover", true).await;
    match major {
        ..17 => assert!(matches!(failover, Err(wal::Error::Unsupported(_)))),
        17.. => {
            failover.unwrap();
            let kept = "select failover from pg_replication_slots where slot_name = 'failover'";
            assert!(stage.value::<bool>(kept).await);
        }
    }
    let positional =
        "select pg_create_logical_replication_slot('y', 'pgoutput', false, false, true)";
    let done = stage.connect().await.batch_execute(positional).await;
    assert_eq!(done.is_ok(), major >= 17);
}

/// `doctor::slots` and `catalog::slot` ask for what there is; `doctor` names the settings of a major alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_slots_and_can_be_set_grows_from_17_on() {
    let stage = published(TABLE).await;
    let major = stage.server.version().major;
    let told: Vec<String> = stage
        .value(
            "select coalesce(array_agg(attname::text order by 1), '{}') from pg_attribute
             where attrelid = 'pg_replication_slots'::regclass
               and attname in ('failover', 'inactive_since', 'invalidation_reason', 'synced')",
        )
        .await;
    let since_17 = [
        "failover",
        "inactive_since",
        "invalidation_reason",
        "synced",
    ];
    assert_eq!(told, if major < 17 { &[][..] } else { &since_17 });
    for (setting, since) in [
        ("max_slot_wal_keep_size", 14),
        ("client_connection_check_interval", 14),
        ("logical_decoding_work_mem", 14),
        ("synchronized_standby_slots", 17),
        ("idle_replication_slot_timeout", 18),
    ] {
        let there = format!("select current_setting('{setting}', true) is not null");
        assert_eq!(
            stage.value::<bool>(&there).await,
            major >= since,
            "{setting}"
        );
    }
}

/// `capture::fault` and `lineage::judge` tell by these what to do; `wal_status` says it after reconnecting.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_refused_by_a_code_that_says_why_and_one_whose_slot_is_given_up_is_ended() {
    let server = Server::builder().setting("max_slot_wal_keep_size", "1MB");
    let stage = published_on(server, TABLE).await;
    let refused = async |start| match connection(&stage).await.stream(&start).await {
        Ok(_) => panic!("it streams"),
        Err(error) => error.code().unwrap_or_default().to_owned(),
    };
    let missing = wal::Start {
        slot: "missing".to_owned(),
        ..start(Lsn::ZERO)
    };
    assert_eq!(refused(missing).await, "42704");
    let reader = Reader::begin(&stage).await;
    assert_eq!(refused(start(Lsn::ZERO)).await, "55006");
    stage.grow_wal(3).await;
    stage.execute("checkpoint").await;
    assert_eq!(reader.failure().await.code(), Some("57P01"));
    stage
        .until("(select wal_status = 'lost' from pg_replication_slots)")
        .await;
    assert_eq!(refused(start(Lsn::ZERO)).await, "55000");
    if stage.server.version().major >= 17 {
        let reason = "select invalidation_reason from pg_replication_slots";
        assert_eq!(stage.value::<String>(reason).await, "wal_removed");
    }
}

/// `Connection::open`: whoever finds no room waits, and does not stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_another_stream_says_53300() {
    let stage = Stage::bare(Server::builder().setting("max_wal_senders", "1")).await;
    let _one = connection(&stage).await;
    let target = Target::parse(&stage.server.url("app")).unwrap();
    let error = Connection::open(&target)
        .await
        .err()
        .expect("there is no room");
    assert_eq!(error.code(), Some("53300"));
}

/// `tidings rules preview` and `doctor --probe` leave nothing behind, however they end.
#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_slot_and_a_temporary_copy_of_one_in_use_go_with_their_connection() {
    let stage = published(TABLE).await;
    let _reader = Reader::begin(&stage).await;
    let mut connection = connection(&stage).await;
    connection.create_temporary_slot("probe").await.unwrap();
    connection.copy_slot(NAME, "copy").await.unwrap();
    let slots = "(select count(*) from pg_replication_slots)";
    assert_eq!(stage.value::<i64>(&format!("select {slots}")).await, 3);
    drop(connection);
    stage.until(&format!("{slots} = 1")).await;
}

/// `doctor` shows the age, as vacuum can not remove what is younger.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_holds_back_the_horizon_of_the_catalogs() {
    let stage = published(TABLE).await;
    let age = "select age(catalog_xmin) from pg_replication_slots";
    let before: i32 = stage.value(age).await;
    for id in 0..10 {
        stage
            .execute(&format!("insert into t values ({id}, 'x')"))
            .await;
    }
    assert!(stage.value::<i32>(age).await >= before + 10);
}

/// Why `tidings uninstall` goes before a lower `wal_level` (docs/operations.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_logical_slot_does_not_start_below_wal_level_logical() {
    let mut stage = published(TABLE).await;
    let refused = tokio::task::block_in_place(|| {
        stage.server.set("wal_level", "replica").unwrap();
        stage.server.restart()
    });
    let why = refused.expect_err("it does not start").to_string();
    let log = stage.server.log();
    let says = |text: &str| why.contains(text) || log.contains(text);
    assert!(says("wal_level") && says(NAME), "{why}\n{log}");
    tokio::task::block_in_place(|| {
        stage.server.set("wal_level", "logical").unwrap();
        stage.server.start_again().unwrap();
    });
    eventually("it is back", async || {
        tokio_postgres::connect(&stage.server.url("app"), tokio_postgres::NoTls)
            .await
            .is_ok()
    })
    .await;
}
