//! Faults of the classes stop and wait: named with what mends them, and over by themselves once they are mended.

use scratch::Server;
use serde_json::Value;
use tests::{Sidecar, Stage, eventually};

const END_ALL: &str =
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tidings'";

/// What `/readyz` says of capture, with its code.
async fn capture(sidecar: &Sidecar) -> Option<(u16, Value)> {
    let (code, body) = sidecar.get("/readyz").await?;
    let body: Value = serde_json::from_str(&body).ok()?;
    Some((code, body["capture"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_named_with_its_mend_and_capture_resumes_by_itself() {
    let stage = Stage::on(Server::builder().fast()).await;
    let sidecar = stage.run().await;
    let cases = [
        (
            "alter role tidings nologin",
            "alter role tidings login",
            "not permitted to log in",
            "pg_hba.conf",
            "looks again every 10 s",
        ),
        (
            "alter role tidings connection limit 0",
            "alter role tidings connection limit -1",
            "too many connections",
            "raise max_connections",
            "waits for that",
        ),
    ];
    for (place, (spoil, undo, says, mend, then)) in cases.into_iter().enumerate() {
        stage.execute(spoil).await;
        stage.execute(END_ALL).await;
        eventually(&format!("{says} is named, with {mend}"), async || {
            let told = capture(&sidecar).await;
            told.is_some_and(|(code, told)| {
                let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
                let reason = text("reason");
                let named = reason.contains(says) && reason.contains(mend);
                code == 503 && named && text("then").contains(then)
            })
        })
        .await;
        let status = stage.tidings(["status", "--json"]).await;
        assert_eq!(status.code(), 1);
        for told in [&status.stdout, &status.stderr] {
            assert!(told.contains(says) && told.contains(mend), "{told}");
        }
        stage.execute(undo).await;
        stage
            .execute(&format!(
                "insert into projects (project_id, name, status) values ('p{place}', 'x', 'active')"
            ))
            .await;
        stage.until_actions(place as i64 + 1).await;
        eventually("it is ready", async || {
            capture(&sidecar).await.is_some_and(|(code, _)| code == 200)
        })
        .await;
    }
}
