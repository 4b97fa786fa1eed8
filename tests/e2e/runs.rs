//! Runs that messages announce outside of transactions: told at once, ended by message, commit or watchdog.

use scratch::Server;
use serde_json::{Value, json};
use tests::{Sidecar, Stage};
use tokio_postgres::types::PgLsn;

async fn stage() -> Stage {
    let stage = Stage::on(Server::builder().fast()).await;
    stage.execute("create table other (id int)").await;
    stage
}

/// Says so outside of any transaction, and lets a commit flush it. Returns where its record ends.
async fn announce(stage: &Stage, message: &Value) -> u64 {
    let sql = format!("select pg_logical_emit_message(false, 'tidings', '{message}')");
    let end: PgLsn = stage.value(&sql).await;
    stage.execute("insert into other values (1)").await;
    end.into()
}

fn begins(run: &str, timeout: &str) -> Value {
    json!({
        "run": run, "status": "in_progress", "project_id": "p1", "action_type": "deployment",
        "action_details": "Deploying to fly.io…", "user_id": "u1", "environment": "production",
        "request_id": "q1", "timeout": timeout,
    })
}

async fn until_closed(stage: &Stage) {
    stage.until("(select count(*) = 0 from tidings.runs)").await;
}

/// Status and sentence of each action, in the order in which they were recorded.
async fn told(stage: &Stage) -> Vec<String> {
    let sql = "select array_agg(coalesce(a.status, '') || ': ' || a.action_details order by l.seq)
               from project_actions a join tidings.actions l using (action_id)";
    stage.value(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_rolls_back_is_told_when_it_begins_and_when_it_fails() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    let worker = stage.connect().await;
    let message = begins("r1", "10m");
    worker
        .batch_execute(&format!(
            "begin; insert into projects (project_id, name, status) values ('p', 'x', 'active');
             select pg_logical_emit_message(false, 'tidings', '{message}')"
        ))
        .await
        .unwrap();
    stage.execute("insert into other values (1)").await;
    stage.until_actions(1).await;
    stage
        .until("(select count(*) = 1 from tidings.runs where run = 'r1')")
        .await;
    worker.batch_execute("rollback").await.unwrap();
    let failed =
        json!({"run": "r1", "status": "failed", "action_details": "Deployment failed: no room"});
    let end = announce(&stage, &failed).await;
    stage.until_actions(2).await;
    until_closed(&stage).await;
    assert_eq!(
        told(&stage).await,
        [
            "in_progress: Deploying to fly.io…",
            "failed: Deployment failed: no room"
        ]
    );
    let rows: Vec<Value> = stage
        .value(
            "select array_agg(to_jsonb(l) || to_jsonb(a) order by l.seq)
             from tidings.actions l join project_actions a using (action_id)",
        )
        .await;
    for row in &rows {
        assert_eq!(
            (&row["origin"], &row["event"]),
            (&json!("message"), &json!("message"))
        );
        assert_eq!(
            (&row["project_id"], &row["user_id"]),
            (&json!("p1"), &json!("u1"))
        );
        assert_eq!(
            (&row["environment"], &row["request_id"]),
            (&json!("production"), &json!("q1"))
        );
        assert_eq!(row["actor_found"], "message");
        assert_eq!(row["data"]["run"], "r1");
    }
    // A message counts as committed in the last byte of its record.
    let commit_lsn: PgLsn = stage
        .value("select commit_lsn from tidings.actions where seq = 2")
        .await;
    assert_eq!(u64::from(commit_lsn) + 1, end);
    let soon: bool = stage
        .value("select bool_and(abs(created_at - extract(epoch from now())) < 120) from project_actions")
        .await;
    assert!(soon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_names_its_run_ends_it_and_its_rules_tell_the_story() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    announce(&stage, &begins("r1", "1h")).await;
    stage.until("(select count(*) = 1 from tidings.runs)").await;
    stage
        .execute(
            r#"begin; select pg_logical_emit_message(true, 'tidings', '{"run": "r1"}');
             insert into projects (project_id, name, status) values ('p', 'x', 'active'); commit"#,
        )
        .await;
    stage.until_actions(2).await;
    until_closed(&stage).await;
    assert_eq!(
        told(&stage).await,
        [
            "in_progress: Deploying to fly.io…",
            "success: Project 'x' created"
        ]
    );
}

async fn restarted(stage: &Stage, sidecar: Sidecar) -> Sidecar {
    sidecar.kill9().await;
    stage.resume().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_ends_is_closed_once_by_the_watchdog_over_kills() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    announce(&stage, &begins("r1", "2s")).await;
    announce(&stage, &begins("r2", "1h")).await;
    stage.until_actions(2).await;
    sidecar.kill9().await;
    stage
        .until("(select deadline < now() from tidings.runs where run = 'r1')")
        .await;
    let sidecar = stage.resume().await;
    stage.until_actions(3).await;
    let expected = "failed: Deploying to fly.io did not end within 2 seconds";
    assert_eq!(told(&stage).await[2], expected);
    let origin: String = stage
        .value("select origin from tidings.actions where seq = 3")
        .await;
    assert_eq!(origin, "watchdog");
    let sidecar = restarted(&stage, sidecar).await;
    let ended = json!({"run": "r2", "status": "success"});
    announce(&stage, &ended).await;
    stage.until_actions(4).await;
    until_closed(&stage).await;
    assert_eq!(
        told(&stage).await[3],
        "success: Deploying to fly.io: success"
    );
    drop(sidecar);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_waits_in_the_wal_comes_before_the_watchdog() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    announce(&stage, &begins("r1", "1s")).await;
    stage.until_actions(1).await;
    sidecar.kill9().await;
    announce(&stage, &json!({"run": "r1", "status": "success"})).await;
    stage
        .until("(select deadline < now() from tidings.runs where run = 'r1')")
        .await;
    let _sidecar = stage.resume().await;
    stage.until_actions(2).await;
    until_closed(&stage).await;
    assert_eq!(
        told(&stage).await[1],
        "success: Deploying to fly.io: success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_ignored_by_setting_and_where_they_can_not_be_read() {
    let mut stage = stage().await;
    let sidecar = stage.run().await;
    for message in ["s3cret", "[1]", r#"{"run": {}, "status": "s3cret"}"#] {
        announce(&stage, &json!(message)).await;
        let sql = format!("select pg_logical_emit_message(false, 'tidings', '{message}')");
        stage.value::<PgLsn>(&sql).await;
    }
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(1).await;
    let log = sidecar.log();
    assert!(
        log.contains("is ignored") && !log.contains("s3cret"),
        "{log}"
    );
    sidecar.kill9().await;

    stage.settings.set("capture.context", false);
    let _sidecar = stage.resume().await;
    announce(&stage, &begins("r1", "1s")).await;
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'y', 'active')")
        .await;
    stage.until_actions(2).await;
    let runs: i64 = stage.value("select count(*) from tidings.runs").await;
    assert_eq!((runs, stage.sentences().await.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_among_transactions_are_told_exactly_once_whenever_the_sidecar_is_killed() {
    const ROUNDS: i64 = 300;
    let stage = stage().await;
    let mut sidecar = stage.run().await;
    let (worker, other) = (stage.connect().await, stage.connect().await);
    // Open all the while: messages come between its rows and its commit.
    other
        .batch_execute(
            "begin; insert into projects (project_id, name, status) values ('o', 'open', 'active')",
        )
        .await
        .unwrap();
    for round in 0..ROUNDS {
        let message =
            json!({"run": round, "status": "noted", "action_details": format!("m{round}")});
        let sql = format!(
            "select pg_logical_emit_message(false, 'tidings', '{message}');
             insert into projects (project_id, name, status) values ('p{round}', 'n{round}', 'active')"
        );
        worker.batch_execute(&sql).await.unwrap();
        if round % 75 == 50 {
            sidecar = restarted(&stage, sidecar).await;
        }
    }
    other.batch_execute("commit").await.unwrap();
    stage.until_actions(2 * ROUNDS + 1).await;
    let messages: Vec<String> = stage
        .value(
            "select array_agg(a.action_details order by l.seq) from project_actions a
             join tidings.actions l using (action_id) where origin = 'message'",
        )
        .await;
    let expected: Vec<String> = (0..ROUNDS).map(|round| format!("m{round}")).collect();
    assert_eq!(messages, expected);
    let in_order: bool = stage
        .value(
            "select count(*) = max(seq) and array_agg(seq order by action_id) = array_agg(seq order by seq)
             from tidings.actions",
        )
        .await;
    assert!(in_order);
    drop(sidecar);
}

/// Any role may send a message, so none may hold up the stream.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_postgres_has_no_place_for_hold_nothing_up() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    let hostile = [
        r#"{"run": "1", "status": "x", "at": -250000000000}"#,
        r#"{"run": "2", "status": "x", "data": {"n": 1e200000, "deep": [-1E-200000]}}"#,
        r#"{"run": "3", "status": "in_progress", "reference_ids": {"n": 1e200000}}"#,
        r#"{"run": "4\u0000", "status": "\u0000", "data": {"\u0000": "\u0000"}}"#,
    ];
    for message in hostile {
        let sql = format!("select pg_logical_emit_message(false, 'tidings', '{message}')");
        stage.execute(&sql).await;
    }
    // Too long for an index, and no compression makes it shorter.
    let long = "select pg_logical_emit_message(false, 'tidings', json_build_object('run', '5', 'status', 'x',
        'project_id', (select string_agg(md5(n::text), '') from generate_series(1, 300) n))::text)";
    stage.execute(long).await;
    stage
        .execute("insert into projects (project_id, name, status) values ('p', 'x', 'active')")
        .await;
    stage.until_actions(6).await;
    let kept =
        "select string_agg(jsonb_typeof(data -> 'n'), ' ') from tidings.actions where data ? 'n'";
    assert_eq!(stage.value::<String>(kept).await, "string");
    let nobody = "select count(*) from project_actions where project_id is null";
    assert_eq!(stage.value::<i64>(nobody).await, 5);
}
