//! Partitions of the sidecar's own tables are made in time, and wait for nobody who reads them.

use tests::{Stage, eventually};

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

fn is_partition(name: &str) -> String {
    format!("exists (select from pg_inherits where inhrelid = to_regclass('tidings.{name}'))")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_reads_everything_holds_nothing_up() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    stage.tidings(["setup"]).await.success();
    let dump = stage.connect().await;
    let locks = "begin; lock table tidings.actions, tidings.attempts in access share mode";
    dump.batch_execute(locks).await.unwrap();
    let _sidecar = stage.resume().await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
    ops.until(1).await;
    stage
        .until("(select count(*) = 1 from tidings.attempts)")
        .await;
    dump.batch_execute("commit").await.unwrap();
}

/// A stage whose log has come this far.
async fn stage_at(seq: i64) -> Stage {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let sidecar = stage.resume().await;
    insert(&stage, "first").await;
    stage.until_actions(1).await;
    assert!(sidecar.terminate(tests::PATIENCE).await.success());
    stage
        .execute(&format!("update tidings.progress set seq = {seq}"))
        .await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_partition_of_the_log_is_made_when_half_of_one_is_used() {
    let stage = stage_at(499_998).await;
    let _sidecar = stage.resume().await;
    insert(&stage, "p").await;
    stage.until_actions(2).await;
    assert!(
        !stage
            .value::<bool>(&format!("select {}", is_partition("actions_1")))
            .await
    );
    insert(&stage, "q").await;
    stage.until_actions(3).await;
    stage.until(&is_partition("actions_1")).await;
    assert!(
        !stage
            .value::<bool>(&format!("select {}", is_partition("actions_2")))
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_and_not_attached_is_attached() {
    let stage = stage_at(700_000).await;
    let alone = "set role tidings;
                 create table tidings.actions_1 (like tidings.actions including all)";
    stage.execute(alone).await;
    let _sidecar = stage.resume().await;
    insert(&stage, "p").await;
    stage.until_actions(2).await;
    stage.until(&is_partition("actions_1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_can_not_be_made_ahead_stops_nothing_until_it_is_needed() {
    let stage = stage_at(999_998).await;
    stage.execute("create table tidings.actions_1 ()").await;
    let sidecar = stage.resume().await;
    insert(&stage, "p").await;
    insert(&stage, "q").await;
    stage.until_actions(3).await;
    eventually("the log says so", async || {
        sidecar.log().contains("can not be made yet")
    })
    .await;
    insert(&stage, "r").await;
    stage
        .until("(select stop_reason is not null from tidings.progress)")
        .await;
    stage.execute("drop table tidings.actions_1").await;
    stage.until_actions(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_have_partitions_of_days_to_come_and_lose_those_of_days_long_past() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let old = "set role tidings;
        create table tidings.attempts_20200101 partition of tidings.attempts
          for values from ('2020-01-01 00:00:00+00') to ('2020-01-02 00:00:00+00')";
    stage.execute(old).await;
    let _sidecar = stage.resume().await;
    let days = "(select array_agg('attempts_' || to_char(day, 'YYYYMMDD') order by day)
                 from (select (now() at time zone 'utc')::date + n as day
                       from generate_series(-1, 2) n) d)";
    let made = "(select array_agg(inhrelid::regclass::text order by inhrelid::regclass::text) from pg_inherits
                 where inhparent = 'tidings.attempts'::regclass)";
    let prefixed = days.replace("'attempts_'", "'tidings.attempts_'");
    stage.until(&format!("{made} = {prefixed}")).await;
}
