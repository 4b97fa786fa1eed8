//! Columns and partitions of `project_actions` that the worker adds, drops and forgets.

use tests::Stage;

async fn insert(stage: &Stage, id: &str) {
    let sql = "insert into projects (project_id, name, status) values";
    stage
        .execute(&format!("{sql} ('{id}', '{id}', 'active')"))
        .await;
}

fn refused(sqlstate: &str, count: i64) -> String {
    format!(
        "(select count(*) = {count} from tidings.quarantine
          where kind = 'refused' and sqlstate = '{sqlstate}')"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_must_not_be_null_sets_rows_aside_until_it_has_a_default() {
    for while_running in [false, true] {
        let mut stage = Stage::start().await;
        let ops = stage.subscribe("ops").await;
        stage.tidings(["setup"]).await.success();
        let add = "alter table project_actions add column tenant text not null";
        if !while_running {
            stage.execute(add).await;
        }
        let _sidecar = stage.resume().await;
        if while_running {
            insert(&stage, "before").await;
            stage.until_actions(1).await;
            stage
                .execute(&format!(
                    "{add} default 'x'; alter table project_actions alter tenant drop default"
                ))
                .await;
        }
        for id in ["a", "b"] {
            insert(&stage, id).await;
        }
        stage.until(&refused("23502", 2)).await;
        let reason: String = stage
            .value("select reason from tidings.quarantine limit 1")
            .await;
        assert!(reason.contains("tenant"), "{reason}");
        // The log has them, and whoever reads that goes on.
        let written = i64::from(while_running);
        ops.until(2 + written as usize).await;
        stage
            .execute("alter table project_actions alter tenant set default 'y'")
            .await;
        stage.tidings(["quarantine", "retry"]).await.success();
        stage.until_actions(2 + written).await;
        insert(&stage, "after").await;
        stage.until_actions(3 + written).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_while_running_is_left_out_and_nothing_is_set_aside() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    for (place, column) in ["environment", "reference_ids", "user_id"]
        .into_iter()
        .enumerate()
    {
        stage
            .execute(&format!("alter table project_actions drop column {column}"))
            .await;
        insert(&stage, column).await;
        stage.until_actions(place as i64 + 2).await;
    }
    let set_aside: i64 = stage.value("select count(*) from tidings.quarantine").await;
    assert_eq!(set_aside, 0);
    let logged: i64 = stage.value("select max(seq) from tidings.actions").await;
    assert_eq!(logged, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_retyped_while_running_is_filled_in_its_new_type() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    insert(&stage, "before").await;
    stage.until_actions(1).await;
    stage
        .execute(
            "alter table project_actions alter created_at type timestamptz using to_timestamp(created_at)",
        )
        .await;
    insert(&stage, "after").await;
    stage.until_actions(2).await;
    let set_aside: i64 = stage.value("select count(*) from tidings.quarantine").await;
    assert_eq!(set_aside, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_partition_takes_is_set_aside_and_written_once_there_is_one() {
    let stage = Stage::start().await;
    let own = "set role worker;
         create table project_actions (action_id varchar, project_id varchar, action_type varchar,
           action_details varchar, status varchar, created_at bigint) partition by list (project_id);
         create table actions_of_a partition of project_actions for values in ('a')";
    stage.execute(own).await;
    let _sidecar = stage.run().await;
    for id in ["a", "b"] {
        insert(&stage, id).await;
    }
    stage.until(&refused("23514", 1)).await;
    stage.until_actions(1).await;
    stage
        .execute(
            "set role worker;
             create table actions_of_b partition of project_actions for values in ('b')",
        )
        .await;
    stage.tidings(["quarantine", "retry"]).await.success();
    stage.until_actions(2).await;
}
