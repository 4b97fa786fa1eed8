//! Tables compared with images: rows from before Tidings, and what happened while nobody watched.

use tests::{PATIENCE, Stage};

const ENDPOINT: &str = r#"{"method": "GET", "path": "/"}"#;

/// Whether every request is through.
const DONE: &str =
    "(select count(*) > 0 and bool_and(finished_at is not null) from tidings.reconcile)";

fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active');")
}

async fn quarantined(stage: &Stage) -> i64 {
    stage.value("select count(*) from tidings.quarantine").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_older_than_the_sidecar_get_their_images_and_nothing_is_told_of_them() {
    let stage = Stage::start().await;
    let old = format!(
        "insert into projects (project_id, name, status, endpoints)
           select 'p' || n, 'old', 'active', '[{ENDPOINT}]' from generate_series(1, 2500) n;
         insert into databases (database_id, name, query_count) values ('d', 'old', 3)"
    );
    stage.execute(&old).await;
    let sidecar = stage.run().await;
    stage.until(DONE).await;
    let images = "select count(*) from tidings.images where row is not null and not told";
    assert_eq!(stage.value::<i64>(images).await, 2501);
    stage.until_actions(0).await;
    let more = format!(
        r#"update projects set endpoints = '[{ENDPOINT}, {{"method": "GET", "path": "/new"}}]'
           where project_id = 'p1234'"#
    );
    stage.execute(&more).await;
    stage.execute("update databases set query_count = 5").await;
    stage.until_actions(2).await;
    let said = ["Added 1 endpoint: GET /new", "Executed 2 queries"];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(quarantined(&stage).await, 0);
    assert!(sidecar.log().contains("every table is compared"));
    let told = "select string_agg(key, ' ' order by key) from tidings.images where told";
    assert_eq!(stage.value::<String>(told).await, r#"["d"] ["p1234"]"#);
    // Nothing is left to do at the next start.
    assert!(sidecar.terminate(PATIENCE).await.success());
    let _sidecar = stage.resume().await;
    stage.execute(&insert("q")).await;
    stage.until_actions(3).await;
    let requests = "select sum(request) from tidings.reconcile";
    assert_eq!(stage.value::<i64>(requests).await, 3);
}
