//! `status`, `/readyz`, `/healthz` and `doctor` say the same of a situation: one table, which
//! docs/operations.md shows.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scratch::{Server, StopMode};
use serde_json::Value;
use tests::{PATIENCE, Sidecar, Stage, eventually};

const INSERT: &str = "insert into projects (project_id, name, status) values";
const NOBODY: &[(&Sidecar, u16, &str)] = &[];

/// What everybody who is asked is to say.
struct Situation<'a> {
    name: &'a str,
    /// Of `status --json`; more than one, where capture goes to and fro between them.
    state: &'a [&'a str],
    moves: bool,
    /// Part of the reason, wherever one is told.
    says: &'a str,
    /// The exit code of `status`.
    exit: i32,
    /// A check of `doctor`, and how it stands.
    check: (&'a str, &'a str),
}

/// Asks all of them until they agree on this. Of each process: the code of `/readyz`, and its state.
async fn agree(stage: &Stage, processes: &[(&Sidecar, u16, &str)], situation: Situation<'_>) {
    let began = Instant::now();
    loop {
        let differs = match differs(stage, processes, &situation).await {
            Ok(()) => return,
            Err(differs) => differs,
        };
        let name = situation.name;
        assert!(began.elapsed() < PATIENCE, "{name}: {differs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn differs(
    stage: &Stage,
    processes: &[(&Sidecar, u16, &str)],
    situation: &Situation<'_>,
) -> Result<(), String> {
    let Situation {
        state,
        moves,
        says,
        exit,
        check,
        ..
    } = situation;
    let told = stage.tidings(["status", "--json"]).await;
    let (code, status) = (told.code(), told.json());
    let stands = |told: &Value| {
        let reason = told["reason"].as_str();
        told["moves"] == *moves
            && reason.is_none() == *moves
            && reason.is_none_or(|reason| reason.contains(says))
    };
    let word = status["state"].as_str().unwrap_or_default();
    if code != *exit || !state.contains(&word) || !stands(&status) {
        return Err(format!("status: exit code {code}, {status}"));
    }
    for (process, expected, state) in processes {
        let Some((ready, body)) = process.get("/readyz").await else {
            return Err("/readyz does not answer".to_owned());
        };
        let body: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let capture = &body["capture"];
        let is_off = *state == "off";
        let words: Vec<&str> = state.split('|').collect();
        let word = capture["state"].as_str().unwrap_or_default();
        if ready != *expected || !words.contains(&word) || !(is_off || stands(capture)) {
            return Err(format!("/readyz: {ready} {body}"));
        }
        // A process that answers is alive, whatever it waits for.
        let alive = process.get("/healthz").await.map(|(code, _)| code);
        if alive != Some(200) || body["ready"] != (ready == 200) {
            return Err(format!("/healthz: {alive:?}, {body}"));
        }
        if ready == 503 && !is_off && capture["since"].is_null() {
            return Err(format!("nothing says since when: {body}"));
        }
    }
    let doctor = stage.tidings(["doctor", "--json"]).await.json();
    let checks = doctor["checks"].as_array().cloned().unwrap_or_default();
    match checks.iter().find(|told| told["name"] == check.0) {
        Some(told) if told["status"] == check.1 => Ok(()),
        other => Err(format!("doctor: {other:?}")),
    }
}

async fn insert(stage: &Stage, id: &str) {
    stage
        .execute(&format!("{INSERT} ('{id}', '{id}', 'active')"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_agree_from_before_setup_to_a_lost_slot() {
    let stage = Stage::on(Server::builder().fast()).await;
    let stopped = |name, says, check| Situation {
        name,
        state: &["stopped"],
        moves: false,
        says,
        exit: 0,
        check,
    };
    let running = || Situation {
        name: "running",
        state: &["active"],
        moves: true,
        says: "",
        exit: 0,
        check: ("slot", "ok"),
    };
    let never = Situation {
        exit: 3,
        ..stopped("never set up", "tidings setup", ("setup", "fail"))
    };
    agree(&stage, NOBODY, never).await;
    stage.tidings(["setup"]).await.success();
    let idle = stopped("nobody runs", "no `tidings run` reads", ("slot", "ok"));
    agree(&stage, NOBODY, idle).await;

    let delivers = stage.spawn(&["--roles", "deliver,api"]);
    let only = stopped(
        "a process that only delivers",
        "no `tidings run` reads",
        ("slot", "ok"),
    );
    agree(&stage, &[(&delivers, 200, "off")], only).await;
    delivers.kill9().await;

    let sidecar = stage.resume().await;
    agree(&stage, &[(&sidecar, 200, "active")], running()).await;

    stage
        .execute("revoke insert on project_actions from tidings")
        .await;
    insert(&stage, "refused").await;
    let refused = stopped("an operator's fault", "grant insert", ("grants", "fail"));
    agree(&stage, &[(&sidecar, 503, "stopped")], refused).await;
    stage.tidings(["setup"]).await.success();
    agree(&stage, &[(&sidecar, 200, "active")], running()).await;

    stage.execute("drop publication tidings").await;
    let says = "publication tidings does not exist";
    let gone = stopped("no publication", says, ("publication", "fail"));
    agree(&stage, &[(&sidecar, 503, "stopped")], gone).await;
    stage.tidings(["setup"]).await.success();
    agree(&stage, &[(&sidecar, 200, "active")], running()).await;

    let worker = stage.connect().await;
    worker
        .batch_execute("begin; lock table project_actions in access exclusive mode")
        .await
        .unwrap();
    insert(&stage, "blocked").await;
    let blocked = Situation {
        name: "project_actions is locked",
        state: &["active", "stopped"],
        moves: false,
        says: "holds table public.project_actions",
        exit: 0,
        check: ("slot", "warn"),
    };
    agree(&stage, &[(&sidecar, 503, "active|stopped")], blocked).await;
    worker.batch_execute("rollback").await.unwrap();
    agree(&stage, &[(&sidecar, 200, "active")], running()).await;

    sidecar.kill9().await;
    stage
        .until("(select not active from pg_replication_slots)")
        .await;
    stage
        .execute("select pg_drop_replication_slot('tidings')")
        .await;
    let lost = stopped("no slot", "start `tidings run`", ("slot", "warn"));
    agree(&stage, NOBODY, lost).await;
    worker
        .batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let sidecar = stage.spawn(&[]);
    let says = "The new slot waits for transactions that are open";
    // The server has the new slot at once, and whoever makes it holds it.
    let making = stopped("a lost slot is made anew", says, ("slot", "warn"));
    agree(&stage, &[(&sidecar, 503, "stopped")], making).await;
    worker.batch_execute("rollback").await.unwrap();
    agree(&stage, &[(&sidecar, 200, "active")], running()).await;
}

/// Somebody reads the slot, whether anything comes of it or not.
fn read<'a>(name: &'a str, moves: bool, slot: &'a str) -> Situation<'a> {
    Situation {
        name,
        state: &["active"],
        moves,
        says: "heard there",
        exit: 0,
        check: ("slot", slot),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_agree_while_a_sidecar_is_frozen_and_another_one_waits() {
    let server = Server::builder()
        .fast()
        .setting("wal_sender_timeout", "30s");
    let stage = Stage::on(server).await;
    let first = stage.run().await;
    let second = stage.second().await;
    let both = [(&first, 200, "active"), (&second, 200, "standby")];
    agree(&stage, &both, read("one waits", true, "ok")).await;

    first.freeze();
    let frozen = read("the sidecar is frozen", false, "warn");
    agree(&stage, &[(&second, 503, "standby")], frozen).await;
    // The server ends the stream of the first, and the second takes over.
    let taken = read("the other one took over", true, "ok");
    agree(&stage, &[(&second, 200, "active")], taken).await;
    first.thaw();
    let both = [(&first, 200, "standby"), (&second, 200, "active")];
    agree(&stage, &both, read("the first one waits", true, "ok")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_agree_while_the_servers_process_of_the_stream_is_frozen() {
    let server = Server::builder().fast().setting("wal_sender_timeout", "6s");
    let stage = Stage::on(server).await;
    let sidecar = stage.run().await;
    let walsender: i32 = stage
        .value("select active_pid from pg_replication_slots where active")
        .await;
    let walsender = Pid::from_raw(walsender).unwrap();
    kill_process(walsender, Signal::STOP).unwrap();
    // Sooner or later it connects anew, and finds its own stream in the way.
    let frozen = read("the server's process is frozen", false, "warn");
    agree(&stage, &[(&sidecar, 503, "active|standby")], frozen).await;
    kill_process(walsender, Signal::CONT).unwrap();
    let again = read("it moves again", true, "ok");
    agree(&stage, &[(&sidecar, 200, "active")], again).await;
    insert(&stage, "p").await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_agree_on_a_server_that_is_down_and_comes_back() {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let sidecar = stage.run().await;
    let stop = |stage: &mut Stage| {
        let patience = Duration::from_secs(15);
        tokio::task::block_in_place(|| stage.server.stop(StopMode::Fast, patience)).unwrap();
    };
    stop(&mut stage);
    let down = || Situation {
        name: "the server is down",
        state: &["stopped"],
        moves: false,
        says: "is unreachable",
        exit: 1,
        check: ("connection", "fail"),
    };
    agree(&stage, &[(&sidecar, 503, "stopped")], down()).await;
    let port = stage.server.port().to_string();
    let mut body = Value::Null;
    eventually("both roles name the server, and what is done", async || {
        let (_, text) = sidecar.get("/readyz").await.unwrap();
        body = serde_json::from_str(&text).unwrap();
        ["capture", "deliver"].into_iter().all(|role| {
            let reason = body[role]["reason"].as_str().unwrap_or_default();
            reason.contains(&port) && body[role]["then"].is_string()
        })
    })
    .await;
    let database = body["database"].as_str().unwrap();
    assert!(database.starts_with("tidings@") && database.ends_with("/app"));
    // One that starts meanwhile waits for it, and says so too.
    sidecar.kill9().await;
    let sidecar = stage.spawn(&[]);
    agree(&stage, &[(&sidecar, 503, "stopped")], down()).await;
    tokio::task::block_in_place(|| stage.server.start_again()).unwrap();
    let up = Situation {
        name: "the server is back",
        state: &["active"],
        moves: true,
        says: "",
        exit: 0,
        check: ("connection", "ok"),
    };
    agree(&stage, &[(&sidecar, 200, "active")], up).await;
}
