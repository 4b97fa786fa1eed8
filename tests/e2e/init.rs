//! `tidings init`: a pack for tables that nobody told us of, which runs as it is.

use scratch::Server;
use tests::{Sidecar, Stage};

/// A server with a platform's tables, and the pack that `init` drafts for them in force.
async fn drafted(ddl: &str) -> (Stage, String) {
    let mut stage = Stage::bare(Server::builder()).await;
    stage
        .execute("grant create on database app to worker")
        .await;
    stage.execute(&format!("set role worker; {ddl}")).await;
    let pack = stage.file("unwritten", "").with_file_name("worker.toml");
    let path = pack.display().to_string();
    let told = stage.tidings(["init", "--output", &path]).await.success();
    assert!(told.stdout.contains("is written"), "{}", told.stdout);
    let text = std::fs::read_to_string(&pack).unwrap();
    stage.settings.set("capture.rules", vec!["worker.toml"]);
    stage.tidings(["rules", "check", &path]).await.success();
    (stage, text)
}

/// Sets up, runs, commits these transactions, and waits for what they come to.
async fn tells(stage: &Stage, transactions: &[&str], sentences: &[&str]) -> Sidecar {
    let sidecar = stage.run().await;
    for transaction in transactions {
        stage.execute(transaction).await;
    }
    stage.until_actions(sentences.len() as i64).await;
    assert_eq!(stage.sentences().await, sentences);
    let faults: i64 = stage.value("select count(*) from tidings.quarantine").await;
    assert_eq!(faults, 0);
    sidecar
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_for_dokploy_tells_its_projects_databases_and_deployments() {
    let (stage, text) = drafted(include_str!("../schemas/dokploy.sql")).await;
    assert!(!text.contains("new.databasePassword"), "{text}");
    let _sidecar = tells(
        &stage,
        &[
            r#"set search_path = dokploy;
               insert into project values ('p1', 'Shop', null, '2026-01-01T00:00:00.000Z', 'org', 'SECRET=1');
               insert into environment values ('e1', 'production', null, '2026-01-01T00:00:00.000Z', '', 'p1');
               insert into application values ('a1', 'web', 'web-x1', null, null, 'idle', '2026-01-01T00:00:00.000Z', 'e1');"#,
            r#"insert into dokploy.postgres values
               ('d1', 'orders', 'orders-x1', 'orders', 'u', 'hunter2', null, 'postgres:16', null, null, 'A=b',
                'idle', '2026-01-01T00:00:00.000Z', 'e1')"#,
            r#"insert into dokploy.deployment ("deploymentId", title, "logPath", "applicationId", "createdAt")
               values ('x1', 'Manual', '/l', 'a1', '2026-01-01T00:00:00.000Z')"#,
            r#"update dokploy.deployment set "logPath" = '/m', pid = '7'"#,
            r#"update dokploy.deployment set status = 'error', "errorMessage" = 'no room'"#,
        ],
        &[
            "Project 'Shop' created",
            "Database 'orders' created",
            "Deploying web",
            "Deployment of web failed: no room",
        ],
    )
    .await;
    let last = "select project_id || environment || status || (reference_ids->>'deployment_id')
                from project_actions order by action_id collate \"C\" desc limit 1";
    assert_eq!(stage.value::<String>(last).await, "p1productionfailedx1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_for_coolify_follows_keys_that_nobody_declared() {
    let (stage, text) = drafted(include_str!("../schemas/coolify.sql")).await;
    assert!(
        !text.contains("new.postgres_password") && !text.contains("new.logs"),
        "{text}"
    );
    let _sidecar = tells(
        &stage,
        &[
            "set search_path = coolify;
             insert into projects (uuid, name, team_id) values ('u1', 'Shop', 1);
             insert into environments (uuid, name, project_id) values ('u2', 'staging', 1);
             insert into applications (uuid, name, git_repository, git_branch, environment_id)
             values ('u3', 'web', 'g', 'main', 1)",
            "insert into coolify.standalone_postgresqls (uuid, name, postgres_password, image, environment_id)
             values ('u4', 'orders', 'hunter2', 'postgres:16', 1)",
            "insert into coolify.application_deployment_queues (application_id, deployment_uuid, application_name)
             values ('1', 'u5', 'web')",
            "update coolify.application_deployment_queues set status = 'in_progress'",
            "update coolify.application_deployment_queues set logs = 'line'",
            "update coolify.application_deployment_queues set status = 'finished', deployment_url = 'https://a.b'",
        ],
        &[
            "Project 'Shop' created",
            "Database 'orders' created",
            "Deploying web",
            "Deployed web: https://a.b",
        ],
    )
    .await;
    let last = "select project_id || environment || status
                from project_actions order by action_id collate \"C\" desc limit 1";
    assert_eq!(stage.value::<String>(last).await, "1stagingsuccess");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_for_a_schema_in_mixed_case_finds_the_user_of_the_project() {
    let (mut stage, text) = drafted(include_str!("../schemas/turbobackend.sql")).await;
    assert!(
        !text.contains("mcp_key") && !text.contains("credential"),
        "{text}"
    );
    stage
        .settings
        .set("capture.actions_table", "\"TurboBackend\".project_actions");
    let sidecar = stage.run().await;
    stage
        .execute(
            r#"set search_path = "TurboBackend";
               insert into projects values ('p1', 'u1', 'My API', 1700000000, 1700000000);
               insert into project_databases (database_id, project_id, user_id, db_name) values ('d1', 'p1', 'u1', 'main');
               insert into project_deployments values ('x1', 'p1', 'flyio', 'my-api', 'https://x', 'deployed', 1700000000)"#,
        )
        .await;
    let told = r#"(select array_agg(action_details || ' ' || user_id order by action_id collate "C")
        from "TurboBackend".project_actions) =
        array['Project ''My API'' created u1', 'Database ''main'' created u1',
              'Deployed my-api to flyio: https://x u1']"#;
    stage.until(told).await;
    drop(sidecar);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_matches_it_says_what_it_looked_for_and_writes_nothing() {
    let stage = Stage::bare(Server::builder()).await;
    stage
        .execute("create table invoices (id int primary key)")
        .await;
    let path = stage.file("unwritten", "").with_file_name("x.toml");
    let refused = stage
        .tidings(["init", "--output", path.to_str().unwrap()])
        .await;
    assert_eq!(refused.code(), 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("deployment, deploy"),
        "{}",
        refused.stderr
    );
    assert!(!path.exists());
    let missing = stage.tidings(["init", "--schema", "Nowhere"]).await;
    assert_eq!(missing.code(), 3);
    assert!(missing.stderr.contains("Nowhere"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_exists_is_left_alone_and_words_are_taken_from_statistics_it_may_see() {
    let stage = Stage::bare(Server::builder()).await;
    let tables = "create table sites (id int primary key, name text);
        create table builds (id int primary key, site_id int, state text);
        insert into builds select n, 1, (array['compiling', 'passed', 'failed'])[1 + n % 3] from generate_series(1, 90) n;
        analyze builds";
    stage.execute(tables).await;
    let path = stage.file("mine.toml", "# mine\n");
    let refused = stage
        .tidings(["init", "--output", path.to_str().unwrap()])
        .await;
    assert_eq!(refused.code(), 3);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    let drafted = stage.tidings(["init"]).await.success().stdout;
    assert!(drafted.contains("by the statistics"), "{drafted}");
    assert!(drafted.contains("not told: compiling."), "{drafted}");
    let url = stage.server.url_as("tidings", "app");
    let variables = [("TIDINGS_DATABASE__ADMIN_URL", url.as_str())];
    let drafted = stage
        .tidings_with(&variables, ["init"])
        .await
        .success()
        .stdout;
    assert!(
        !drafted.contains("compiling"),
        "a role that may not read the table sees no words of it"
    );
}
