//! The pack `turbobackend` on its worker's real transactions, in a schema of mixed case.

use serde_json::{Value, json};
use tests::{Stage, eventually};
use tokio_postgres::Client;

const TABLES: &str = include_str!("../schemas/turbobackend.sql");

/// The worker's commit times, as Postgres keeps them.
struct Worker {
    stage: Stage,
    /// What project_actions must hold, in commit order.
    expected: Vec<Value>,
}

impl Worker {
    async fn start() -> (Self, tests::Sidecar) {
        let worker = Self::before().await;
        let sidecar = worker.stage.run().await;
        (worker, sidecar)
    }

    /// Its tables, and nothing of Tidings yet.
    async fn before() -> Self {
        let server = scratch::Server::builder().setting("track_commit_timestamp", "on");
        let mut stage = Stage::bare(server).await;
        stage.execute(&format!("set role worker; {TABLES}")).await;
        let mut pack = toml::Table::new();
        pack.insert("pack".to_owned(), "turbobackend".into());
        pack.insert("schema".to_owned(), "TurboBackend".into());
        stage
            .settings
            .set("capture.rules", vec![toml::Value::from(pack)])
            .set(
                "capture.actions_table",
                r#""TurboBackend".project_actions"#.to_owned(),
            );
        let expected = Vec::new();
        Self { stage, expected }
    }

    async fn begin(&self) -> Client {
        let client = self.stage.connect().await;
        let begin = r#"set role worker; set search_path = "TurboBackend"; begin"#;
        client.batch_execute(begin).await.unwrap();
        client
    }

    /// Commits, and notes which actions must come of it; they have the time of the commit.
    async fn commit(&mut self, client: Client, actions: Vec<Value>) {
        let query = "select pg_current_xact_id()::text";
        let xid: String = client.query_one(query, &[]).await.unwrap().get(0);
        client.batch_execute("commit").await.unwrap();
        let query = format!(
            "select floor(extract(epoch from pg_xact_commit_timestamp('{xid}'::xid)))::bigint"
        );
        let seconds: i64 = self.stage.value(&query).await;
        for mut action in actions {
            action["created_at"] = seconds.into();
            self.expected.push(action);
        }
    }

    /// One transaction from its beginning to its end.
    async fn does(&mut self, sql: &str, actions: Vec<Value>) {
        let client = self.begin().await;
        client.batch_execute(sql).await.unwrap();
        self.commit(client, actions).await;
    }

    /// Every column of every action but its id, which is only checked to be one.
    async fn actions(&self) -> Vec<Value> {
        let query = r#"select coalesce(jsonb_agg(to_jsonb(a) - 'action_id' order by action_id collate "C"), '[]')
                       from "TurboBackend".project_actions a where length(action_id) = 21"#;
        let actions: Value = self.stage.value(query).await;
        actions.as_array().unwrap().clone()
    }

    async fn is_told_as_expected(&self) {
        eventually("there are as many actions as expected", async || {
            self.actions().await.len() >= self.expected.len()
        })
        .await;
        let actions = self.actions().await;
        for (told, expected) in actions.iter().zip(&self.expected) {
            assert_eq!(told, expected);
        }
        assert_eq!(actions.len(), self.expected.len(), "{actions:#?}");
        let quarantined: i64 = self
            .stage
            .value("select count(*) from tidings.quarantine")
            .await;
        assert_eq!(quarantined, 0);
    }
}

/// An action of project p1 that its user's worker did in development.
fn action(action_type: &str, details: &str, request: Option<&str>, references: &Value) -> Value {
    json!({
        "project_id": "p1", "user_id": "u1", "request_id": request, "action_type": action_type,
        "action_details": details, "status": "success", "environment": "development",
        "reference_ids": references,
    })
}

fn with(mut action: Value, column: &str, value: impl Into<Value>) -> Value {
    action[column] = value.into();
    action
}

/// A blueprint whose text is stored out of line: it does not compress.
fn blueprint(endpoints: &str) -> String {
    format!(
        r#"(select '{{"endpoints":[{endpoints}],"notes":"' || string_agg(md5(n::text), '') || '"}}'
            from generate_series(1, 600) n)"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_real_transactions_are_told_whole() {
    let (mut worker, _sidecar) = Worker::start().await;
    worker
        .does(
            "insert into users values ('u1', 'me@example.com', null, 'paid', 1700000000);
             insert into projects values ('p1', 'u1', 'My API', 1700000000, 1700000000);
             insert into mcp_keys (mcp_key_id, mcp_key, project_id, user_id) values ('k1', 'mk_secret', 'p1', 'u1')",
            vec![],
        )
        .await;
    worker
        .does(
            "insert into container_sessions values ('s1', 'p1', 'abc123', 'daytona', 'active',
             '{\"image\": \"node\"}', 'development', 1700000300, null)",
            vec![action(
                "project_created",
                "Project 'My API' created with container abc123",
                None,
                &json!({"container_id": "abc123", "container_session_id": "s1"}),
            )],
        )
        .await;

    // A run of ten minutes: it began long before its commit, and another one commits meanwhile.
    let run = worker.begin().await;
    let began = "insert into generated_queries (query_id, project_id, request_id, query_text, query_type,
         schema_name, execution_status, environment, created_at) values
         ('q1', 'p1', 'r1', 'create table users ()', 'CREATE TABLE', 'users', 'success', 'development', 1700000400),
         ('q2', 'p1', 'r1', 'create table posts ()', 'CREATE TABLE', 'posts', 'success', 'development', 1700000410)";
    run.batch_execute(began).await.unwrap();
    worker
        .does(
            "insert into github_push_history values ('g1', 'p1', 'r0', 'c0ffee', 'first', '[\"a\",\"b\",\"c\",\"d\",\"e\"]',
             'https://github.com/user/repo', 'development', 1700000500)",
            vec![action(
                "github_push",
                "Pushed 5 files to https://github.com/user/repo",
                Some("r0"),
                &json!({"github_push_id": "g1", "commit_sha": "c0ffee"}),
            )],
        )
        .await;
    // The database comes after its tables, and its user is the column's own name.
    let ended = "insert into generated_queries (query_id, project_id, request_id, query_type, schema_name, created_at)
         values ('q3', 'p1', 'r1', 'CREATE TABLE', 'comments', 1700000420),
                ('q4', 'p1', 'r1', 'CREATE TABLE', 'users', 1700000430),
                ('q5', 'p1', 'r1', 'CREATE INDEX', 'users', 1700000440);
         insert into project_databases values ('d1', 'p1', 'user_id', 'turbobackend_proj_xyz', 'public',
         'development', true, 1700000400, 1700000400)";
    run.batch_execute(ended).await.unwrap();
    let created = action(
        "database_created",
        "Database 'turbobackend_proj_xyz' created with 3 tables: users, posts, comments",
        Some("r1"),
        &json!({"database_id": "d1", "database_name": "turbobackend_proj_xyz"}),
    );
    worker.commit(run, vec![created]).await;
    // The other order.
    worker
        .does(
            "insert into project_databases (database_id, project_id, user_id, db_name, environment)
             values ('d2', 'p1', 'u2', 'second', 'production');
             insert into generated_queries (query_id, project_id, request_id, query_type, schema_name)
             values ('q6', 'p1', 'r2', 'CREATE TABLE', 'orders')",
            vec![with(
                with(
                    action(
                        "database_created",
                        "Database 'second' created with 1 table: orders",
                        Some("r2"),
                        &json!({"database_id": "d2", "database_name": "second"}),
                    ),
                    "environment",
                    "production",
                ),
                "user_id",
                "u2",
            )],
        )
        .await;

    worker
        .does(
            "insert into generated_queries (query_id, project_id, request_id, query_type, schema_name, execution_status, environment)
             select 'e' || n, 'p1', 'r3', 'INSERT', case when n < 4 then 'users' else 'posts' end, 'success', 'development'
             from generate_series(1, 5) n",
            vec![action(
                "queries_executed",
                "Executed 5 queries affecting tables: users, posts",
                Some("r3"),
                &Value::Null,
            )],
        )
        .await;
    worker
        .does(
            "update project_databases set updated_at = 1700000600 where database_id = 'd1';
             insert into generated_queries (query_id, project_id, query_type, schema_name, execution_status, error_message, environment)
             values ('e6', 'p1', 'SELECT', 'users', 'failed', 'no such column', 'development')",
            vec![with(
                action(
                    "queries_executed",
                    "Executed 1 query affecting tables: users",
                    None,
                    &Value::Null,
                ),
                "status",
                "failed",
            )],
        )
        .await;
    worker.is_told_as_expected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blueprints_out_of_line_deployments_and_later_sessions_are_told_whole() {
    let (mut worker, sidecar) = Worker::start().await;
    worker
        .does(
            "insert into projects values ('p1', 'u1', 'My API', 1700000000, 1700000000),
             ('p2', 'user_id', 'Nobody''s', 1700000000, 1700000000)",
            vec![],
        )
        .await;
    let in_no_environment = |action| with(action, "environment", Value::Null);
    let first = blueprint(
        r#"{"id":"1","method":"GET","path":"/api/users","description":"List users"},{"id":"2","method":"POST","path":"/api/users"}"#,
    );
    worker
        .does(
            &format!(
                "insert into api_blueprints values ('b1', 'p1', 'r1', {first}, 1700000000, 1700000000)"
            ),
            vec![in_no_environment(action(
                "endpoints_added",
                "Added 2 endpoints: GET /api/users, POST /api/users",
                Some("r1"),
                &Value::Null,
            ))],
        )
        .await;
    let out_of_line = r#"select pg_relation_size(reltoastrelid) > 0 from pg_class
                         where oid = '"TurboBackend".api_blueprints'::regclass"#;
    assert!(
        worker.stage.value::<bool>(out_of_line).await,
        "the blueprint is not stored out of line"
    );
    // The stream leaves the text out, and the next sidecar has only images to compare with.
    worker
        .does(
            "update api_blueprints set last_updated = 1700000100, request_id = 'r2'",
            vec![],
        )
        .await;
    worker.is_told_as_expected().await;
    sidecar.kill9().await;
    let second = blueprint(
        r#"{"id":"7","method":"GET","path":"/api/users","description":"Added pagination"},{"id":"8","method":"POST","path":"/api/users"},{"id":"9","method":"DELETE","path":"/api/users"}"#,
    );
    worker
        .does(
            &format!("update api_blueprints set blueprint_content = {second}, request_id = 'r3'"),
            vec![
                in_no_environment(action(
                    "endpoints_added",
                    "Added 1 endpoint: DELETE /api/users",
                    Some("r3"),
                    &Value::Null,
                )),
                in_no_environment(action(
                    "endpoints_modified",
                    "Modified GET /api/users: Added pagination",
                    Some("r3"),
                    &Value::Null,
                )),
            ],
        )
        .await;
    let _sidecar = worker.stage.resume().await;

    let deployment = |details: &str, status: &str, id: &str| {
        let references = json!({"deployment_id": id, "app_name": "turbobackend-xyz"});
        let action = action("deployment", details, None, &references);
        with(with(action, "status", status), "environment", "production")
    };
    worker
        .does(
            "insert into project_deployments values ('x1', 'p1', 'flyio', 'turbobackend-xyz', null, 'pending', null, 1700000000)",
            vec![deployment("Deploying to fly.io", "in_progress", "x1")],
        )
        .await;
    worker
        .does(
            "update project_deployments set last_updated = 1700000010",
            vec![],
        )
        .await;
    worker
        .does(
            "update project_deployments set status = 'deployed', url = 'https://turbobackend-xyz.fly.dev', deployed_at = 1700000020",
            vec![deployment(
                "Deployed to fly.io: https://turbobackend-xyz.fly.dev",
                "success",
                "x1",
            )],
        )
        .await;
    worker
        .does(
            "insert into project_deployments values
             ('x2', 'p1', 'flyio', 'turbobackend-xyz', 'https://b.fly.dev', 'deployed', 1700000030, 1700000030),
             ('x3', 'p1', 'flyio', 'turbobackend-xyz', null, 'failed', null, 1700000030)",
            vec![
                deployment("Deployed to fly.io: https://b.fly.dev", "success", "x2"),
                deployment("Deployment to fly.io failed", "failed", "x3"),
            ],
        )
        .await;
    // Nobody is known who did it.
    worker
        .does(
            "insert into project_deployments (deployment_id, project_id, platform, app_name, status)
             values ('x4', 'p2', 'flyio', 'turbobackend-xyz', 'failed')",
            vec![with(
                with(
                    deployment("Deployment to fly.io failed", "failed", "x4"),
                    "project_id",
                    "p2",
                ),
                "user_id",
                Value::Null,
            )],
        )
        .await;

    worker
        .does(
            "insert into container_sessions (session_id, project_id, container_id, status, environment)
             values ('s1', 'p1', 'abc123', 'active', 'development')",
            vec![action(
                "project_created",
                "Project 'My API' created with container abc123",
                None,
                &json!({"container_id": "abc123", "container_session_id": "s1"}),
            )],
        )
        .await;
    worker
        .does(
            "update container_sessions set status = 'completed', stopped_at = 1700000900;
             insert into container_sessions (session_id, project_id, container_id, status)
             select 's' || n, 'p1', 'c' || n, 'completed' from generate_series(2, 4) n;
             update projects set project_name = 'Renamed', updated_at = 1700000900;
             insert into cloud_credentials (credential_id, project_id, credential) values ('c', 'p1', 'secret')",
            vec![],
        )
        .await;
    worker
        .does(
            "insert into github_push_history (push_id, project_id, request_id, commit_sha, files_changed, repo_url, environment)
             values ('g1', 'p1', 'r4', 'c0ffee', '[\"a\"]', 'https://github.com/user/repo', 'development')",
            vec![action(
                "github_push",
                "Pushed 1 file to https://github.com/user/repo",
                Some("r4"),
                &json!({"github_push_id": "g1", "commit_sha": "c0ffee"}),
            )],
        )
        .await;
    worker.is_told_as_expected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_told_by_a_backfill_but_for_queries() {
    let mut worker = Worker::before().await;
    let blueprint = blueprint(r#"{"id":"1","method":"GET","path":"/api/users"}"#);
    let rows = format!(
        "insert into projects values ('p1', 'u1', 'My API', 1700000000, 1700000000);
         insert into container_sessions values ('s1', 'p1', 'abc123', 'daytona', 'active', null, 'development', 1700000300, null);
         insert into project_databases values ('d1', 'p1', 'u1', 'first', 'public', 'development', true, 1700000400, 1700000400);
         insert into generated_queries (query_id, project_id, query_type, schema_name, created_at)
         values ('q1', 'p1', 'CREATE TABLE', 'users', 1700000410);
         insert into api_blueprints values ('b1', 'p1', 'r1', {blueprint}, 1700000550, 1700000500);
         insert into project_deployments values ('x1', 'p1', 'flyio', 'a', 'https://a.fly.dev', 'deployed', 1700000600, 1700000650);
         insert into github_push_history values ('g1', 'p1', 'r0', 'c0ffee', 'first', '[\"a\"]', 'https://github.com/user/repo', 'development', 1700000700)"
    );
    worker.does(&rows, vec![]).await;
    let _sidecar = worker.stage.run().await;
    worker.stage.until_compared().await;
    assert_eq!(worker.actions().await, Vec::<Value>::new());
    let backfill = ["reconcile", "--backfill"];
    worker.stage.tidings(backfill).await.success();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let actions = worker.actions().await.into_iter();
    let mut told: Vec<(i64, String)> = actions
        .map(|action| {
            (
                action["created_at"].as_i64().unwrap(),
                text(&action["action_details"]),
            )
        })
        .collect();
    told.sort();
    let expected = [
        (
            1_700_000_300,
            "Project 'My API' created with container abc123",
        ),
        (1_700_000_400, "Database 'first' created"),
        (1_700_000_500, "Added 1 endpoint: GET /api/users"),
        (1_700_000_600, "Deployed to fly.io: https://a.fly.dev"),
        (
            1_700_000_700,
            "Pushed 1 file to https://github.com/user/repo",
        ),
    ];
    assert_eq!(told, expected.map(|(at, details)| (at, details.to_owned())));
}
