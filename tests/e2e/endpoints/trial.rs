//! What tries an endpoint out: a test, and a challenge.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::{Behaviour, Receiver, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{add, list, refused, show};

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
