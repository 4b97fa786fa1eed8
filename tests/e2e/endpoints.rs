//! Endpoints by command and by settings, and which actions are routed to them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::{Behaviour, Outcome, Program, Receiver, Stage, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[track_caller]
pub(crate) fn refused(outcome: &Outcome, code: i32, says: &[&str]) {
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

async fn show(stage: &Stage, name: &str) -> Value {
    let arguments = ["endpoints", "show", name, "--json"];
    stage.tidings(arguments).await.success().json()
}

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

#[tokio::test(flavor = "multi_thread")]
async fn states_follow_each_other_as_they_must_and_a_refusal_names_the_command() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let ops = Receiver::open().await;
    add(&stage, "ops", &ops, &[]).await;
    let command = async |verb: &'static str| stage.tidings(["endpoints", verb, "ops"]).await;
    let state = async || {
        let shown = show(&stage, "ops").await;
        shown["state"].as_str().unwrap().to_owned()
    };
    command("resume").await.success();
    assert_eq!(state().await, "enabled");
    let paused = stage.tidings(["endpoints", "pause", "ops", "--reason", "a migration"]);
    assert!(paused.await.success().stdout.contains("waits in the log"));
    let shown = show(&stage, "ops").await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("paused"), &json!("a migration"))
    );
    refused(
        &command("enable").await,
        1,
        &["is paused", "endpoints resume ops"],
    );
    command("resume").await.success();
    assert_eq!(state().await, "enabled");
    command("disable").await.success();
    assert!(
        command("disable")
            .await
            .success()
            .stdout
            .contains("already")
    );
    refused(
        &command("pause").await,
        1,
        &["is disabled", "endpoints enable ops"],
    );
    refused(
        &command("resume").await,
        1,
        &["is disabled", "endpoints enable ops"],
    );
    stage
        .execute(
            "update tidings.endpoints set failing_since = now();
             update tidings.progress set seq = 100",
        )
        .await;
    let enabled = command("enable").await.success().stdout;
    assert!(
        enabled.contains("head of the log (after seq 100)"),
        "{enabled}"
    );
    let shown = show(&stage, "ops").await;
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("enabled"), &json!(null))
    );
    assert_eq!(
        (&shown["position"], &shown["failing_since"]),
        (&json!(100), &json!(null))
    );
    let told = stage.tidings(["endpoints", "pause", "ops", "--json"]).await;
    assert_eq!(told.success().json()["changed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_endpoint_misses_what_comes_and_begins_at_the_head_once_enabled() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    let (ops, other) = (Receiver::open().await, Receiver::open().await);
    add(&stage, "ops", &ops, &[]).await;
    add(&stage, "other", &other, &[]).await;
    let insert = async |id: &str| {
        let sql = format!("insert into projects (project_id, status) values ('{id}', 'active')");
        stage.execute(&sql).await;
    };
    insert("a").await;
    ops.until(1).await;
    stage
        .tidings(["endpoints", "disable", "ops"])
        .await
        .success();
    // The sidecar looks at the endpoints' revision: until then it may still send.
    insert("b").await;
    other.until(2).await;
    eventually("nothing is sent any more", async || {
        let before = ops.requests().len();
        let count = other.accepted().len();
        insert(&format!("c{count}")).await;
        other.until(count + 1).await;
        ops.requests().len() == before
    })
    .await;
    let missed = other.accepted().len();
    insert("d").await;
    other.until(missed + 1).await;
    stage
        .tidings(["endpoints", "enable", "ops"])
        .await
        .success();
    insert("e").await;
    eventually("the endpoint goes on", async || {
        ops.requests().last().unwrap().json()["data"]["project_id"] == "e"
    })
    .await;
    let got: Vec<Value> = ops
        .requests()
        .iter()
        .map(|request| request.json()["data"]["project_id"].clone())
        .collect();
    assert!(!got.contains(&json!("d")), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_signs_beside_the_one_before_until_that_expires() {
    let mut stage = Stage::start().await;
    let declared = stage.subscribe("declared").await;
    let _sidecar = stage.run().await;
    let ops = Receiver::open().await;
    add(&stage, "ops", &ops, &[]).await;
    let rotated = stage
        .tidings(["endpoints", "rotate-secret", "ops", "--json"])
        .await;
    let new = rotated.success().json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(new, ops.secret().expose());
    let shown = show(&stage, "ops").await;
    let keys = shown["credentials"]["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0]["expires_at"], json!(null));
    assert!(keys[1]["expires_at"].is_string());

    let signatures = async |count: usize| {
        ops.until(count).await;
        let requests = ops.requests();
        let request = &requests[count - 1];
        let header = request.header("webhook-signature").unwrap();
        header.split(' ').count()
    };
    eventually("both keys sign", async || {
        let count = ops.accepted().len();
        let id = format!("p{count}");
        let sql = format!("insert into projects (project_id, status) values ('{id}', 'active')");
        stage.execute(&sql).await;
        signatures(count + 1).await == 2
    })
    .await;
    ops.assert_verified();

    let told = stage
        .tidings([
            "endpoints",
            "rotate-secret",
            "ops",
            "--overlap",
            "0s",
            "--ed25519",
        ])
        .await
        .success()
        .stdout;
    assert!(
        told.contains("whsk_") && told.contains("no key before"),
        "{told}"
    );
    let shown = show(&stage, "ops").await;
    assert_eq!(shown["credentials"]["keys"].as_array().unwrap().len(), 1);
    refused(
        &stage
            .tidings(["endpoints", "rotate-secret", "ops", "--overlap", "soon"])
            .await,
        2,
        &["24h"],
    );
    for (verb, more) in [
        ("rotate-secret", None),
        ("update", Some("--no-headers")),
        ("remove", None),
    ] {
        let arguments = ["endpoints", verb, "declared"].into_iter().chain(more);
        let outcome = stage.tidings(arguments).await;
        refused(
            &outcome,
            1,
            &["declared in the settings", "SIGHUP", "endpoints plan"],
        );
    }
    drop(declared);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_sends_one_signed_example_and_stores_nothing() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let mut ops = Receiver::open().await;
    add(
        &stage,
        "ops",
        &ops,
        &["--types", "deployment", "--header", "x-key: k"],
    )
    .await;
    let told = stage
        .tidings(["endpoints", "test", "ops", "--json"])
        .await
        .success()
        .json();
    assert_eq!(
        (&told["status"], &told["type"]),
        (&json!(200), &json!("deployment"))
    );
    assert!(
        told["connect_ms"].is_number() && told["wait_ms"].is_number(),
        "{told}"
    );
    ops.assert_verified();
    let request = ops.requests()[0].clone();
    assert_eq!(request.header("x-key"), Some("k"));
    assert_eq!(request.header("webhook-id"), told["webhook_id"].as_str());
    let body = request.json();
    assert_eq!(body["type"], "deployment");
    assert_eq!(body["data"]["data"]["sample"], true);

    ops.behave(Behaviour::Status(503)).await;
    let outcome = stage
        .tidings(["endpoints", "test", "ops", "--type", "my_own"])
        .await;
    refused(&outcome, 1, &["answered 503"]);
    assert!(
        outcome.stdout.contains("status   503"),
        "{}",
        outcome.stdout
    );
    assert_eq!(ops.requests()[1].json()["type"], "my_own");
    ops.refuse().await;
    let outcome = stage.tidings(["endpoints", "test", "ops"]).await;
    refused(&outcome, 1, &["gave no answer", "connect"]);
    let stored: i64 = stage
        .value("select (select count(*) from tidings.attempts) + (select count(*) from tidings.parked)")
        .await;
    assert_eq!(stored, 0);
}

/// A server that answers each request with what `answer` makes of its body.
async fn answering(answer: fn(&Value) -> String) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let body = loop {
                let read = socket.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                match body.and_then(|body| serde_json::from_str::<Value>(&body).ok()) {
                    Some(body) => break body,
                    None if read == 0 => return,
                    None => {}
                }
            };
            let body = answer(&body);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_verified_by_the_echo_of_a_challenge_or_not_added() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let echo = answering(|body| {
        assert_eq!(body["type"], "endpoint_verification");
        json!({"challenge": body["challenge"]}).to_string()
    })
    .await;
    let polite = answering(|_| "thanks".to_owned()).await;
    let add = async |name: &str, address: SocketAddr| {
        let url = format!("http://{address}/hooks");
        stage
            .tidings([
                "endpoints",
                "add",
                "--name",
                name,
                "--url",
                &url,
                "--verify",
            ])
            .await
    };
    add("good", echo).await.success();
    let outcome = add("bad", polite).await;
    refused(&outcome, 1, &["bad is not verified", "{\"challenge\": …}"]);
    assert_eq!(list(&stage).await.len(), 1);
    let url = format!("http://{polite}/hooks");
    let outcome = stage
        .tidings(["endpoints", "update", "good", "--url", &url, "--verify"])
        .await;
    refused(&outcome, 1, &["good is not verified"]);
    assert_eq!(
        show(&stage, "good").await["url"],
        format!("http://{echo}/hooks")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_the_settings_would_change_and_changes_nothing() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let old = stage.subscribe("old").await;
    let sidecar = stage.run().await;
    stage
        .until("(select count(*) = 2 from tidings.endpoints)")
        .await;
    let plan = async |stage: &Stage| stage.tidings(["endpoints", "plan"]).await.success().stdout;
    assert!(plan(&stage).await.contains("change nothing"));

    stage
        .settings
        .set("endpoints", toml::Value::Array(Vec::new()));
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), ops.url().into());
    keys.insert("secret".to_owned(), old.secret().expose().into());
    keys.insert("rate".to_owned(), "10/s".into());
    stage.settings.endpoint("ops", keys);
    let new = stage.subscribe("new").await;
    let told = plan(&stage).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "change  ops: rate, secret",
            "add     new",
            "remove  old (with what is parked for it)",
        ]
    );
    assert!(!told.contains("whsec_"));
    let json = stage
        .tidings(["endpoints", "plan", "--json"])
        .await
        .success()
        .json();
    assert_eq!(json[0]["fields"], json!(["rate", "secret"]));
    let names = async || -> Vec<Value> {
        list(&stage)
            .await
            .into_iter()
            .map(|endpoint| endpoint["name"].clone())
            .collect()
    };
    assert_eq!(names().await, ["old", "ops"]);
    sidecar.hang_up();
    eventually("the plan is carried out", async || {
        names().await == ["new", "ops"]
    })
    .await;
    assert!(plan(&stage).await.contains("change nothing"));
    drop(new);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sealed_and_follow_the_keys_of_the_settings() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let by_hand = Receiver::open().await;
    stage.tidings(["setup"]).await.success();
    add(&stage, "by hand", &by_hand, &[]).await;
    let stored = async |stage: &Stage| -> Vec<String> {
        stage
            .value("select array_agg(credentials order by name) from tidings.endpoints")
            .await
    };
    assert!(
        stored(&stage).await[0].contains("whsec_"),
        "without a key it is plain"
    );
    let key = |byte: char| byte.to_string().repeat(43) + "=";
    let mut before = Vec::new();
    for keys in [vec![key('A')], vec![key('E'), key('A')], vec![key('E')]] {
        stage.settings.set("webhooks.encryption_keys", keys);
        let sidecar = stage.resume().await;
        stage
            .until("(select count(*) = 2 from tidings.endpoints)")
            .await;
        eventually("nothing is left to seal", async || {
            let plan = stage.tidings(["endpoints", "plan"]).await.success().stdout;
            plan.contains("change nothing")
        })
        .await;
        let now = stored(&stage).await;
        assert!(now.iter().all(|text| !text.contains("whsec_")), "{now:?}");
        assert!(before.is_empty() || now.len() == 2);
        let count = ops.accepted().len();
        stage
            .execute(&format!(
                "insert into projects (project_id, status) values ('p{count}', 'active')"
            ))
            .await;
        ops.until(count + 1).await;
        by_hand.until(count + 1).await;
        ops.assert_verified();
        by_hand.assert_verified();
        before = now;
        sidecar.terminate(tests::PATIENCE).await;
    }
    stage
        .settings
        .set("webhooks.encryption_keys", vec![key('I')]);
    let shown = show(&stage, "by hand").await;
    let error = shown["credentials"]["error"].as_str().unwrap();
    assert!(error.contains("webhooks.encryption_keys"), "{error}");
    let outcome = stage
        .tidings(["endpoints", "rotate-secret", "by hand"])
        .await;
    refused(&outcome, 2, &["webhooks.encryption_keys"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_comes_by_standard_input_as_well() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut command = Program::command(&stage.config());
    command
        .args([
            "endpoints",
            "add",
            "--json",
            "--name",
            "ops",
            "--url",
            "https://example.com/x",
        ])
        .args(["--secret-file", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(format!("{secret}\n").as_bytes())
        .await
        .unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["secret"], secret);
}
