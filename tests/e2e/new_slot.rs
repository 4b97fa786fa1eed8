//! Where a new slot begins, what that waits for, and who does not wait for it.

use tests::PATIENCE;
use tokio_postgres::NoTls;

use crate::lost_slot::{OPEN, REBUILT, assert_healed, begun, insert, pass_unseen, stage};

#[tokio::test(flavor = "multi_thread")]
async fn while_a_new_slot_waits_the_worker_builds_indexes_concurrently() {
    let stage = stage().await;
    pass_unseen(&stage).await;
    // A slot waits for transactions of every database, an index only for those of its own.
    let elsewhere = stage.server.url("postgres");
    let (open, connection) = tokio_postgres::connect(&elsewhere, NoTls).await.unwrap();
    tokio::spawn(connection);
    open.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let pid = open.query_one("select pg_backend_pid()", &[]).await;
    let pid: i32 = pid.unwrap().get(0);
    let _sidecar = stage.spawn(&[]);
    let waits = |whom: i32| {
        format!(
            "(select stop_reason like '%transactions that are open: process {whom}' from tidings.progress)"
        )
    };
    stage.until(&waits(pid)).await;
    let worker = stage.connect().await;
    worker
        .batch_execute("set statement_timeout = '20s'")
        .await
        .unwrap();
    worker
        .batch_execute("create index concurrently on projects (name)")
        .await
        .unwrap();
    assert!(stage.value::<bool>(&format!("select {}", waits(pid))).await);
    open.batch_execute("rollback").await.unwrap();
    assert_healed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_images_there_are_a_new_slot_is_begun_at_without_a_look_at_them() {
    let stage = stage().await;
    pass_unseen(&stage).await;
    let locked = stage.connect().await;
    locked
        .batch_execute("begin; lock table tidings.images in share mode")
        .await
        .unwrap();
    let _sidecar = stage.spawn(&[]);
    stage.until(&format!("{REBUILT} = 1 and {OPEN} = 0")).await;
    locked.batch_execute("rollback").await.unwrap();
    assert_healed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_another_cluster_count_as_old() {
    let stage = stage().await;
    let sidecar = begun(&stage).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    // More than one statement goes through.
    let moved = "insert into tidings.images (table_id, key, generation, xid, row)
                   select table_id, '[\"k' || n || '\"]', generation, 7, '{}'
                   from tidings.image_tables, generate_series(1, 25000) n where table_name = 'projects';
                 update tidings.images set xid = xid + (1::bigint << 40) where key like '%9%' or xid > 7;
                 update tidings.progress set system_id = '7'";
    stage.execute(moved).await;
    let count = |what: &str| format!("select count(*) from tidings.images where {what}");
    let future: i64 = stage.value(&count("xid > (1::bigint << 40)")).await;
    stage.tidings(["setup", "--new-slot"]).await.success();
    assert_eq!(stage.value::<i64>(&count("xid = 0")).await, future);
    let others: i64 = stage.value(&count("xid = 7")).await;
    assert_eq!(others + future, 25_000 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_commit_begins_where_the_slot_does_is_told() {
    let stage = stage().await;
    stage.tidings(["setup"]).await.success();
    stage.execute(&insert("first")).await;
    // `Begin` tells where the commit record begins.
    let commit =
        "select ('0/0'::pg_lsn + ('x' || encode(substr(data, 2, 8), 'hex'))::bit(64)::bigint)::text
                  from pg_logical_slot_peek_binary_changes('tidings', null, null,
                    'proto_version', '1', 'publication_names', 'tidings')
                  where get_byte(data, 0) = 66";
    let commit: String = stage.value(commit).await;
    stage
        .execute(&format!(
            "select pg_replication_slot_advance('tidings', '{commit}')"
        ))
        .await;
    let begins = "select confirmed_flush_lsn::text from pg_replication_slots";
    assert_eq!(stage.value::<String>(begins).await, commit);
    stage.execute("delete from tidings.progress").await;
    let _sidecar = stage.run().await;
    stage.until_actions(1).await;
}
