//! Endpoints by command and by settings, and which actions are routed to them.

use serde_json::{Value, json};
use tests::{Outcome, Receiver, Stage};

#[track_caller]
fn refused(outcome: &Outcome, code: i32, says: &[&str]) {
    assert_eq!(outcome.code(), code, "{}{}", outcome.stdout, outcome.stderr);
    for text in says {
        assert!(
            outcome.stderr.contains(text),
            "{text} is not in {}",
            outcome.stderr
        );
    }
}

async fn add(stage: &Stage, name: &str, receiver: &Receiver, more: &[&str]) -> Value {
    let (url, secret) = (receiver.url(), receiver.secret().expose());
    let mut arguments = vec![
        "endpoints",
        "add",
        "--json",
        "--name",
        name,
        "--url",
        &url,
        "--secret",
        &secret,
    ];
    arguments.extend(more);
    stage.tidings(arguments).await.success().json()
}

async fn list(stage: &Stage) -> Vec<Value> {
    let listed = stage
        .tidings(["endpoints", "list", "--json"])
        .await
        .success()
        .json();
    listed.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_added_listed_and_removed_while_the_sidecar_runs() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    assert_eq!(list(&stage).await, [json!(null); 0]);
    let told = stage
        .tidings([
            "endpoints",
            "add",
            "--name",
            "a",
            "--url",
            "https://example.com/x",
        ])
        .await;
    let told = told.success().stdout;
    assert!(told.contains("ep_") && told.contains("whsec_"), "{told}");
    let ops = Receiver::open().await;
    let added = add(&stage, "ops", &ops, &["--types", "project_*,deployment"]).await;
    assert_eq!(added["secret"], ops.secret().expose());

    let listed = list(&stage).await;
    assert_eq!(listed.len(), 2);
    let expected = json!({
        "id": added["id"], "name": "ops", "url": ops.url(), "state": "enabled", "reason": null,
        "origin": "command", "types": ["project_*", "deployment"], "projects": [],
        "environments": [], "statuses": [],
    });
    assert_eq!(listed[1], expected);
    let printed = stage.tidings(["endpoints", "list"]).await.success().stdout;
    assert!(
        printed.contains("ops") && printed.contains("types: project_*, deployment"),
        "{printed}"
    );
    assert!(!printed.contains("whsec_"), "the secret is shown once");

    stage
        .execute("insert into projects (project_id, status) values ('p', 'active')")
        .await;
    ops.until(1).await;
    ops.assert_verified();
    stage
        .tidings(["endpoints", "remove", "ops"])
        .await
        .success();
    stage.tidings(["endpoints", "remove", "a"]).await.success();
    assert_eq!(list(&stage).await, [json!(null); 0]);
    refused(
        &stage.tidings(["endpoints", "remove", "ops"]).await,
        1,
        &["no endpoint named", "endpoints list"],
    );
    // Added again it begins at the head: the one before is not told again.
    add(&stage, "ops", &ops, &[]).await;
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    ops.until(2).await;
    assert_eq!(ops.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_could_never_work_is_refused_with_what_to_do() {
    let mut stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let add = async |stage: &Stage, name: &str, url: &str, more: &[&str]| {
        let mut arguments = vec!["endpoints", "add", "--name", name, "--url", url];
        arguments.extend(more);
        stage.tidings(arguments).await
    };
    let good = "https://example.com/x";
    add(&stage, "a", good, &[]).await.success();
    refused(
        &add(&stage, "a", good, &[]).await,
        1,
        &["\"a\" already", "remove it first"],
    );
    refused(
        &add(&stage, "b", "example.com/x", &[]).await,
        2,
        &["https://host/path"],
    );
    refused(
        &add(&stage, "b", "ftp://example.com/x", &[]).await,
        2,
        &["https://"],
    );
    refused(
        &add(&stage, "b", "https://u:p@example.com/x", &[]).await,
        2,
        &["password"],
    );
    refused(
        &add(&stage, "b", "http://93.184.216.34/x", &[]).await,
        2,
        &["webhooks.allow_networks"],
    );
    refused(
        &add(&stage, "b", "https://10.0.0.1/x", &[]).await,
        2,
        &["webhooks.allow_networks"],
    );
    refused(
        &add(&stage, "b", "http://169.254.169.254/x", &[]).await,
        2,
        &["credentials of a machine"],
    );
    refused(
        &add(&stage, "b", good, &["--types", "a*b"]).await,
        2,
        &["a*b"],
    );
    refused(
        &add(&stage, "b", good, &["--secret", "s3cr3t"]).await,
        2,
        &["whsec_"],
    );
    refused(&add(&stage, "", good, &[]).await, 2, &["name"]);
    assert_eq!(list(&stage).await.len(), 1);

    stage
        .settings
        .set("webhooks.allow_networks", toml::Value::Array(Vec::new()));
    refused(
        &add(&stage, "b", "http://example.com/x", &[]).await,
        2,
        &["https", "webhooks.allow_networks"],
    );
    let ops = stage.subscribe("ops").await;
    refused(
        &stage.tidings(["run"]).await,
        2,
        &["ops", "webhooks.allow_networks"],
    );
    drop(ops);
}

/// One transaction: two projects, the second with an endpoint, a database, three deployments.
const PLAY: &str = r#"
    insert into projects (project_id, status, environment)
      values ('p', 'active', 'production'), ('q', 'active', 'development');
    insert into databases (database_id, project_id, environment) values ('d', 'p', 'production');
    update projects set endpoints = '[{"method": "GET", "path": "/"}]' where project_id = 'q';
    insert into deployments (deployment_id, project_id, status, environment) values
      ('1', 'p', 'in_progress', 'production'), ('2', 'q', 'failed', 'production'), ('3', null, 'failed', null)"#;

#[tokio::test(flavor = "multi_thread")]
async fn filters_route_by_type_project_environment_and_status() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let wanted: [(&str, &[&str], &[i64]); 8] = [
        ("all", &[], &[1, 2, 3, 4, 5, 6, 7]),
        ("star", &["--types", "*"], &[1, 2, 3, 4, 5, 6, 7]),
        (
            "types",
            &["--types", "project_*,endpoints_added"],
            &[1, 2, 3],
        ),
        ("exact", &["--types", "project"], &[]),
        ("project", &["--projects", "p"], &[1, 4, 5]),
        (
            "environment",
            &["--environments", "production,staging"],
            &[1, 4, 5, 6],
        ),
        ("status", &["--statuses", "failed,in_progress"], &[5, 6, 7]),
        (
            "joined",
            &[
                "--statuses",
                "failed",
                "--projects",
                "p,q",
                "--types",
                "deployment",
            ],
            &[6],
        ),
    ];
    let mut receivers = Vec::new();
    for (name, filter, _) in wanted {
        let receiver = Receiver::open().await;
        add(&stage, name, &receiver, filter).await;
        receivers.push(receiver);
    }
    stage.execute(PLAY).await;
    stage.until("(select seq = 7 from tidings.progress)").await;
    // Everything is settled for everybody: nothing more will come.
    for ((name, _, seqs), receiver) in wanted.iter().zip(&receivers) {
        receiver.until(seqs.len()).await;
        stage.until(&format!(
            "(select case when e.behind then e.cursor_seq else greatest(e.cursor_seq, d.seq) end = 7
              from tidings.endpoints e join tidings.delivery_progress d using (shard) where e.name = '{name}')"
        )).await;
        let mut got: Vec<i64> = receiver
            .requests()
            .iter()
            .map(|request| request.json()["data"]["seq"].as_i64().unwrap())
            .collect();
        got.sort_unstable();
        assert_eq!(got, *seqs, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_endpoints_appear_change_and_vanish_with_the_settings() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let sidecar = stage.run().await;
    let by_hand = Receiver::open().await;
    add(&stage, "by hand", &by_hand, &[]).await;
    stage
        .execute("insert into projects (project_id, status) values ('p', 'active')")
        .await;
    ops.until(1).await;
    by_hand.until(1).await;
    sidecar.terminate(tests::PATIENCE).await;
    let id = list(&stage)
        .await
        .into_iter()
        .find(|e| e["name"] == "ops")
        .unwrap()["id"]
        .clone();

    // The same name is the same endpoint: another filter and receiver, where the old one left off.
    stage
        .execute("insert into projects (project_id, status) values ('q', 'active')")
        .await;
    let moved = stage.subscribe("ops").await;
    let sidecar = stage.resume().await;
    moved.until(1).await;
    moved.assert_verified();
    let ops_now = list(&stage)
        .await
        .into_iter()
        .find(|e| e["name"] == "ops")
        .unwrap();
    assert_eq!(
        (&ops_now["id"], &ops_now["origin"]),
        (&id, &json!("config"))
    );
    assert_eq!(moved.requests()[0].json()["data"]["project_id"], "q");
    by_hand.until(2).await;
    sidecar.terminate(tests::PATIENCE).await;

    stage
        .settings
        .set("endpoints", toml::Value::Array(Vec::new()));
    let _sidecar = stage.resume().await;
    stage
        .until("(select count(*) = 1 from tidings.endpoints)")
        .await;
    stage
        .execute("insert into projects (project_id, status) values ('r', 'active')")
        .await;
    by_hand.until(3).await;
    assert_eq!((ops.requests().len(), moved.requests().len()), (1, 1));
}
