//! `--probe`: a message sent and seen back.

use tests::{PATIENCE, Stage};

use super::{check, complains, healthy, is_well, text};

async fn comes_back(stage: &Stage) {
    let probe = stage.tidings(["doctor", "--probe", "--json"]).await;
    is_well(&probe.success().json(), "probe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_prints_its_time_and_leaves_nothing_behind() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let traces = "select concat((select count(*) from pg_replication_slots), ' ',
        (select count(*) from tidings.actions), ' ', (select count(*) from tidings.images), ' ',
        (select count(*) from tidings.quarantine), ' ', (select p::text from tidings.progress p), ' ',
        (select confirmed_flush_lsn from pg_replication_slots where slot_name = 'tidings'))";
    let before: String = stage.value(traces).await;
    let told = stage
        .tidings(["doctor", "--probe", "--json"])
        .await
        .success()
        .json();
    let probe = check(&told, "probe");
    assert_eq!(probe["status"], "ok", "{probe:#}");
    let message = text(probe, "message");
    let milliseconds = message
        .strip_prefix("a logical message came back after ")
        .and_then(|rest| rest.strip_suffix(" ms"));
    let milliseconds: f64 = milliseconds
        .unwrap_or_else(|| panic!("{message}"))
        .parse()
        .unwrap();
    assert!(milliseconds > 0.0 && milliseconds < 1000.0, "{message}");
    let after: String = stage.value(traces).await;
    assert_eq!(before, after);

    // A sidecar that runs passes the message over.
    let sidecar = stage.resume().await;
    comes_back(&stage).await;
    assert_eq!(
        stage
            .value::<i64>("select count(*) from pg_replication_slots")
            .await,
        1
    );
    stage
        .until("(select count(*) = 0 from tidings.quarantine)")
        .await;
    assert!(sidecar.terminate(PATIENCE).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_waits_for_a_transaction_says_whose_and_leaves_no_session_behind() {
    let stage = healthy().await;
    stage.tidings(["setup"]).await.success();
    let open = stage.connect().await;
    open.batch_execute("begin; insert into projects (project_id, name) values ('p', 'x')")
        .await
        .unwrap();
    let pid = open
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap();
    let pid: i32 = pid.get(0);
    let told = stage.tidings(["doctor", "--probe", "--json"]).await.json();
    let mend = complains(&told, "probe", "fail", &[&format!("process {pid}")]);
    assert!(
        mend.contains(&format!("pg_terminate_backend({pid})")),
        "{mend}"
    );
    let left = "(select count(*) = 0 from pg_stat_activity where backend_type = 'walsender')
        and (select count(*) = 1 from pg_replication_slots)";
    stage.until(left).await;
    open.batch_execute("rollback").await.unwrap();
    comes_back(&stage).await;
}
