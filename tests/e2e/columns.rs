//! `tidings columns release`: the worker's migration of a column that the publication lists.

use scratch::Server;
use tests::{Stage, eventually};

const DROP: &str = "alter table projects drop column container_id";

/// A sidecar that lists columns, and one project that it has told of.
async fn listing() -> Option<(Stage, tests::Sidecar)> {
    let mut stage = Stage::on(Server::builder()).await;
    let version: i32 = stage
        .value("select current_setting('server_version_num')::int")
        .await;
    if version < 150_000 {
        return None;
    }
    stage.settings.set("capture.columns", "listed");
    let sidecar = stage.run().await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
    Some((stage, sidecar))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_column_can_be_dropped_while_all_else_goes_on() {
    let Some((stage, sidecar)) = listing().await else {
        return;
    };
    let refused = stage.connect().await.batch_execute(DROP).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "2BP01");
    let released = stage
        .tidings(["columns", "release", "public.projects.container_id"])
        .await
        .success();
    assert!(
        released.stdout.contains("is released"),
        "{}",
        released.stdout
    );

    // The column is there still, and the stream is without it: its rules' changes are set aside.
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'y', 'active')")
        .await;
    stage
        .until("(select count(*) > 0 from tidings.quarantine where rule = 'reference/project_created' and key = '[\"q\"]')")
        .await;
    stage.execute(DROP).await;
    stage
        .execute("insert into deployments (deployment_id, platform, status) values ('d', 'fly.io', 'success')")
        .await;
    stage.until_actions(2).await;
    assert_eq!(stage.sentences().await[1], "Deployed to fly.io");
    assert!(
        !sidecar.log().contains("capture is stopped"),
        "{}",
        sidecar.log()
    );
    // The guard has looked since: every two seconds.
    eventually("status says that capture goes on", async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        status["state"] == "active"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_column_was_retyped_setup_lists_it_again() {
    let Some((stage, sidecar)) = listing().await else {
        return;
    };
    stage
        .tidings(["columns", "release", "projects.container_id"])
        .await
        .success();
    stage
        .execute("alter table projects alter column container_id type varchar(80)")
        .await;
    stage.tidings(["setup"]).await.success();
    let listed = "select count(*) = 1 from pg_publication_tables
        where tablename = 'projects' and 'container_id' = any(attnames)";
    assert!(stage.value::<bool>(listed).await);
    let forgotten = "select count(*) = 0 from tidings.image_tables where released <> '{}'";
    assert!(stage.value::<bool>(forgotten).await);
    stage
        .execute("insert into projects (project_id, name, container_id) values ('q', 'y', 'c1')")
        .await;
    stage.until_actions(2).await;
    assert_eq!(
        stage.sentences().await[1],
        "Project 'y' created with container c1"
    );
    drop(sidecar);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_released_is_said_with_what_to_do() {
    let Some((stage, _sidecar)) = listing().await else {
        return;
    };
    let key = stage
        .tidings(["columns", "release", "public.projects.project_id"])
        .await;
    assert_eq!(key.code(), 3);
    assert!(key.stderr.contains("part of the key"), "{}", key.stderr);
    let unlisted = stage
        .tidings(["columns", "release", "public.projects.updated_at"])
        .await
        .success();
    assert!(
        unlisted.stdout.contains("not in a column list"),
        "{}",
        unlisted.stdout
    );
    let nothing = stage.tidings(["columns", "release", "name"]).await;
    assert_eq!(nothing.code(), 2);

    // The run role owns the publication and not the tables: it prints what the owner can run.
    let url = stage.server.url_as("tidings", "app");
    let variables = [("TIDINGS_DATABASE__ADMIN_URL", url.as_str())];
    let refused = stage
        .tidings_with(&variables, ["columns", "release", "public.projects.name"])
        .await;
    assert_eq!(refused.code(), 3, "{}", refused.stderr);
    let sql = refused.stderr.lines().last().unwrap().trim();
    assert!(sql.starts_with("alter publication \"tidings\""), "{sql}");
    stage.execute(sql).await;
    stage
        .execute("insert into deployments (deployment_id, platform, status) values ('d', 'fly.io', 'success')")
        .await;
    stage.until_actions(2).await;
}
