//! What the default pack says of the worker's rows, and how subscribers are told.

use serde_json::{Value, json};
use tests::Stage;

/// Everything a worker does in the reference schema, one transaction a step, with what must be said
/// of it, in order: (SQL, sentences).
const STEPS: [(&str, &[&str]); 16] = [
    (
        "insert into projects (project_id, user_id, request_id, name, status, environment)
         values ('p', 'u', 'r1', 'My API', 'creating', 'production')",
        &[],
    ),
    (
        "update projects set container_id = 'abc123', status = 'active' where project_id = 'p'",
        &["Project 'My API' created with container abc123"],
    ),
    (
        "insert into projects (project_id, name, status) values ('bare', 'My API', 'active')",
        &["Project 'My API' created"],
    ),
    (
        r#"insert into databases (database_id, project_id, user_id, request_id, name, tables)
           values ('d', 'p', 'u', 'r2', 'turbobackend_proj_xyz', '["users", "posts", "comments"]')"#,
        &["Database 'turbobackend_proj_xyz' created with 3 tables: users, posts, comments"],
    ),
    (
        r#"insert into databases (database_id, name, tables) values ('one', 'x', '["users"]'),
           ('none', 'x', '[]')"#,
        &[
            "Database 'x' created with 1 table: users",
            "Database 'x' created",
        ],
    ),
    (
        r#"update projects set endpoints = '[{"method": "GET", "path": "/api/users"},
           {"method": "POST", "path": "/api/users"}]', request_id = 'r3' where project_id = 'p'"#,
        &["Added 2 endpoints: GET /api/users, POST /api/users"],
    ),
    (
        r#"update projects set endpoints = endpoints || '[{"method": "DELETE", "path": "/api/users"}]'
           where project_id = 'p'"#,
        &["Added 1 endpoint: DELETE /api/users"],
    ),
    (
        r#"update databases set query_count = 5, queried_tables = '["users", "posts"]',
           environment = 'staging' where database_id = 'd'"#,
        &["Executed 5 queries affecting tables: users, posts"],
    ),
    (
        r#"update databases set query_count = 6, queried_tables = '["users"]' where database_id = 'd'"#,
        &["Executed 1 query affecting tables: users"],
    ),
    (
        "insert into deployments (deployment_id, project_id, user_id, request_id, platform, status,
         environment) values ('dep', 'p', 'u', 'r4', 'fly.io', 'in_progress', 'production')",
        &["Deploying to fly.io"],
    ),
    (
        "update deployments set status = 'success', url = 'https://turbobackend-xyz.fly.dev'
         where deployment_id = 'dep'",
        &["Deployed to fly.io: https://turbobackend-xyz.fly.dev"],
    ),
    (
        "insert into deployments (deployment_id, project_id, platform, status, error)
         values ('f1', 'p', 'fly.io', 'failed', null), ('f2', 'p', 'fly.io', 'failed', 'no room')",
        &[
            "Deployment to fly.io failed",
            "Deployment to fly.io failed: no room",
        ],
    ),
    (
        "insert into deployments (deployment_id, project_id, kind, repo_url, files_changed, status)
         values ('push', 'p', 'push', 'https://github.com/user/repo', 5, 'success')",
        &["Pushed 5 files to https://github.com/user/repo"],
    ),
    (
        "insert into deployments (deployment_id, project_id, kind, repo_url, files_changed)
         values ('push1', 'p', 'push', 'https://github.com/user/repo', 1)",
        &["Pushed 1 file to https://github.com/user/repo"],
    ),
    (
        r#"update projects set endpoints = '[
             {"method": "GET", "path": "/api/users", "change": "Added pagination"},
             {"method": "POST", "path": "/api/users", "change": "Validates the body"},
             {"method": "DELETE", "path": "/api/users"}]' where project_id = 'p'"#,
        &[
            "Modified GET /api/users: Added pagination",
            "Modified POST /api/users: Validates the body",
        ],
    ),
    (
        r#"update databases set tables = tables || '["orders", "payments"]' where database_id = 'd'"#,
        &["Added 2 tables to turbobackend_proj_xyz: orders, payments"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn all_eight_sentences_come_letter_for_letter_in_commit_order() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    for (sql, _) in STEPS {
        stage.execute(sql).await;
    }
    let expected: Vec<&str> = STEPS.iter().flat_map(|(_, said)| *said).copied().collect();
    stage.until_actions(expected.len() as i64).await;
    assert_eq!(stage.sentences().await, expected);
    let mut types: Vec<String> = stage
        .actions()
        .await
        .into_iter()
        .map(|a| a.action_type)
        .collect();
    types.sort();
    types.dedup();
    let all = [
        "database_created",
        "deployment",
        "endpoints_added",
        "endpoints_modified",
        "github_push",
        "project_created",
        "queries_executed",
        "tables_added",
    ];
    assert_eq!(types, all);
}

/// A row of project_actions by its sentence, as JSON.
async fn row(stage: &Stage, sentence: &str) -> Value {
    let query = format!(
        "select to_jsonb(a) - 'action_id' - 'action_details' - 'created_at' from project_actions a
         where action_details = '{sentence}'"
    );
    stage.value(&query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_carries_who_where_and_how_it_went() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    for (sql, _) in STEPS {
        stage.execute(sql).await;
    }
    let count: usize = STEPS.iter().map(|(_, said)| said.len()).sum();
    stage.until_actions(count as i64).await;
    let columns = |action_type: &str,
                   user: &str,
                   request: &str,
                   status: &str,
                   environment: &str,
                   references: Value| {
        json!({
            "project_id": "p", "user_id": user, "request_id": request, "action_type": action_type,
            "status": status, "environment": environment, "reference_ids": references,
        })
    };
    assert_eq!(
        row(&stage, "Project ''My API'' created with container abc123").await,
        columns(
            "project_created",
            "u",
            "r1",
            "success",
            "production",
            json!({"container_id": "abc123"})
        )
    );
    assert_eq!(
        row(&stage, "Added 1 endpoint: DELETE /api/users").await,
        columns(
            "endpoints_added",
            "u",
            "r3",
            "success",
            "production",
            json!({"container_id": "abc123"})
        )
    );
    assert_eq!(
        row(&stage, "Executed 1 query affecting tables: users").await,
        columns(
            "queries_executed",
            "u",
            "r2",
            "success",
            "staging",
            json!({"database_id": "d"})
        )
    );
    assert_eq!(
        row(&stage, "Deploying to fly.io").await,
        columns(
            "deployment",
            "u",
            "r4",
            "in_progress",
            "production",
            json!({"deployment_id": "dep"})
        )
    );
    assert_eq!(
        row(&stage, "Deployment to fly.io failed: no room").await,
        json!({
            "project_id": "p", "user_id": null, "request_id": null, "action_type": "deployment",
            "status": "failed", "environment": null, "reference_ids": {"deployment_id": "f2"},
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn created_at_is_the_time_of_the_commit_floored_to_seconds() {
    let server = scratch::Server::builder().setting("track_commit_timestamp", "on");
    let stage = Stage::on(server).await;
    let _sidecar = stage.run().await;
    for n in 0..5 {
        let insert = format!(
            "begin; insert into projects (project_id, name, status, created_at)
             values ('p{n}', 'x', 'active', 1); select pg_sleep(0.3); commit"
        );
        stage.execute(&insert).await;
    }
    stage.until_actions(5).await;
    let exact = "select count(*) from project_actions a join projects p using (project_id)
                 where a.created_at = floor(extract(epoch from pg_xact_commit_timestamp(p.xmin)))";
    assert_eq!(stage.value::<i64>(exact).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_has_the_fixed_shape_and_headers() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let _sidecar = stage.run().await;
    let insert = "insert into projects (project_id, user_id, name, container_id, environment)
                  values ('p', 'u', 'My API', 'abc123', 'production')";
    stage.execute(insert).await;
    ops.until(1).await;
    ops.assert_verified();
    let request = ops.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/hooks")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    let signed: i64 = request
        .header("webhook-timestamp")
        .unwrap()
        .parse()
        .unwrap();
    assert!((request.time.as_second() - signed).abs() <= 5, "{signed}");
    assert!(
        request
            .header("webhook-signature")
            .unwrap()
            .starts_with("v1,")
    );

    let action_id: String = stage.value("select action_id from project_actions").await;
    let created_at: i64 = stage.value("select created_at from project_actions").await;
    assert_eq!(request.id(), action_id);
    let mut body = request.json();
    let timestamp: jiff::Timestamp = body["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(timestamp.as_second(), created_at);
    let typed = body["data"]
        .as_object_mut()
        .unwrap()
        .remove("data")
        .unwrap();
    assert!(typed.is_object(), "{typed}");
    let expected = json!({
        "type": "project_created",
        "timestamp": body["timestamp"],
        "data": {
            "action_id": action_id, "project_id": "p", "user_id": "u", "request_id": null,
            "action_type": "project_created",
            "action_details": "Project 'My API' created with container abc123",
            "status": "success", "environment": "production",
            "reference_ids": {"container_id": "abc123"}, "created_at": created_at, "seq": 1,
        },
    });
    assert_eq!(body, expected);
}
