//! What an idle sidecar costs the database.

use scratch::{Builder, Server};
use tests::Stage;
use tokio_postgres::types::PgLsn;

/// Nothing of the server's own writes, so that whatever is written is ours.
fn quiet() -> Builder {
    [
        ("autovacuum", "off"),
        ("checkpoint_timeout", "1h"),
        ("max_wal_size", "10GB"),
    ]
    .into_iter()
    .fold(Server::builder().fast(), |server, (name, value)| {
        server.setting(name, value)
    })
}

async fn insert_wal_lsn(stage: &Stage) -> u64 {
    u64::from(
        stage
            .value::<PgLsn>("select pg_current_wal_insert_lsn()")
            .await,
    )
}

/// Moves with every transaction that writes. The end of the WAL would not do: the server notes there
/// what is running, and what readers have pruned.
async fn next_xid(stage: &Stage) -> String {
    stage
        .value("select pg_snapshot_xmax(pg_current_snapshot())::text")
        .await
}

/// Rows written so far in the sidecar's tables and the table of actions.
async fn rows_written(stage: &Stage) -> i64 {
    stage
        .value(
            "select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint from pg_stat_user_tables \
             where schemaname = 'tidings' or relname = 'project_actions'",
        )
        .await
}

/// Waits until the sidecar has looked at the catalog this many times, which it does every two seconds:
/// until it is heard of that much later. (What it asked last may have been something else.)
async fn until_guarded(stage: &Stage, times: usize) {
    let begun: String = stage.value("select clock_timestamp()::text").await;
    let seconds = 2 * times;
    let heard = format!(
        "(select max(state_change) > '{begun}'::timestamptz + interval '{seconds} s'
          from pg_stat_activity where usename = 'tidings' and backend_type = 'client backend')"
    );
    stage.until(&heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_idle_database_nothing_is_written() {
    let mut stage = Stage::on(quiet()).await;
    let receiver = stage.subscribe("ops").await;
    let _sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'My API', 'active')")
        .await;
    receiver.until(1).await;
    // What follows from the action is through.
    until_guarded(&stage, 3).await;
    let (xid, rows) = (next_xid(&stage).await, rows_written(&stage).await);
    until_guarded(&stage, 10).await;
    assert_eq!(rows_written(&stage).await, rows);
    assert_eq!(next_xid(&stage).await, xid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_database_of_other_tables_is_confirmed_with_one_small_write_a_lease() {
    const LEASE: u64 = 1 << 20;
    let mut stage = Stage::on(quiet()).await;
    stage.settings.set("capture.confirm_lease", "1MiB");
    let _sidecar = stage.run().await;
    stage
        .execute("create table other (n bigint, filler text)")
        .await;
    let updates = "select n_tup_upd from pg_stat_user_tables where relname = 'progress'";
    until_guarded(&stage, 2).await;
    let (began, written): (u64, i64) = (insert_wal_lsn(&stage).await, stage.value(updates).await);
    for _ in 0..100 {
        stage
            .execute("insert into other select n, repeat('x', 500) from generate_series(1, 200) n")
            .await;
    }
    let end: PgLsn = stage.value("select pg_current_wal_lsn()").await;
    let wal = u64::from(end) - began;
    stage
        .until(&format!(
            "select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = 'tidings'"
        ))
        .await;
    // Statistics follow at the end of a later transaction.
    until_guarded(&stage, 2).await;
    let written = stage.value::<i64>(updates).await - written;
    println!("{written} updates of progress for {wal} bytes of WAL");
    assert!(
        written as u64 <= wal / LEASE + 1,
        "{written} updates for {wal} bytes"
    );
    assert!(wal > 5 * LEASE);
}
