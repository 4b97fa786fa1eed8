//! What an endpoint asks for: stored, shown and changed.

use serde_json::json;
use tests::Stage;

use super::{list, refused, show};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_asks_for_is_stored_shown_and_changed_and_no_secret_ever_is() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let password = stage.file("password", "hunter2\n");
    let password = password.to_str().unwrap();
    let added = stage
        .tidings([
            "endpoints",
            "add",
            "--json",
            "--name",
            "ops",
            "--url",
            "https://example.com/x",
            "--ed25519",
            "--types",
            "deployment",
            "--format",
            "template",
            "--template",
            "{{ type }}",
            "--order",
            "project",
            "--in-flight",
            "4",
            "--rate",
            "600/m",
            "--digest",
            "5m",
            "--digest-actions",
            "20",
            "--header",
            "x-key: hunter2",
            "--basic",
            "me",
            "--password-file",
            password,
        ])
        .await
        .success()
        .json();
    assert!(added["secret"].as_str().unwrap().starts_with("whsk_"));
    let public = added["public_key"].as_str().unwrap();
    assert!(public.starts_with("whpk_"));

    let shown = show(&stage, "ops").await;
    for (key, value) in [
        ("format", json!("template")),
        ("template", json!("{{ type }}")),
        ("order", json!("project")),
        ("in_flight", json!(4)),
        ("rate", json!("600/m")),
        ("digest", json!({"seconds": 300, "actions": 20})),
        ("behind", json!(0)),
        ("dead", json!(0)),
        ("attempts", json!([])),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    let credentials = json!({
        "keys": [{"version": "v1a", "public_key": public, "expires_at": null, "expired": false}],
        "headers": ["x-key"], "authorization": "basic", "client_certificate": false,
    });
    assert_eq!(shown["credentials"], credentials);
    let text = stage
        .tidings(["endpoints", "show", "ops"])
        .await
        .success()
        .stdout;
    for says in [
        "600/m",
        "attempts after 5 s, 5 min 5 s",
        public,
        "x-key",
        "basic",
    ] {
        assert!(text.contains(says), "{says} is not in {text}");
    }
    assert!(!format!("{shown}{text}").contains("hunter2"));

    let id = added["id"].as_str().unwrap();
    stage
        .tidings([
            "endpoints",
            "update",
            id,
            "--url",
            "https://example.com/y",
            "--types",
            "",
            "--format",
            "full",
            "--rate",
            "none",
            "--digest",
            "none",
            "--in-flight",
            "0",
            "--no-headers",
            "--no-authorization",
        ])
        .await
        .success();
    let shown = show(&stage, id).await;
    assert_eq!(shown["url"], "https://example.com/y");
    assert_eq!(shown["types"], json!([]));
    assert_eq!(
        (&shown["format"], &shown["template"]),
        (&json!("full"), &json!(null))
    );
    assert_eq!(
        (&shown["rate"], &shown["digest"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(shown["order"], "project", "what was not named stays");
    assert_eq!(shown["credentials"]["headers"], json!([]));
    assert_eq!(shown["credentials"]["authorization"], json!(null));
    assert_eq!(shown["credentials"]["keys"][0]["public_key"], public);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_makes_no_sense_is_refused_with_what_to_do() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let url = "https://example.com/x";
    let add: Vec<&str> = vec!["endpoints", "add", "--name", "b", "--url", url];
    for (more, code, says) in [
        (vec!["--template", "x"], 2, "template"),
        (vec!["--format", "slak"], 2, "slack"),
        (vec!["--in-flight", "1"], 2, "at least 2"),
        (
            vec!["--in-flight", "999"],
            2,
            "a quarter of webhooks.in_flight",
        ),
        (vec!["--rate", "fast"], 2, "10/s"),
        (
            vec!["--digest", "1h", "--digest-actions", "1"],
            2,
            "2 to 1000",
        ),
        (vec!["--header", "hunter2"], 2, "'name: value'"),
        (vec!["--header", "webhook-id: x"], 2, "webhook-id"),
        (vec!["--basic", "me"], 2, "--password-file"),
        (
            vec!["--basic", "me", "--password-env", "NOBODY_SET_THIS"],
            2,
            "NOBODY_SET_THIS",
        ),
        (
            vec!["--bearer-file", "/nowhere"],
            2,
            "--bearer-file names /nowhere",
        ),
        (vec!["--client-key", "/nowhere"], 2, "--client-certificate"),
    ] {
        let outcome = stage.tidings(add.iter().chain(&more)).await;
        refused(&outcome, code, &[says]);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
    assert_eq!(list(&stage).await, [json!(null); 0]);
    stage.tidings(&add).await.success();
    refused(
        &stage.tidings(["endpoints", "update", "b"]).await,
        2,
        &["nothing would change", "--url"],
    );
    refused(
        &stage.tidings(["endpoints", "show", "nobody"]).await,
        1,
        &["no endpoint named", "endpoints list"],
    );
}
