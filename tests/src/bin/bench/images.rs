//! What images take: bytes written for each change of one, and the room of a million rows.

use std::time::{Duration, Instant};

use tests::{Stage, eventually};

use crate::{machine, table};

const ROWS: i64 = 100_000;
const UPDATES: i64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure() {
    let how = "rows of `databases`, of which the reference pack names ten columns; what is written is the WAL \
               of whole commit groups while nobody else writes, for changes that make no action";
    table::title("Images", how);
    let stage = Stage::on(machine::server()).await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute(&format!(
            "insert into databases
               (database_id, project_id, user_id, name, tables, status, created_at)
             select 'database-' || n, 'project-' || n % 997, 'user-' || n % 101, 'db ' || n,
               '[\"users\", \"posts\"]', 'creating', 1700000000 + n
             from generate_series(1, {ROWS}) as n"
        ))
        .await;
    let first = caught_up(&stage, &format!("{ROWS} new rows")).await;
    let room: i64 = stage
        .value("select pg_total_relation_size('tidings.images')")
        .await;

    // A column that rules name, in rows that stay silent: each transaction of its own.
    stage
        .execute(&format!(
            "do $$ begin for i in 1 .. {UPDATES} loop
               update databases set name = 'database ' || i where database_id = 'database-' || i;
               commit; end loop; end $$"
        ))
        .await;
    let second = caught_up(&stage, &format!("{UPDATES} changed rows")).await;
    let million = room as f64 * 1_000_000.0 / ROWS as f64;
    table::print(
        ["what", "taken"],
        &[
            ["written for each new image", &bytes(first, ROWS)],
            [
                "written for each changed image, one a transaction",
                &bytes(second, UPDATES),
            ],
            [
                "room of a million rows, index included",
                &table::megabytes(million as u64),
            ],
        ]
        .map(|cells| cells.map(str::to_owned)),
    );
}

fn bytes(written: i64, changes: i64) -> String {
    format!("{} bytes", written / changes)
}

/// Lets the sidecar work the backlog off alone, and gives the bytes of WAL that this took.
async fn caught_up(stage: &Stage, what: &str) -> i64 {
    const AT: &str = "select (pg_current_wal_insert_lsn() - '0/0')::bigint";
    let committed: String = stage
        .value("select pg_current_wal_insert_lsn()::text")
        .await;
    stage.execute("checkpoint").await;
    let before: i64 = stage.value(AT).await;
    let mut sidecar = stage.spawn(&[]);
    let begun = Instant::now();
    let passed = format!(
        "select confirmed_flush_lsn >= '{committed}' from pg_replication_slots where slot_name = 'tidings'"
    );
    eventually(&format!("{what} are in"), async || {
        let in_time = sidecar.is_running() && begun.elapsed() < PATIENCE;
        assert!(in_time, "{}", sidecar.log());
        stage.value::<bool>(&passed).await
    })
    .await;
    let after: i64 = stage.value(AT).await;
    sidecar.terminate(PATIENCE).await;
    after - before
}
