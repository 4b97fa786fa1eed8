//! What becomes of a transaction as a whole: rows that cancel out, keys that move, tables emptied.

use tests::Stage;

const ACTIVE: &str = "insert into projects (project_id, name, status) values";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_leaves_nothing() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let _sidecar = stage.run().await;
    stage
        .execute(&format!(
            "begin; {ACTIVE} ('a', 'gone', 'active'); rollback"
        ))
        .await;
    let partly = format!(
        "begin; {ACTIVE} ('b', 'kept', 'active'); savepoint s;
         {ACTIVE} ('c', 'gone', 'active'); update projects set name = 'gone'; rollback to s;
         {ACTIVE} ('d', 'kept too', 'active'); commit"
    );
    stage.execute(&partly).await;
    ops.until(2).await;
    let said = ["Project 'kept' created", "Project 'kept too' created"];
    assert_eq!(stage.sentences().await, said);
    let images = "select count(*) from tidings.images where row::text like '%gone%'";
    assert_eq!(stage.value::<i64>(images).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_several_rows_gives_their_actions_in_order() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let several = format!(
        "begin; {ACTIVE} ('b', 'one', 'active'), ('a', 'two', 'active');
         insert into databases (database_id, name) values ('d', 'three');
         {ACTIVE} ('c', 'four', 'active'); commit"
    );
    stage.execute(&several).await;
    stage.until_actions(4).await;
    let said = [
        "Project 'one' created",
        "Project 'two' created",
        "Database 'three' created",
        "Project 'four' created",
    ];
    assert_eq!(stage.sentences().await, said);
    let times = "select count(distinct created_at) from project_actions";
    assert_eq!(stage.value::<i64>(times).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_and_its_updates_in_one_transaction_are_one_action_with_the_final_values() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let together = format!(
        "begin; {ACTIVE} ('a', 'draft', 'creating'); update projects set name = 'final';
         update projects set container_id = 'c1', status = 'active';
         update projects set container_id = 'c2'; commit"
    );
    stage.execute(&together).await;
    // Came and went: nobody needs to hear of it.
    stage.execute(&format!("begin; {ACTIVE} ('x', 'brief', 'active'); delete from projects where project_id = 'x'; commit")).await;
    stage
        .execute(&format!("{ACTIVE} ('b', 'last', 'active')"))
        .await;
    stage
        .until("exists (select from project_actions where action_details like '%last%')")
        .await;
    let said = [
        "Project 'final' created with container c2",
        "Project 'last' created",
    ];
    assert_eq!(stage.sentences().await, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_key_changes_stays_one_row() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'x', 'active')"))
        .await;
    stage.execute("update projects set project_id = 'b'").await;
    let endpoint = r#"update projects set endpoints = '[{"method": "GET", "path": "/"}]'"#;
    stage.execute(endpoint).await;
    stage.until_actions(2).await;
    assert_eq!(
        stage.sentences().await,
        ["Project 'x' created", "Added 1 endpoint: GET /"]
    );
    let keys = "select string_agg(key, ',') from tidings.images where row is not null";
    assert_eq!(stage.value::<String>(keys).await, r#"["b"]"#);
    let moved: String = stage
        .value("select project_id from project_actions where action_type = 'endpoints_added'")
        .await;
    assert_eq!(moved, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_deleted_and_inserted_again_is_an_update_in_one_transaction_and_new_in_two() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'first', 'active')"))
        .await;
    stage
        .execute(&format!(
            "begin; delete from projects; {ACTIVE} ('a', 'same', 'active'); commit"
        ))
        .await;
    stage.execute("delete from projects").await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'second', 'active')"))
        .await;
    stage
        .until("exists (select from project_actions where action_details like '%second%')")
        .await;
    let said = ["Project 'first' created", "Project 'second' created"];
    assert_eq!(stage.sentences().await, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_inserted_after_a_truncate_are_new() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'first', 'active')"))
        .await;
    stage
        .execute(&format!(
            "begin; truncate projects; {ACTIVE} ('a', 'second', 'active'); commit"
        ))
        .await;
    stage.execute("truncate projects, databases").await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'third', 'active')"))
        .await;
    stage.until_actions(3).await;
    let said = [
        "Project 'first' created",
        "Project 'second' created",
        "Project 'third' created",
    ];
    assert_eq!(stage.sentences().await, said);
}

/// Both go into one commit group: the sidecar is stopped while they are committed.
#[tokio::test(flavor = "multi_thread")]
async fn images_written_after_two_truncates_outlive_a_restart() {
    let stage = Stage::start().await;
    let sidecar = stage.run().await;
    stage
        .execute(&format!("{ACTIVE} ('a', 'first', 'active')"))
        .await;
    stage.until_actions(1).await;
    // The commit of this waits for the lock, and whatever follows gathers behind it.
    let blocker = stage.connect().await;
    blocker
        .batch_execute("begin; lock table project_actions in exclusive mode")
        .await
        .unwrap();
    stage
        .execute(&format!("{ACTIVE} ('b', 'second', 'active')"))
        .await;
    stage
        .until("exists (select from pg_locks where relation = 'project_actions'::regclass and not granted)")
        .await;
    stage.execute("truncate projects").await;
    stage
        .execute(&format!(
            "begin; truncate projects; {ACTIVE} ('c', 'third', 'active'); commit"
        ))
        .await;
    blocker.batch_execute("commit").await.unwrap();
    stage.until_actions(3).await;
    sidecar.kill9().await;
    let _sidecar = stage.resume().await;
    stage
        .execute(r#"update projects set endpoints = '[{"method": "GET", "path": "/"}]'"#)
        .await;
    stage.until_actions(4).await;
    assert_eq!(stage.sentences().await[3], "Added 1 endpoint: GET /");
}
