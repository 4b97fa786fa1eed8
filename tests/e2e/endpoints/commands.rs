//! Added, listed and removed by command, and refused with what to do.

use serde_json::json;
use tests::{Receiver, Stage};

use super::{add, list, refused};

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
        "environments": [], "statuses": [], "format": "full", "template": null,
        "order": "parallel", "in_flight": null, "rate": null, "digest": null, "failing_since": null,
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
