//! Endpoints by command and by settings, and which actions are routed to them.

mod commands;
mod declared;
mod routing;
mod secrets;
mod states;
mod trial;
mod wishes;

use serde_json::Value;
use tests::{Outcome, Receiver, Stage};

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

async fn show(stage: &Stage, name: &str) -> Value {
    let arguments = ["endpoints", "show", name, "--json"];
    stage.tidings(arguments).await.success().json()
}
