//! Secrets: rotated, sealed, and handed in.

use serde_json::{Value, json};
use tests::{Program, Receiver, Stage, eventually};
use tokio::io::AsyncWriteExt;

use super::{add, refused, show};

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
