//! Two sidecars of one slot, and the end of one in good order.

use std::time::Duration;

use tests::{Sidecar, Stage, eventually};

fn insert(project: &str) -> String {
    format!(
        "insert into projects (project_id, name, status) values ('{project}', '{project}', 'active')"
    )
}

/// What `status --json` says of the slot: the state, and how many wait to take over.
fn standing(status: &serde_json::Value) -> (&str, i64) {
    let state = status["state"].as_str().unwrap_or_default();
    (state, status["standbys"].as_i64().unwrap_or(-1))
}

async fn until_standbys(stage: &Stage, count: i64) {
    eventually(&format!("it is read, and {count} wait"), async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        standing(&status) == ("active", count)
    })
    .await;
}

async fn ready(sidecar: &Sidecar) -> Option<(u16, serde_json::Value)> {
    let (code, body) = sidecar.get("/readyz").await?;
    Some((code, serde_json::from_str(&body).ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sidecar_stands_by_and_takes_over_when_the_first_is_killed() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let first = stage.run().await;
    stage.execute(&insert("a")).await;
    ops.until(1).await;
    let second = stage.second().await;
    eventually("the second stands by", async || {
        ready(&second)
            .await
            .is_some_and(|(code, body)| code == 200 && body["capture"]["state"] == "standby")
    })
    .await;
    eventually("it says so in the log", async || {
        second.log().contains("standing by")
    })
    .await;
    assert_eq!(ready(&first).await.unwrap().1["capture"]["state"], "active");
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(standing(&status), ("active", 1));
    let table = stage.tidings(["status"]).await.success().stdout;
    assert!(table.contains("standbys    1 waiting"), "{table}");
    stage.execute(&insert("b")).await;
    ops.until(2).await;

    first.kill9().await;
    stage.execute(&insert("c")).await;
    ops.until(3).await;
    assert_eq!(
        ready(&second).await.unwrap().1["capture"]["state"],
        "active"
    );
    stage.until_actions(3).await;
    ops.assert_verified();
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(standing(&status), ("active", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_those_that_wait_for_its_own_slot_and_no_others() {
    let mut stage = Stage::start().await;
    let _first = stage.run().await;
    let _second = stage.second().await;
    until_standbys(&stage, 1).await;

    // Another installation in the same database: nobody waits for its slot yet.
    for key in ["capture.slot", "capture.publication", "database.schema"] {
        stage.settings.set(key, "other");
    }
    stage.tidings(["setup"]).await.success();
    let reads = stage.second().await;
    eventually("the other slot is read", async || {
        ready(&reads)
            .await
            .is_some_and(|(_, body)| body["capture"]["state"] == "active")
    })
    .await;
    until_standbys(&stage, 0).await;
    let waits = stage.second().await;
    until_standbys(&stage, 1).await;
    waits.kill9().await;
    until_standbys(&stage, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_suffers_is_not_told_of_the_one_that_captures() {
    let stage = Stage::start().await;
    let first = stage.run().await;
    stage.execute(&insert("a")).await;
    stage.until_actions(1).await;
    let second = stage.second().await;
    let lost = |log: String| log.matches("capture lost its connection").count();
    // What happens once is not told by anybody.
    for times in 1..=3 {
        until_standbys(&stage, 1).await;
        stage
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where application_name = 'tidings standby'",
            )
            .await;
        eventually("it has lost its connection", async || {
            lost(second.log()) >= times
        })
        .await;
    }
    until_standbys(&stage, 1).await;
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(
        (&status["moves"], &status["reason"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(lost(first.log()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_ends_when_it_is_told_to_and_the_first_goes_on() {
    let stage = Stage::start().await;
    let _first = stage.run().await;
    let second = stage.second().await;
    eventually("the second stands by", async || {
        second.log().contains("standing by")
    })
    .await;
    assert_eq!(
        second.terminate(Duration::from_secs(10)).await.code(),
        Some(0)
    );
    stage.execute(&insert("a")).await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_told_to_stop_ends_in_good_order_and_a_restart_repeats_nothing() {
    let mut stage = Stage::start().await;
    let ops = stage.subscribe("ops").await;
    let sidecar = stage.run().await;
    for n in 0..50 {
        stage.execute(&insert(&format!("p{n}"))).await;
    }
    ops.until(50).await;
    assert_eq!(
        sidecar.terminate(Duration::from_secs(10)).await.code(),
        Some(0)
    );
    let exact = "select p.confirm_limit = s.confirmed_flush_lsn and p.owner_pid is null
                   and p.stop_reason is null and not s.active
                 from tidings.progress p, pg_replication_slots s";
    assert!(
        stage.value::<bool>(exact).await,
        "the slot stands where progress says"
    );
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["state"], "stopped");

    let sidecar = stage.resume().await;
    stage.execute(&insert("last")).await;
    ops.until(51).await;
    assert_eq!(
        sidecar.terminate(Duration::from_secs(10)).await.code(),
        Some(0)
    );
    stage.until_actions(51).await;
    assert_eq!(ops.requests().len(), 51, "nothing is sent twice");
    assert_eq!(ops.accepted().len(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_somebody_moved_after_a_stop_is_noticed() {
    let mut stage = Stage::start().await;
    let sidecar = stage.run().await;
    stage.execute(&insert("a")).await;
    stage.until_actions(1).await;
    sidecar.terminate(Duration::from_secs(10)).await;
    stage.execute(&insert("lost")).await;
    stage
        .execute("select pg_replication_slot_advance('tidings', pg_current_wal_lsn())")
        .await;
    stage.settings.set("capture.rebuilds_per_hour", 0);
    let _sidecar = stage.spawn(&[]);
    stage
        .until("(select stop_reason like '%was moved by somebody else%' from tidings.progress)")
        .await;
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["state"], "stopped");
    assert!(
        status["reason"].as_str().unwrap().contains("--new-slot"),
        "{status}"
    );
}
