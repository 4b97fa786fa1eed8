//! The packs `dokploy` and `coolify` at once, each on its platform's own tables.

use serde_json::{Value, json};
use tests::{Sidecar, Stage};

const DOKPLOY: &str = include_str!("../schemas/dokploy.sql");
const COOLIFY: &str = include_str!("../schemas/coolify.sql");

async fn stage() -> (Stage, Sidecar) {
    let stage = before().await;
    let sidecar = stage.run().await;
    (stage, sidecar)
}

/// Both platforms' tables, and nothing of Tidings yet.
async fn before() -> Stage {
    let mut stage = Stage::bare(scratch::Server::builder()).await;
    for tables in [DOKPLOY, COOLIFY] {
        stage.execute(&format!("set role worker; {tables}")).await;
    }
    let placed = |name: &str| {
        let mut pack = toml::Table::new();
        pack.insert("pack".to_owned(), name.into());
        pack.insert("schema".to_owned(), name.into());
        toml::Value::from(pack)
    };
    let rules = vec![placed("dokploy"), placed("coolify")];
    stage.settings.set("capture.rules", rules);
    stage
}

/// What both platforms write while a team works: one transaction a step, with what must be said of it.
const DOKPLOY_STEPS: [(&str, &[(&str, &str)]); 6] = [
    (
        r#"insert into project values ('p1', 'Shop', null, '2026-01-31T12:00:00.000Z', 'org1');
           insert into environment values ('e1', 'production', null, '2026-01-31T12:00:00.000Z', '', 'p1', true)"#,
        &[("project_created", "Project 'Shop' created")],
    ),
    (
        r#"insert into postgres ("postgresId", name, "appName", "databaseName", "databaseUser", "databasePassword",
           "dockerImage", args, "createdAt", "environmentId") values ('d1', 'Orders', 'orders-x1', 'orders', 'me',
           'secret', 'postgres:15', '{-c,x}', '2026-01-31T12:01:00.000Z', 'e1')"#,
        &[("database_created", "Database 'Orders' created")],
    ),
    (
        r#"insert into application values ('a1', 'Front', 'front-x1', null, null, 'idle', '2026-01-31T12:02:00.000Z', 'e1');
           insert into deployment ("deploymentId", title, "logPath", "applicationId", "createdAt", "startedAt")
           values ('x1', 'Manual deployment', '/log', 'a1', '2026-01-31T12:03:00.000Z', '2026-01-31T12:03:00.000Z')"#,
        &[("in_progress", "Deploying Front")],
    ),
    (
        r#"update deployment set status = 'done', "finishedAt" = '2026-01-31T12:05:05.000Z'"#,
        &[("success", "Deployed Front")],
    ),
    (
        r#"insert into deployment ("deploymentId", title, "logPath", "applicationId", "createdAt")
           values ('x2', 'Manual deployment', '/log', 'a1', '2026-01-31T12:06:00.000Z')"#,
        &[("in_progress", "Deploying Front")],
    ),
    (
        r#"update deployment set status = 'error', "errorMessage" = 'exit code 1' where "deploymentId" = 'x2'"#,
        &[("failed", "Deployment of Front failed: exit code 1")],
    ),
];

const COOLIFY_STEPS: [(&str, &[(&str, &str)]); 7] = [
    (
        "insert into projects (id, uuid, name, team_id, created_at) values (3, 'pr-3', 'Club', 0, now());
         insert into environments (id, uuid, name, project_id) values (5, 'en-5', 'staging', 3)",
        &[("project_created", "Project 'Club' created")],
    ),
    (
        "insert into standalone_postgresqls (id, uuid, name, postgres_password, postgres_db, image, environment_id)
         values (7, 'db-7', 'members', 'secret', 'club', 'postgres:15', 5)",
        &[("database_created", "Database 'members' created")],
    ),
    (
        "insert into applications (id, uuid, name, fqdn, git_repository, git_branch, environment_id)
         values (11, 'ap-11', 'web', 'https://club.example,https://www.club.example', 'me/club', 'main', 5);
         insert into application_deployment_queues (id, application_id, deployment_uuid, commit, deployment_url)
         values (20, '11', 'de-20', 'c0ffee', '/project/pr-3/deployment/de-20')",
        &[],
    ),
    (
        "update application_deployment_queues set status = 'in_progress'",
        &[("in_progress", "Deploying web")],
    ),
    (
        "update application_deployment_queues set status = 'finished', finished_at = now()",
        &[("success", "Deployed web: https://club.example")],
    ),
    (
        "insert into application_deployment_queues (id, application_id, deployment_uuid, status)
         values (21, '11', 'de-21', 'failed'), (22, '11', 'de-22', 'cancelled-by-user')",
        &[
            ("failed", "Deployment of web failed"),
            ("cancelled", "Deployment of web cancelled"),
        ],
    ),
    (
        "update standalone_postgresqls set deleted_at = now(); update standalone_postgresqls set deleted_at = null",
        &[],
    ),
];

async fn play(stage: &Stage, schema: &str, steps: &[(&str, &[(&str, &str)])]) -> i64 {
    for (sql, _) in steps {
        let sql = format!("set role worker; set search_path = {schema}; {sql}");
        stage.execute(&sql).await;
    }
    steps.iter().map(|(_, said)| said.len() as i64).sum()
}

/// What is said of the steps, with the columns that a platform's actions have in common.
fn expected(steps: &[(&str, &[(&str, &str)])], project: &str, environment: &str) -> Vec<Value> {
    let said = steps.iter().flat_map(|(_, said)| *said);
    let action = |(what, details): &(&str, &str)| {
        let (action_type, status) = match *what {
            "project_created" | "database_created" => (*what, "success"),
            status => ("deployment", status),
        };
        let environment = (action_type != "project_created").then_some(environment);
        json!({
            "project_id": project, "user_id": null, "request_id": null, "action_type": action_type,
            "action_details": details, "status": status, "environment": environment,
        })
    };
    said.map(action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_platforms_are_told_side_by_side() {
    let (stage, _sidecar) = stage().await;
    let count = play(&stage, "dokploy", &DOKPLOY_STEPS).await
        + play(&stage, "coolify", &COOLIFY_STEPS).await;
    stage.until_actions(count).await;
    let query = r#"select jsonb_agg(to_jsonb(a) - '{action_id,created_at,reference_ids}'::text[]
                   order by action_id collate "C") from project_actions a"#;
    let told: Value = stage.value(query).await;
    let mut expected = expected(&DOKPLOY_STEPS, "p1", "production");
    expected.extend(self::expected(&COOLIFY_STEPS, "3", "staging"));
    assert_eq!(told, Value::from(expected));

    let query = r#"select jsonb_agg(reference_ids order by action_id collate "C") from project_actions
                   where status = 'success'"#;
    let references: Value = stage.value(query).await;
    assert_eq!(
        references,
        json!([
            null,
            {"database_id": "d1", "database_name": "orders", "app_name": "orders-x1"},
            {"deployment_id": "x1", "application_id": "a1", "app_name": "front-x1"},
            {"project_uuid": "pr-3"},
            {"database_id": "7", "database_uuid": "db-7", "database_name": "club", "project_uuid": "pr-3"},
            {"deployment_id": "20", "deployment_uuid": "de-20", "application_id": "11", "commit_sha": "c0ffee",
             "project_uuid": "pr-3"},
        ])
    );
    let secrets = "select count(*) from tidings.images i where i::text like '%secret%'";
    assert_eq!(stage.value::<i64>(secrets).await, 0);
}

/// Which version of each row there is: another one after any write, even one that changes nothing.
const VERSIONS: &str = "select jsonb_build_object(
    'images', (select jsonb_agg(jsonb_build_array(ctid::text, xmin::text)) from tidings.images),
    'progress', (select jsonb_agg(jsonb_build_array(ctid::text, xmin::text)) from tidings.progress),
    'reconcile', (select jsonb_agg(jsonb_build_array(ctid::text, xmin::text)) from tidings.reconcile),
    'actions', (select jsonb_agg(jsonb_build_array(ctid::text, xmin::text)) from tidings.actions),
    'quarantine', (select count(*) from tidings.quarantine))";

/// Waits until the server may forget everything up to now.
async fn until_passed(stage: &Stage) {
    let now: String = stage
        .value("select pg_current_wal_insert_lsn()::text")
        .await;
    let passed = "from pg_replication_slots where plugin = 'pgoutput'";
    stage
        .until(&format!(
            "(select bool_and(confirmed_flush_lsn >= '{now}') {passed})"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_of_logs_and_heartbeats_tell_and_write_nothing() {
    let (stage, _sidecar) = stage().await;
    let count = play(&stage, "dokploy", &DOKPLOY_STEPS).await
        + play(&stage, "coolify", &COOLIFY_STEPS).await;
    stage.until_actions(count).await;
    // From here on it writes what the stream tells, and nothing else.
    stage.until_compared().await;
    until_passed(&stage).await;
    let before: Value = stage.value(VERSIONS).await;

    // Each update is a transaction of its own.
    let noise = r#"do $$ begin
        for n in 1..125 loop
            update dokploy.deployment set "logPath" = '/log' || n; commit;
            update dokploy.deployment set pid = n::text; commit;
            update dokploy.application set "applicationStatus" = case n % 2 when 0 then 'running' else 'done' end::dokploy."applicationStatus"; commit;
            update dokploy.postgres set "databasePassword" = md5(n::text), "applicationStatus" = 'error'; commit;
            update coolify.application_deployment_queues set logs = coalesce(logs, '') || md5(n::text) || md5((-n)::text), updated_at = now(); commit;
            update coolify.standalone_postgresqls set last_online_at = now(), restart_count = n; commit;
            update coolify.standalone_postgresqls set status = case n % 2 when 0 then 'running:healthy' else 'running:unhealthy' end; commit;
            update coolify.applications set status = 'running', updated_at = now(); commit;
        end loop;
        end $$"#;
    stage.execute(noise).await;
    until_passed(&stage).await;
    assert_eq!(stage.value::<Value>(VERSIONS).await, before);
    stage.until_actions(count).await;

    // What a rule does use is written.
    let rename = "update coolify.applications set name = 'site'";
    stage.execute(rename).await;
    until_passed(&stage).await;
    assert_ne!(stage.value::<Value>(VERSIONS).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_told_by_a_backfill_at_its_own_time() {
    let stage = before().await;
    play(&stage, "dokploy", &DOKPLOY_STEPS).await;
    play(&stage, "coolify", &COOLIFY_STEPS).await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    stage.until_actions(0).await;
    stage.tidings(["reconcile", "--backfill"]).await.success();
    let query = "select jsonb_object_agg(action_details, to_char(to_timestamp(created_at) at time zone 'UTC', 'HH24:MI:SS'))
                 from project_actions where project_id = 'p1'";
    let told: Value = stage.value(query).await;
    assert_eq!(
        told,
        json!({
            "Project 'Shop' created": "12:00:00",
            "Database 'Orders' created": "12:01:00",
            "Deployed Front": "12:05:05",
            "Deployment of Front failed: exit code 1": "12:06:00",
        })
    );
    let query = "select jsonb_agg(action_details order by action_details) from project_actions where project_id = '3'";
    let told: Value = stage.value(query).await;
    let said = [
        "Database 'members' created",
        "Deployed web: https://club.example",
        "Deployment of web cancelled",
        "Deployment of web failed",
        "Project 'Club' created",
    ];
    assert_eq!(told, json!(said));
}
