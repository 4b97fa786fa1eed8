//! `tidings verify`: tables, images, action log and project_actions held against each other.

use tests::Stage;

use crate::reconcile::insert;

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_is_missing_left_over_or_different_and_nothing_else() {
    let stage = Stage::start().await;
    stage.execute(&insert("old")).await;
    let _sidecar = stage.run().await;
    for id in ["a", "b", "c"] {
        stage.execute(&insert(id)).await;
    }
    stage.until_actions(3).await;
    stage.until_compared().await;
    let clean = stage.tidings(["verify", "--json"]).await.success().json();
    assert_eq!(clean["ok"], true, "{clean:#}");
    // An id of the worker's own is none of ours, though it looks like one.
    let own = "insert into project_actions (action_id, project_id, action_type, created_at)
                 values ('V1StGXR8_Z5jdHi6B-myT', 'a', 'project_created', extract(epoch from now()))";
    stage.execute(own).await;
    stage.tidings(["verify"]).await.success();

    let spoil = "delete from project_actions where project_id = 'b';
        insert into project_actions (action_id, project_id) values ('------1-0----1L_QRhX_', 'phantom');
        update tidings.images set row = row || '{\"name\": \"other\"}' where key = '[\"a\"]';
        delete from tidings.images where key = '[\"c\"]';
        insert into tidings.images (table_id, key, generation, xid, row)
          select table_id, '[\"z\"]', generation, xid, row from tidings.images where key = '[\"old\"]';
        update tidings.images set told = true where key = '[\"old\"]'";
    stage.execute(spoil).await;
    let found = stage.tidings(["verify", "--json"]).await;
    assert_eq!(found.code(), 1, "{}", found.stderr);
    let found = found.json();
    let kinds: Vec<(&str, i64)> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["kind"].as_str().unwrap(), f["count"].as_i64().unwrap()))
        .collect();
    let expected = [
        ("gap", 1),
        ("image without row", 1),
        ("phantom", 1),
        ("row differs from image", 1),
        ("row untold", 1),
        ("row without image", 1),
    ];
    assert_eq!(kinds, expected, "{found:#}");
    let since = stage
        .tidings(["verify", "--json", "--since", "2100-01-01"])
        .await
        .json();
    let kinds: Vec<&str> = since["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect();
    assert!(
        !kinds.contains(&"gap") && !kinds.contains(&"phantom"),
        "{since:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_compares_with_what_the_workers_own_code_wrote() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage.execute(&insert("a")).await;
    stage.execute(&insert("b")).await;
    stage.until_actions(2).await;
    stage.until_compared().await;
    let own = "insert into project_actions (action_id, project_id, action_type, created_at)
        values ('worker-1', 'a', 'project_created', extract(epoch from now()) - 60),
          ('worker-2', 'c', 'project_created', extract(epoch from now()))";
    stage.execute(own).await;
    stage.tidings(["verify"]).await.success();
    let found = stage.tidings(["verify", "--legacy", "--json"]).await;
    assert_eq!(found.code(), 1, "{}", found.stderr);
    let findings = found.json()["findings"].clone();
    assert_eq!(findings[0]["kind"], "legacy gap");
    assert_eq!(
        findings[0]["examples"][0]["project_id"], "b",
        "{findings:#}"
    );
    assert_eq!(findings[1]["kind"], "legacy phantom");
    assert_eq!(findings[1]["examples"][0]["action_id"], "worker-2");
}
