//! A slot that is lost is made anew by itself: what is true by then is told once, and the gap is told of.

use std::time::Duration;

use scratch::Server;
use serde_json::Value;
use tests::{PATIENCE, Random, Receiver, Sidecar, Stage, eventually};

const ENDPOINT: &str = r#"{"method": "GET", "path": "/"}"#;
pub(crate) const DROP: &str = "select pg_drop_replication_slot('tidings')";
/// What is told of gaps, and how many are over and open.
const NOTICES: &str = "(select count(*) from tidings.actions where action_type = 'capture_gap')";
pub(crate) const REBUILT: &str = "(select count(*) from tidings.gaps where until_lsn is not null)";
pub(crate) const OPEN: &str = "(select count(*) from tidings.gaps where until_lsn is null)";

pub(crate) async fn stage() -> Stage {
    Stage::on(Server::builder().fast()).await
}

pub(crate) fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active');")
}

/// Who asked for notices of gaps.
async fn asked(stage: &mut Stage) -> Receiver {
    let asked = Receiver::open().await;
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), asked.url().into());
    keys.insert("secret".to_owned(), asked.secret().expose().into());
    keys.insert("types".to_owned(), vec!["capture_gap"].into());
    stage.settings.endpoint("asked", keys);
    asked
}

/// Runs the sidecar, and has it tell of three projects.
pub(crate) async fn begun(stage: &Stage) -> Sidecar {
    let sidecar = stage.run().await;
    stage.until_compared().await;
    for id in ["kept", "changed", "gone"] {
        stage.execute(&insert(id)).await;
    }
    stage.until_actions(3).await;
    sidecar
}

/// What nobody watches: one row changes twice, one goes, one comes, and one comes and goes.
pub(crate) async fn happen(stage: &Stage) {
    let unseen = format!(
        "update projects set endpoints = '[{ENDPOINT}, {ENDPOINT}]' where project_id = 'changed';
         delete from projects where project_id = 'gone';
         {} {}
         delete from projects where project_id = 'came and went';
         update projects set endpoints = '[{ENDPOINT}]' where project_id = 'changed'",
        insert("new"),
        insert("came and went")
    );
    stage.execute(&unseen).await;
}

/// The sidecar has seen the beginning; then the slot is dropped, and things happen that nobody watches.
pub(crate) async fn pass_unseen(stage: &Stage) {
    let sidecar = begun(stage).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage.execute(DROP).await;
    happen(stage).await;
}

/// The final states are told once, the gap by one notice, and what comes next as ever.
pub(crate) async fn assert_healed(stage: &Stage) {
    stage.until_actions(5).await;
    stage.until(&format!("{NOTICES} = {REBUILT}")).await;
    stage.until_compared().await;
    let mut said = stage.sentences().await.split_off(3);
    said.sort();
    assert_eq!(said, ["Added 1 endpoint: GET /", "Project 'new' created"]);
    let origins = "select string_agg(distinct origin, ' ' order by origin)
                   from tidings.actions where seq > 3";
    assert_eq!(stage.value::<String>(origins).await, "notice reconciled");
    stage.execute(&insert("afterwards")).await;
    stage.until_actions(6).await;
    let streamed = "select origin from tidings.actions where action_details like '%afterwards%'";
    assert_eq!(stage.value::<String>(streamed).await, "stream");
    stage
        .until("(select stop_reason is null from tidings.progress)")
        .await;
    assert_eq!(stage.value::<i64>(&format!("select {OPEN}")).await, 0);
}

async fn notices(stage: &Stage) -> i64 {
    stage.value(&format!("select {NOTICES}")).await
}

async fn status(stage: &Stage) -> Value {
    stage.tidings(["status", "--json"]).await.success().json()
}

async fn until_stopped(stage: &Stage, what: &str) {
    eventually(&format!("status says {what:?}"), async || {
        let status = status(stage).await;
        let reason = status["reason"].as_str().unwrap_or_default();
        status["state"] == "stopped" && reason.contains(what) && reason.contains("--new-slot")
    })
    .await;
}

/// How `doctor` judges the slot, where its words are those of `status`.
fn told_of_slot(doctor: &Value) -> &str {
    let checks = doctor["checks"].as_array().unwrap();
    let slot = checks.iter().find(|check| check["name"] == "slot").unwrap();
    let message = slot["message"].as_str().unwrap();
    assert!(message.contains("capture.rebuilds_per_hour"), "{message}");
    slot["status"].as_str().unwrap()
}

async fn until_unread(stage: &Stage) {
    stage
        .until("not (select active from pg_replication_slots where slot_name = 'tidings')")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_dropped_while_stopped_is_made_anew_and_what_is_true_by_then_is_told_once() {
    let mut stage = stage().await;
    let asked = asked(&mut stage).await;
    pass_unseen(&stage).await;
    let sidecar = stage.resume().await;
    assert_healed(&stage).await;
    asked.until(1).await;
    let notice = asked.requests()[0].json();
    assert_eq!(notice["type"], "capture_gap");
    let details = notice["data"]["action_details"].as_str().unwrap();
    assert!(
        details.starts_with("Not observed: changes between 0/"),
        "{details}"
    );
    assert!(details.contains("it was dropped"), "{details}");
    let gap = &notice["data"]["data"];
    let told = status(&stage).await;
    for lsn in ["from_lsn", "until_lsn"] {
        assert_eq!(gap[lsn], told["gap"][lsn]);
    }
    let begins = "(select until_lsn > from_lsn from tidings.gaps)";
    assert!(stage.value::<bool>(&format!("select {begins}")).await);
    // Neither a restart nor asking for it tells anything again.
    assert!(sidecar.terminate(PATIENCE).await.success());
    let _sidecar = stage.resume().await;
    stage.tidings(["reconcile"]).await.success();
    stage.until_actions(6).await;
    assert_eq!(notices(&stage).await, 1);
    assert_eq!(asked.requests().len(), 1);
    asked.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_dropped_under_a_running_sidecar_is_made_anew() {
    let stage = stage().await;
    let sidecar = begun(&stage).await;
    sidecar.freeze();
    stage
        .execute("select pg_terminate_backend(active_pid) from pg_replication_slots")
        .await;
    until_unread(&stage).await;
    stage.execute(DROP).await;
    happen(&stage).await;
    sidecar.thaw();
    assert_healed(&stage).await;
    assert_eq!(notices(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_wal_was_removed_is_made_anew() {
    let server = Server::builder().fast();
    let stage = Stage::on(server.setting("max_slot_wal_keep_size", "32MB")).await;
    for running in [false, true] {
        let lost = "(select wal_status = 'lost' from pg_replication_slots)";
        if running {
            let sidecar = stage.resume().await;
            assert_healed(&stage).await;
            sidecar.freeze();
            stage.grow_wal(5).await;
            stage.execute("checkpoint").await;
            stage.until(lost).await;
            stage.execute(&insert("unseen")).await;
            sidecar.thaw();
            stage.until_actions(7).await;
            stage.until(&format!("{NOTICES} = 2")).await;
        } else {
            let sidecar = begun(&stage).await;
            assert!(sidecar.terminate(PATIENCE).await.success());
            happen(&stage).await;
            stage.grow_wal(5).await;
            stage.execute("checkpoint").await;
            stage.until(lost).await;
        }
    }
    let reasons = "select string_agg(distinct reason, ' ') from tidings.gaps";
    let reasons: String = stage.value(reasons).await;
    assert!(reasons.contains("(max_slot_wal_keep_size)"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_nobody_read_for_too_long_is_made_anew() {
    let mut stage = stage().await;
    if stage.server.version().major < 18 {
        return;
    }
    let sidecar = begun(&stage).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    happen(&stage).await;
    tokio::task::block_in_place(|| stage.server.set("idle_replication_slot_timeout", "1s"))
        .unwrap();
    eventually("the server gives the slot up", async || {
        stage.execute("checkpoint").await;
        stage
            .value("select invalidation_reason is not distinct from 'idle_timeout' from pg_replication_slots")
            .await
    })
    .await;
    let _sidecar = stage.resume().await;
    assert_healed(&stage).await;
    let reason: String = stage.value("select reason from tidings.gaps").await;
    assert!(
        reason.contains("(idle_replication_slot_timeout)"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slot_that_waits_says_for_whom_and_kills_meanwhile_double_nothing() {
    let stage = stage().await;
    pass_unseen(&stage).await;
    let open = stage.connect().await;
    open.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let pid: i32 = open
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let waits = format!(
        "(select stop_reason like '%waits for transactions that are open: process {pid}'
          from tidings.progress)"
    );
    for _ in 0..3 {
        let sidecar = stage.spawn(&[]);
        stage.until(&waits).await;
        sidecar.kill9().await;
        stage
            .execute("update tidings.progress set stop_reason = null, stopped_at = null")
            .await;
    }
    let _sidecar = stage.spawn(&[]);
    stage.until(&waits).await;
    open.batch_execute("rollback").await.unwrap();
    assert_healed(&stage).await;
    assert_eq!(notices(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_new_slot_and_its_commit_leaves_neither_a_gap_nor_a_second_notice() {
    let stage = stage().await;
    pass_unseen(&stage).await;
    // The commit that begins at the new slot leaves its notice here.
    let locked = stage.connect().await;
    locked
        .batch_execute("begin; lock table tidings.outbox in share mode")
        .await
        .unwrap();
    let mut slots = Vec::new();
    for _ in 0..3 {
        let sidecar = stage.spawn(&[]);
        stage
            .until(
                "(select confirmed_flush_lsn is not null from pg_replication_slots)
                 and exists (select from pg_locks where relation = 'tidings.outbox'::regclass
                               and not granted)",
            )
            .await;
        sidecar.kill9().await;
        let begins = "select confirmed_flush_lsn::text from pg_replication_slots";
        slots.push(stage.value::<String>(begins).await);
        assert_eq!(stage.value::<i64>(&format!("select {OPEN}")).await, 1);
        // Its session waits for a moment longer than it lives.
        stage
            .until("not exists (select from pg_locks where relation = 'tidings.outbox'::regclass and not granted)")
            .await;
    }
    slots.dedup();
    assert_eq!(slots.len(), 3, "none of them counts: {slots:?}");
    locked.batch_execute("rollback").await.unwrap();
    let _sidecar = stage.resume().await;
    assert_healed(&stage).await;
    assert_eq!(notices(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_of_a_rebuild_lose_nothing_and_double_nothing() {
    const ROUNDS: usize = 8;
    let mut random = Random::from_environment();
    let mut stage = stage().await;
    stage.settings.set("capture.rebuilds_per_hour", 1000);
    let mut sidecar = begun(&stage).await;
    for round in 0..ROUNDS {
        sidecar.kill9().await;
        until_unread(&stage).await;
        stage.execute(DROP).await;
        // Of each row the final state is told; what it was in between is not.
        let change = format!(
            "{} update projects set endpoints = '[{ENDPOINT}]' where project_id = 'r{round}';
             delete from projects where project_id = 'x{round}'; {}",
            insert(&format!("r{round}")),
            insert(&format!("x{}", round + 1)),
        );
        stage.execute(&change).await;
        for _ in 0..4 {
            sidecar = stage.spawn(&[]);
            // Waits for nothing: the kill is to fall at any moment of the rebuild.
            tokio::time::sleep(Duration::from_millis(random.below(600) as u64)).await;
            sidecar.kill9().await;
        }
        sidecar = stage.spawn(&[]);
        stage.until(&format!("{REBUILT} > {round}")).await;
    }
    stage.until_compared().await;
    stage
        .until(&format!("{OPEN} = 0 and {NOTICES} = {REBUILT}"))
        .await;
    let twice = "select count(*) from (select from project_actions
                 group by project_id, action_type having count(*) > 1) as twice";
    // What is there in the end is told whole: a row of a round got its endpoint with it.
    let differ = "select count(*) from projects p left join lateral (
                    select array_agg(action_type::text order by action_type) as told
                    from project_actions a where a.project_id = p.project_id) as told on true
                  where told is distinct from case when project_id like 'r%'
                    then '{endpoints_added,project_created}'::text[] else '{project_created}' end";
    for faults in [twice, differ] {
        assert_eq!(
            stage.value::<i64>(faults).await,
            0,
            "{:?}",
            stage.sentences().await
        );
    }
    assert!(!sidecar.log().contains("panicked"));
    let gaps: i64 = stage.value(&format!("select {REBUILT}")).await;
    assert_eq!(gaps, ROUNDS as i64, "a kill makes no gap of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_does_nothing_to_a_slot_that_another_one_has_made() {
    let stage = stage().await;
    pass_unseen(&stage).await;
    let open = stage.connect().await;
    open.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let frozen = stage.spawn(&[]);
    stage
        .until("(select stop_reason like '%waits for transactions%' from tidings.progress)")
        .await;
    frozen.freeze();
    let epoch: i64 = stage.value("select epoch from tidings.progress").await;
    // Its host is gone, as the server sees it; what it has sent by SQL may still come.
    stage
        .execute("select pg_terminate_backend(owner_pid) from tidings.progress")
        .await;
    let second = stage.second().await;
    stage
        .until(&format!("(select epoch > {epoch} from tidings.progress)"))
        .await;
    open.batch_execute("rollback").await.unwrap();
    assert_healed(&stage).await;
    let slot = "select confirmed_flush_lsn >= until_lsn from pg_replication_slots, tidings.gaps";
    frozen.thaw();
    stage
        .until("exists (select from pg_stat_activity where application_name = 'tidings standby')")
        .await;
    stage.execute(&insert("later")).await;
    stage.until_actions(7).await;
    stage.until(slot).await;
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.gaps")
            .await,
        1
    );
    assert_eq!(notices(&stage).await, 1);
    drop((frozen, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_new_slots_than_an_hour_may_have_stop_capture_until_somebody_asks() {
    let mut stage = stage().await;
    stage.settings.set("capture.rebuilds_per_hour", 1);
    pass_unseen(&stage).await;
    let sidecar = stage.resume().await;
    assert_healed(&stage).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage.execute(DROP).await;
    stage.execute(&insert("unseen")).await;
    // A restart does not forget.
    for _ in 0..2 {
        let sidecar = stage.spawn(&[]);
        let refused = "as many as capture.rebuilds_per_hour allows";
        until_stopped(&stage, refused).await;
        // The reason may be of the process before: while this one holds the slot's lock, setup leaves it alone.
        eventually("this process was refused", async || {
            let ready = sidecar.get("/readyz").await;
            ready.is_some_and(|(_, body)| body.contains(refused))
        })
        .await;
        let doctor = stage.tidings(["doctor", "--json"]).await;
        assert_eq!(doctor.code(), 1);
        assert_eq!(told_of_slot(&doctor.json()), "fail");
        assert_eq!(stage.tidings(["setup"]).await.code(), 3);
        assert!(sidecar.terminate(PATIENCE).await.success());
    }
    stage.until_actions(6).await;
    let told = stage
        .tidings(["setup", "--new-slot"])
        .await
        .success()
        .stdout;
    assert!(told.contains("not in the stream"), "{told}");
    let sidecar = stage.resume().await;
    stage.until_actions(7).await;
    stage.until(&format!("{NOTICES} = 2")).await;
    // An hour later there may be another one, though not because of the one that was asked for.
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage
        .execute("update tidings.gaps set rebuilt_at = rebuilt_at - interval '1 hour' where not by_operator")
        .await;
    stage.execute(DROP).await;
    let _sidecar = stage.resume().await;
    stage.until(&format!("{NOTICES} = 3")).await;
    stage.until_actions(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_new_slot_may_be_made_capture_stops_with_the_command() {
    let mut stage = stage().await;
    stage.settings.set("capture.rebuilds_per_hour", 0);
    pass_unseen(&stage).await;
    let sidecar = stage.spawn(&[]);
    until_stopped(&stage, "replication slot tidings does not exist").await;
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.gaps")
            .await,
        0
    );
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage.tidings(["setup", "--new-slot"]).await.success();
    let _sidecar = stage.resume().await;
    assert_healed(&stage).await;
    assert_eq!(notices(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_somebody_else_under_our_name_is_left_alone() {
    let stage = stage().await;
    let sidecar = begun(&stage).await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    let swap = format!("{DROP}; select pg_create_physical_replication_slot('tidings')");
    stage.execute(&swap).await;
    let _sidecar = stage.spawn(&[]);
    until_stopped(&stage, "belongs to somebody else").await;
    let kinds = "select string_agg(slot_type, ' ') from pg_replication_slots";
    assert_eq!(stage.value::<String>(kinds).await, "physical");
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.gaps")
            .await,
        0
    );
}
