//! Faults of the classes stop and wait: named with what mends them, and over by themselves once they are mended.

use activity::Lsn;
use connect::Target;
use scratch::Server;
use serde_json::Value;
use tests::{Sidecar, Stage, eventually};
use wal::{Connection, Limits, Resume, Start};

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

/// A client that reads the slot of the settings, without the lock that sidecars take first.
async fn stranger(stage: &Stage) -> wal::Stream {
    let target = Target::parse(&stage.server.url("app")).unwrap();
    let start = Start {
        slot: "tidings".to_owned(),
        publication: "tidings".to_owned(),
        from: Lsn::ZERO,
        resume: Resume::default(),
        limits: Limits {
            changes: 1000,
            bytes: 1 << 20,
        },
        patience: 1,
    };
    let connection = Connection::open(&target).await.unwrap();
    connection.stream(&start).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_another_client_reads_is_waited_for_and_that_client_is_named() {
    let stage = Stage::on(Server::builder().fast()).await;
    stage.tidings(["setup"]).await.success();
    let stranger = stranger(&stage).await;
    let pid: i32 = stage
        .value("select active_pid from pg_replication_slots")
        .await;
    let sidecar = stage.spawn(&[]);
    eventually("the other client is named", async || {
        capture(&sidecar).await.is_some_and(|(code, told)| {
            let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            let reason = text("reason");
            let named = reason.contains("is active") && reason.contains(&pid.to_string());
            code == 503 && named && text("then").contains("waits for that")
        })
    })
    .await;
    // The process knows it first, and then leaves it where `status` reads.
    eventually("status says the same", async || {
        let status = stage.tidings(["status", "--json"]).await.success();
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(status["moves"], false);
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "stopped" && reason.contains(&pid.to_string())
    })
    .await;
    drop(stranger);
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
    eventually("it is ready", async || {
        capture(&sidecar).await.is_some_and(|(code, _)| code == 200)
    })
    .await;
}
