//! A URL that names several hosts: which one is taken, and which never again.

use std::collections::BTreeSet;
use std::time::Instant;

use scratch::{Builder, Server};
use serde_json::Value;
use tests::{Receiver, Sidecar, Stage, Standby, eventually};
use tokio::task::block_in_place;

fn server() -> Builder {
    Server::builder().fast()
}

fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active')")
}

/// What `doctor` says of the hosts.
async fn doctor(stage: &Stage) -> String {
    let told = stage.tidings(["doctor", "--json"]).await.json();
    let checks = told["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "hosts");
    check.unwrap()["message"].as_str().unwrap().to_owned()
}

async fn until_streaming(stage: &Stage) {
    stage
        .until("exists (select from pg_replication_slots where slot_name = 'tidings' and active)")
        .await;
}

/// What a server that fell knows of a sidecar: its epoch, and whether anybody reads a stream.
fn untouched(fallen: &Server) -> Option<String> {
    let sql = "select (select epoch from tidings.progress) || ' '
        || (select count(*) from pg_stat_activity where usename = 'tidings')";
    block_in_place(|| fallen.value("app", sql)).unwrap()
}

/// Each is in the database once, and delivered; a delivery may be repeated where something dies.
async fn until_told(stage: &Stage, ops: &Receiver, actions: usize) {
    stage.until_actions(actions as i64).await;
    let ids = stage.actions().await.into_iter().map(|a| a.action_id);
    let ids: BTreeSet<String> = ids.collect();
    eventually(&format!("exactly {ids:?} are delivered"), async || {
        let accepted = ops.accepted();
        let strange: Vec<_> = accepted.keys().filter(|id| !ids.contains(*id)).collect();
        assert!(strange.is_empty(), "{strange:?}, not of {ids:?}");
        accepted.len() == actions
    })
    .await;
}

async fn until_left(fallen: &Server, before: &Option<String>) {
    eventually("nobody is at the old primary", async || {
        untouched(fallen) == *before
    })
    .await;
}

async fn ready(sidecar: &Sidecar) -> Option<Value> {
    serde_json::from_str(&sidecar.get("/readyz").await?.1).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_after_a_promotion_is_refused_by_name_and_left_alone() {
    let mut stage = Stage::on(server()).await;
    let ops = stage.subscribe("ops").await;
    let standby = Standby::of(&mut stage).await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&insert("a")).await;
    until_told(&stage, &ops, 1).await;
    let mut fallen = standby.take_over(&mut stage).await.server;
    until_streaming(&stage).await;
    stage.execute(&insert("b")).await;
    until_told(&stage, &ops, 2).await;

    // First in the URL, with its slot and its progress as they were, and it takes writes.
    block_in_place(|| fallen.start_again()).unwrap();
    let before = untouched(&fallen);
    assert!(before.as_ref().is_some_and(|text| text.ends_with(" 0")));
    block_in_place(|| fallen.execute("app", &insert("stray"))).unwrap();
    let told = doctor(&stage).await;
    assert!(told.contains("more than one host takes writes"), "{told}");
    assert!(told.contains("takes writes on timeline 2"), "{told}");
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tidings'";
    for id in ["c", "d"] {
        stage.execute(end).await;
        stage.execute(&insert(id)).await;
        stage
            .until(&format!(
                "exists (select from tidings.actions where project_id = '{id}')"
            ))
            .await;
    }
    until_told(&stage, &ops, 4).await;
    until_left(&fallen, &before).await;

    // Nor does a process that is started now go there: it looks at every host before it chooses.
    sidecar.kill9().await;
    let sidecar = stage.resume().await;
    stage.execute(&insert("e")).await;
    until_told(&stage, &ops, 5).await;
    until_left(&fallen, &before).await;

    // With nothing but that one left it waits, and says why.
    let named = "is on timeline 1, and";
    block_in_place(|| stage.server.kill9()).unwrap();
    eventually("it says that it will not go there", async || {
        ready(&sidecar).await.is_some_and(|body| {
            ["capture", "deliver"].iter().all(|role| {
                let reason = body[*role]["reason"].as_str().unwrap_or_default();
                reason.contains(named)
            })
        })
    })
    .await;
    block_in_place(|| stage.server.start_again()).unwrap();
    stage.execute(&insert("f")).await;
    until_told(&stage, &ops, 6).await;
    until_left(&fallen, &before).await;
    let log = sidecar.log();
    let told = log
        .lines()
        .filter(|line| line.contains("connect::timelines"));
    assert_eq!(told.count(), 1, "once, beside what each try says: {log}");
    ops.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_keeps_nobody_from_the_next_one() {
    let mut stage = Stage::on(server()).await;
    let ops = stage.subscribe("ops").await;
    stage.tidings(["setup"]).await.success();
    // It takes connections and says nothing. Twice that time is more than a session of capture may take.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "postgres://tidings@{},{}/app?target_session_attrs=read-write&connect_timeout=9",
        silent.local_addr().unwrap(),
        stage.server.host()
    );
    stage.settings.set("database.url", url);
    let _sidecar = stage.resume().await;
    for (count, id) in [(1, "a"), (2, "b")] {
        stage.execute(&insert(id)).await;
        until_told(&stage, &ops, count).await;
        let end =
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tidings'";
        let epoch: i64 = stage.value("select epoch from tidings.progress").await;
        let ended = Instant::now();
        stage.execute(end).await;
        stage
            .until(&format!("(select epoch from tidings.progress) > {epoch}"))
            .await;
        let took = ended.elapsed();
        println!("back behind a host that never answers: {took:?}");
        assert!(took.as_secs() < 9, "it was tried first again");
    }
}
