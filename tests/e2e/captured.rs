//! `tidings webhooks verify` on captured requests, without a database.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use tests::{Outcome, tidings};
use webhook::{Key, SignatureVersion, sign};

const BODY: &str = r#"{"type":"deployment","data":"Prüfung ☃"}"#;

/// A captured request in files, and the key that it was signed by.
struct Capture {
    folder: tempfile::TempDir,
    key: Key,
    headers: Vec<String>,
}

impl Capture {
    fn signed_at(version: SignatureVersion, seconds: i64) -> Self {
        let key = Key::generate(version).unwrap();
        let signature = sign(std::slice::from_ref(&key), "id", seconds, BODY.as_bytes());
        let headers = vec![
            "Webhook-Id: id".to_owned(),
            format!("webhook-timestamp: {seconds}"),
            format!("webhook-signature: {signature}"),
        ];
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            key,
            headers,
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The whole request, with this body.
    fn request(&self, body: &str) -> PathBuf {
        let head = self.headers.join("\r\n");
        self.file(
            "request",
            &format!("POST /hook HTTP/1.1\r\n{head}\r\n\r\n{body}"),
        )
    }

    async fn verify(&self, key: &str, arguments: &[&str]) -> Outcome {
        let verify = ["webhooks", "verify", "--secret", key];
        let arguments = verify.iter().chain(arguments);
        // No settings are needed, so none are there.
        tidings(Path::new("/nonexistent/tidings.toml"), arguments.copied()).await
    }

    async fn verify_request(&self, request: &Path, more: &[&str]) -> Outcome {
        let request = request.to_str().unwrap();
        let arguments: Vec<&str> = ["--request", request].iter().chain(more).copied().collect();
        self.verify(&self.key.expose(), &arguments).await
    }
}

#[tokio::test]
async fn a_genuine_request_is_told_by_exit_code_text_and_json() {
    let now = Timestamp::now().as_second();
    for version in [SignatureVersion::V1, SignatureVersion::V1a] {
        let capture = Capture::signed_at(version, now);
        let request = capture.request(BODY);
        let outcome = capture.verify_request(&request, &[]).await.success();
        assert!(
            outcome
                .stdout
                .starts_with(&format!("ok: signed by key 1 of 1 ({version})"))
        );
        let json = capture
            .verify_request(&request, &["--json"])
            .await
            .success()
            .json();
        assert_eq!(
            (&json["verified"], &json["webhook_id"]),
            (&json!(true), &json!("id"))
        );
    }
}

#[tokio::test]
async fn headers_and_body_may_come_apart_and_a_public_key_is_enough() {
    let capture = Capture::signed_at(SignatureVersion::V1a, 1_614_265_330);
    let public = capture.key.public().unwrap().to_string();
    let body = capture.file("body", BODY);
    let headers = capture.file("headers", &capture.headers[1..].join("\n"));
    let arguments = [
        "--headers",
        headers.to_str().unwrap(),
        "--header",
        &capture.headers[0],
        "--body",
        body.to_str().unwrap(),
        "--at",
        "1614265331",
    ];
    capture.verify(&public, &arguments).await.success();
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_with_exit_code_1() {
    let capture = Capture::signed_at(SignatureVersion::V1, 1_614_265_330);
    let genuine = capture.request(BODY);
    let outcome = capture.verify_request(&genuine, &[]).await;
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains("--at 1614265330"),
        "{}",
        outcome.stderr
    );

    let forged = capture.request(&BODY.replace("deployment", "Deployment"));
    let outcome = capture
        .verify_request(&forged, &["--at", "1614265330", "--json"])
        .await;
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains("no signature matches"),
        "{}",
        outcome.stderr
    );
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&json["verified"], &json["reason"]),
        (&json!(false), &json!("mismatch"))
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_exit_code_2_and_no_key_is_repeated() {
    let capture = Capture::signed_at(SignatureVersion::V1, 1_614_265_330);
    let request = capture.request(BODY);
    let request = request.to_str().unwrap();
    for (key, file) in [
        ("", request),
        ("whsec_", request),
        ("whsec_c2VjcmV0", request),
        (&capture.key.expose(), "/nonexistent/request"),
    ] {
        let outcome = capture.verify(key, &["--request", file]).await;
        assert_eq!(outcome.code(), 2, "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("c2Vj"), "{}", outcome.stderr);
    }
    let whole_and_parts = ["--request", request, "--body", request];
    assert_eq!(
        capture
            .verify(&capture.key.expose(), &whole_and_parts)
            .await
            .code(),
        2
    );
}
