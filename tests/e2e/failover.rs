//! A primary dies and its standby is promoted: the sidecar goes on there by itself, and what `doctor` said
//! would follow is what follows.

use scratch::Server;
use tests::{Fallen, Random, Sidecar, Stage, Standby, Trial, eventually};

const ENDPOINT: &str = r#"{"method": "GET", "path": "/"}"#;
const NOTICES: &str = "select count(*) from tidings.actions where action_type = 'capture_gap'";
const PLAIN: &str = "select pg_drop_replication_slot('tidings');
    select pg_create_logical_replication_slot('tidings', 'pgoutput');
    delete from tidings.progress";

fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active');")
}

fn endpoint(id: &str) -> String {
    format!("update projects set endpoints = '[{ENDPOINT}]' where project_id = '{id}';")
}

fn server() -> scratch::Builder {
    Server::builder().fast()
}

/// Whether standbys can keep copies of slots.
fn syncs(stage: &Stage) -> bool {
    stage.server.version().major >= 17
}

/// What `doctor` says of this.
async fn doctor(stage: &Stage, name: &str) -> String {
    let told = stage.tidings(["doctor", "--json"]).await.json();
    let checks = told["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap()["message"].as_str().unwrap().to_owned()
}

/// `doctor` says that it will be a reconcile, and why.
async fn promises_a_reconcile(stage: &Stage, why: &str) {
    let told = doctor(stage, "failover").await;
    assert!(
        told.contains("reconcile") && !told.contains("exactly once") && told.contains(why),
        "{told}"
    );
}

/// Waits for an action of a transaction that the promoted server committed; prints how long that took.
async fn until_it_moves(stage: &Stage, fallen: &Fallen) {
    let branch = &fallen.branch;
    let moves = format!(
        "exists (select from tidings.actions where commit_lsn > '{branch}' and origin = 'stream')"
    );
    stage.until(&moves).await;
    println!(
        "from the order to promote to the first new action: {:?}",
        fallen.asked.elapsed()
    );
}

async fn notices(stage: &Stage) -> i64 {
    stage.value(NOTICES).await
}

/// Whom an action came from: its origin, in the order of the log.
async fn origins(stage: &Stage) -> Vec<String> {
    let origins = "select array_agg(origin order by seq) from tidings.actions";
    stage.value(origins).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synced_slot_that_the_stream_waits_for_makes_a_failover_exactly_once() {
    let mut random = Random::from_environment();
    for our_commits_wait in [true, false, false] {
        let mut trial = Trial::prepare(server(), random.fork()).await;
        if !syncs(&trial.stage) {
            return;
        }
        let stage = &mut trial.stage;
        let mut standby = Standby::of(stage).await;
        standby.commits_wait(stage).await;
        standby.stream_waits(stage).await;
        if !our_commits_wait {
            // Then the promoted server may lack our last commits, and only those.
            stage
                .execute("alter role tidings set synchronous_commit = local")
                .await;
        }
        let mut sidecar = stage.run().await;
        promises_a_reconcile(stage, "has no copy of the slot").await;
        standby.until_synced(stage).await;
        standby.syncs_by_itself();
        let promised = doctor(stage, "failover").await;
        assert!(promised.contains("exactly once: "), "{promised}");
        assert!(doctor(stage, "hosts").await.contains(" is a standby"));

        let load = trial.load_at(&standby.url("worker")).await;
        load.until_more(60 + random.below(200)).await;
        let stage = &mut trial.stage;
        let fallen = standby.take_over(stage).await;
        until_it_moves(stage, &fallen).await;
        load.until_more(100).await;

        let audit = trial.audit(&load.stop().await).await;
        audit.assert_clean();
        assert!(sidecar.is_running());
        let stage = &trial.stage;
        let gaps: i64 = stage.value("select count(*) from tidings.gaps").await;
        assert_eq!(gaps, 0, "{}", sidecar.log());
        assert_eq!(timeline(stage).await, 2);
    }
}

async fn timeline(stage: &Stage) -> i64 {
    stage.value("select timeline from tidings.progress").await
}

/// The image of this project is locked until the client goes: what changes it can not be committed.
async fn held(stage: &Stage, project: &str) -> tokio_postgres::Client {
    let client = stage.connect().await;
    let lock = format!(
        "begin; select from tidings.images where row ->> 'project_id' = '{project}' for update"
    );
    client.batch_execute(&lock).await.unwrap();
    client
}

/// Two changes are captured. The standby has the first one, but not our commit of it, while its slot is
/// past that; and nothing of the second one.
async fn run_ahead(stage: &Stage, standby: &Standby) {
    let first = held(stage, "one").await;
    let _second = held(stage, "two").await;
    stage.execute(&endpoint("one")).await;
    let change: String = stage.value("select pg_current_wal_lsn()::text").await;
    let waits = "exists (select from pg_locks l join pg_stat_activity a using (pid)
        where a.usename = 'tidings' and not l.granted)";
    stage.until(waits).await;
    let has: String = standby.cut(stage).await;
    stage.execute(&endpoint("two")).await;
    first.batch_execute("rollback").await.unwrap();
    stage.until_actions(3).await;
    stage
        .until(&format!(
            "(select confirmed_flush_lsn between '{change}' and '{has}' from pg_replication_slots
              where slot_name = 'tidings')"
        ))
        .await;
    eventually("the standby's slot is past the change", async || {
        standby.sync().await;
        let past = format!(
            "select confirmed_flush_lsn >= '{change}' from pg_replication_slots where slot_name = 'tidings'"
        );
        standby.value(&past).await
    })
    .await;
}

/// A sidecar that has told of two projects, and a standby with a copy of its slot that no stream waits for.
async fn unwaited() -> Option<(Stage, Standby, Sidecar)> {
    let mut stage = Stage::on(server()).await;
    if !syncs(&stage) {
        return None;
    }
    let standby = Standby::of(&mut stage).await;
    stage.settings.set("capture.commit_patience", "60s");
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage
        .execute(&[insert("one"), insert("two")].concat())
        .await;
    stage.until_actions(2).await;
    standby.until_synced(&stage).await;
    promises_a_reconcile(&stage, "the stream does not wait for it").await;
    Some((stage, standby, sidecar))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_ahead_of_our_last_commit_is_found_out_and_final_states_are_told_once() {
    // A process that goes on remembers what it has committed, and tells of the gap. One that is started
    // after the promotion finds the slot ahead, as marks too leave it, and compares.
    for goes_on in [true, false] {
        let Some((mut stage, standby, mut sidecar)) = unwaited().await else {
            return;
        };
        run_ahead(&stage, &standby).await;
        if goes_on {
            standby.take_over(&mut stage).await;
        } else {
            sidecar.kill9().await;
            standby.take_over(&mut stage).await;
            sidecar = stage.resume().await;
        }
        stage.until_actions(3).await;
        let gaps = i64::from(goes_on);
        stage.until(&format!("({NOTICES}) = {gaps}")).await;
        stage.until_compared().await;
        stage.execute(&insert("three")).await;
        stage.until_actions(4).await;
        let said = &stage.sentences().await[2..];
        assert_eq!(said, ["Added 1 endpoint: GET /", "Project 'three' created"]);
        let mut origins = origins(&stage).await.split_off(2);
        origins.retain(|origin| origin != "notice");
        assert_eq!(origins, ["reconciled", "stream"]);
        assert_eq!(notices(&stage).await, gaps);
        assert_eq!(sidecar.log().contains("its slot leads on"), !goes_on);
        if goes_on {
            let reason: String = stage.value("select reason from tidings.gaps").await;
            let lacks = "it lacks what we committed after";
            assert!(reason.contains(lacks), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_behind_our_last_commit_repeats_nothing_and_is_no_gap() {
    let Some((mut stage, standby, mut sidecar)) = unwaited().await else {
        return;
    };
    // The slot's copy stays where it is.
    stage
        .execute(&[endpoint("one"), insert("three")].concat())
        .await;
    stage.until_actions(4).await;
    standby.catches_up(&stage).await;
    let fallen = standby.take_over(&mut stage).await;
    let behind = "select confirmed_flush_lsn <= (select commit_lsn from tidings.progress)
        from pg_replication_slots where slot_name = 'tidings'";
    assert!(stage.value::<bool>(behind).await);
    stage.execute(&endpoint("three")).await;
    until_it_moves(&stage, &fallen).await;
    stage.until_actions(5).await;
    assert_eq!(origins(&stage).await, ["stream"; 5]);
    assert!(sidecar.is_running());
    let log = sidecar.log();
    assert!(log.contains("its slot leads on"), "{log}");
    assert!(!log.contains("is not in this database"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_promoted_server_never_had_is_named_and_told_anew_when_it_happens_again() {
    let Some((mut stage, standby, sidecar)) = unwaited().await else {
        return;
    };
    standby.cut(&stage).await;
    stage.execute(&insert("lost")).await;
    stage.until_actions(3).await;
    let told = stage.actions().await.pop().unwrap();
    let fallen = standby.take_over(&mut stage).await;
    let there = "select count(*) from projects where project_id = 'lost'";
    assert_eq!(stage.value::<i64>(there).await, 0);
    // As the worker may, who finds that it is not there.
    stage.execute(&insert("lost")).await;
    until_it_moves(&stage, &fallen).await;
    stage.until_actions(3).await;
    let again = stage.actions().await.pop().unwrap();
    assert_eq!(again.details, told.details);
    assert_ne!(again.action_id, told.action_id, "it is another transaction");
    assert_eq!(notices(&stage).await, 0);
    let log = sidecar.log();
    assert!(log.contains("is not in this database"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_without_the_slot_gets_one_through_the_same_url() {
    for plain in [false, true] {
        let mut stage = Stage::on(server()).await;
        if plain && !syncs(&stage) {
            return;
        }
        let ops = stage.subscribe("ops").await;
        let standby = Standby::of(&mut stage).await;
        stage.tidings(["setup"]).await.success();
        if plain {
            // As somebody makes it by hand: no failover slot.
            stage.execute(PLAIN).await;
        }
        if syncs(&stage) {
            standby.stream_waits(&mut stage).await;
        }
        let mut sidecar = stage.run().await;
        stage.until_compared().await;
        stage
            .execute(&["kept", "changed", "gone"].map(insert).concat())
            .await;
        stage.until_actions(3).await;
        let why = match (syncs(&stage), plain) {
            (false, _) => "from Postgres 17 on",
            (true, true) => "no failover slot",
            (true, false) => "has no copy of the slot",
        };
        promises_a_reconcile(&stage, why).await;

        // It sees nothing of what happens before there is a slot.
        sidecar.freeze();
        standby.take_over(&mut stage).await;
        stage
            .execute(&format!(
                "{} update projects set endpoints = '[]' where project_id = 'changed'; {}
                 delete from projects where project_id = 'gone';
                 {} {} delete from projects where project_id = 'came and went'",
                endpoint("changed"),
                endpoint("changed"),
                insert("new"),
                insert("came and went"),
            ))
            .await;
        sidecar.thaw();
        stage.until_actions(5).await;
        stage.until(&format!("({NOTICES}) = 1")).await;
        let mut said = stage.sentences().await.split_off(3);
        said.sort();
        assert_eq!(said, ["Added 1 endpoint: GET /", "Project 'new' created"]);
        stage.execute(&insert("afterwards")).await;
        stage.until_actions(6).await;
        ops.until(6).await;
        assert_eq!(notices(&stage).await, 1);
        assert_eq!(timeline(&stage).await, 2);
        let reason: String = stage.value("select reason from tidings.gaps").await;
        let lacks = "replication slot tidings does not exist there";
        assert!(reason.contains(lacks), "{reason}");
        assert!(sidecar.is_running());
        ops.assert_verified();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_whose_slot_is_ahead_by_marks_is_followed_and_compared() {
    let mut stage = Stage::on(server()).await;
    let standby = Standby::of(&mut stage).await;
    // A promoted server begins a segment anew.
    stage.settings.set("capture.confirm_lease", "64MiB");
    let sidecar = stage.run().await;
    stage.until_compared().await;
    stage.execute(&["a", "b"].map(insert).concat()).await;
    stage.until_actions(2).await;
    sidecar.kill9().await;
    stage.execute(&endpoint("a")).await;
    standby.catches_up(&stage).await;
    standby.take_over(&mut stage).await;
    // As far ahead as marks may have been confirmed.
    stage
        .execute("select pg_create_logical_replication_slot('tidings', 'pgoutput')")
        .await;
    let sidecar = stage.resume().await;
    stage.until_actions(3).await;
    stage.until_compared().await;
    assert!(sidecar.log().contains("its slot leads on"));
    stage.execute(&insert("afterwards")).await;
    stage.until_actions(4).await;
    assert_eq!(notices(&stage).await, 0, "the stream goes on");
    assert_eq!(timeline(&stage).await, 2);
}
