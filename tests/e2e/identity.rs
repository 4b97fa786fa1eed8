//! Identities and numbers of actions.

use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tests::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_one_copy_has_its_own_action_id() {
    const ROWS: usize = 500;
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let worker = stage.connect().await;
    let copy = "copy projects (project_id, name, status) from stdin";
    let sink = worker.copy_in::<_, Bytes>(copy).await.unwrap();
    let mut sink = pin!(sink);
    for n in 0..ROWS {
        let line = format!("p{n:03}\tproject {n:03}\tactive\n");
        sink.send(line.into()).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), ROWS as u64);
    stage.until_actions(ROWS as i64).await;
    let ids: i64 = stage
        .value("select count(distinct action_id) from project_actions")
        .await;
    assert_eq!(ids, ROWS as i64);
    let said: Vec<String> = (0..ROWS)
        .map(|n| format!("Project 'project {n:03}' created"))
        .collect();
    assert_eq!(stage.sentences().await, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_sort_in_commit_order_and_seq_has_no_gaps() {
    let stage = Stage::start().await;
    let sidecar = stage.run().await;
    // Open at the same time, committed in the other order; one in between is rolled back.
    let (first, second) = (stage.connect().await, stage.connect().await);
    let insert = |name: &str| {
        format!(
            "insert into projects (project_id, name, status) values ('{name}', '{name}', 'active')"
        )
    };
    first
        .batch_execute(&format!("begin; {}", insert("later")))
        .await
        .unwrap();
    second
        .batch_execute(&format!("begin; {}", insert("sooner")))
        .await
        .unwrap();
    second.batch_execute("commit").await.unwrap();
    stage
        .execute(&format!("begin; {}; rollback", insert("never")))
        .await;
    first.batch_execute("commit").await.unwrap();
    stage.until_actions(2).await;
    sidecar.kill9().await;
    let _sidecar = stage.resume().await;
    for n in 0..100 {
        first
            .batch_execute(&insert(&format!("p{n:02}")))
            .await
            .unwrap();
    }
    stage.until_actions(102).await;
    let mut said = vec![
        "Project 'sooner' created".to_owned(),
        "Project 'later' created".to_owned(),
    ];
    said.extend((0..100).map(|n| format!("Project 'p{n:02}' created")));
    assert_eq!(stage.sentences().await, said);
    let gapless = "select min(seq) = 1 and max(seq) = 102 and count(*) = 102
                     and string_agg(action_id, ' ' order by seq) =
                       (select string_agg(action_id, ' ' order by action_id collate \"C\")
                        from project_actions)
                   from tidings.actions";
    assert!(stage.value::<bool>(gapless).await);
    let forms = "select bool_and(action_id ~ '^[-0-9A-Z_a-z]{21}$') from project_actions";
    assert!(stage.value::<bool>(forms).await);
}
