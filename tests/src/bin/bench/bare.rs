//! A bare client: posts signed bodies, so many at a time, and does nothing else. It runs as a process
//! of its own, as the sidecar does.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tests::Receiver;
use tokio::process::Command;
use tokio::task::JoinSet;
use webhook::Key;

/// The first argument of such a process.
pub(crate) const NAME: &str = "bare-client";

/// Has the bodies of `file`, a JSON list of ids and bodies, posted by another process.
pub(crate) async fn post(receiver: &Receiver, file: &Path, in_flight: usize) {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(program);
    command.arg(NAME).arg(receiver.url()).arg(file);
    command
        .arg(in_flight.to_string())
        .env("BARE_SECRET", receiver.secret().expose())
        .stdin(Stdio::null());
    let status = command.status().await.expect("the bench can be run again");
    assert!(status.success(), "the bare client failed: {status}");
}

/// What that process does.
pub(crate) async fn run(arguments: &[String]) {
    let [url, file, in_flight] = arguments else {
        panic!("{NAME} URL FILE IN_FLIGHT");
    };
    let secret = std::env::var("BARE_SECRET").expect("BARE_SECRET is set");
    let key: Key = secret.parse().expect("BARE_SECRET is a key");
    let text = std::fs::read(file).expect("the bodies can be read");
    let bodies: Vec<(String, String)> = serde_json::from_slice(&text).expect("the bodies are JSON");
    let bodies: Arc<[(String, String)]> = bodies.into();
    let next = Arc::new(AtomicUsize::new(0));
    let provider = rustls::crypto::ring::default_provider();
    // The client asks for one, though it speaks plain http here.
    provider
        .install_default()
        .expect("nobody has installed one before");
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a plain client can be made");
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight.parse::<usize>().expect("IN_FLIGHT is a number") {
        let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
        let (client, key, url) = (client.clone(), key.clone(), url.clone());
        tasks.spawn(async move {
            while let Some((id, body)) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let at = Timestamp::now().as_second();
                let keys = std::slice::from_ref(&key);
                let answer = client
                    .post(&url)
                    .header("webhook-id", id)
                    .header("webhook-timestamp", at)
                    .header(
                        "webhook-signature",
                        webhook::sign(keys, id, at, body.as_bytes()),
                    )
                    .header("content-type", "application/json")
                    .body(body.clone())
                    .send()
                    .await;
                let answer = answer.expect("the receiver answers");
                assert!(answer.status().is_success(), "{}", answer.status());
                // Read to its end, so that the connection serves again.
                answer.bytes().await.expect("the answer has an end");
            }
        });
    }
    tasks.join_all().await;
}
