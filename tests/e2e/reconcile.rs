//! Tables compared with images: rows from before Tidings, and what happened while nobody watched.

use tests::{PATIENCE, Stage, eventually};

const ENDPOINT: &str = r#"{"method": "GET", "path": "/"}"#;

pub(crate) fn insert(id: &str) -> String {
    format!("insert into projects (project_id, name, status) values ('{id}', '{id}', 'active');")
}

pub(crate) async fn quarantined(stage: &Stage) -> i64 {
    stage.value("select count(*) from tidings.quarantine").await
}

pub(crate) async fn images_that_differ(stage: &Stage) -> i64 {
    tests::images_that_differ(&stage.connect().await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_older_than_the_sidecar_get_their_images_and_nothing_is_told_of_them() {
    let stage = Stage::start().await;
    let old = format!(
        "insert into projects (project_id, name, status, endpoints)
           select 'p' || n, 'old', 'active', '[{ENDPOINT}]' from generate_series(1, 2500) n;
         insert into databases (database_id, name, query_count) values ('d', 'old', 3)"
    );
    stage.execute(&old).await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    let images = "select count(*) from tidings.images where row is not null and not told";
    assert_eq!(stage.value::<i64>(images).await, 2501);
    stage.until_actions(0).await;
    let more = format!(
        r#"update projects set endpoints = '[{ENDPOINT}, {{"method": "GET", "path": "/new"}}]'
           where project_id = 'p1234'"#
    );
    stage.execute(&more).await;
    stage.execute("update databases set query_count = 5").await;
    stage.until_actions(2).await;
    let said = ["Added 1 endpoint: GET /new", "Executed 2 queries"];
    assert_eq!(stage.sentences().await, said);
    assert_eq!(quarantined(&stage).await, 0);
    assert!(sidecar.log().contains("every table is compared"));
    let told = "select string_agg(key, ' ' order by key) from tidings.images where told";
    assert_eq!(stage.value::<String>(told).await, r#"["d"] ["p1234"]"#);
    // Nothing is left to do at the next start.
    assert!(sidecar.terminate(PATIENCE).await.success());
    let _sidecar = stage.resume().await;
    stage.execute(&insert("q")).await;
    stage.until_actions(3).await;
    let requests = "select sum(request) from tidings.reconcile";
    assert_eq!(stage.value::<i64>(requests).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_read_as_the_stream_sends_them() {
    let mut stage = Stage::start().await;
    let pack = r#"
[pack]
name = "odd"
[tables.odd]
table = "Odd 'table'"
schema = "My \"App"
[[rules]]
name = "changed"
table = "odd"
on = ["update"]
when = "changed('B') or changed('c') or changed('t') or changed('n') or changed('j') or changed('e')"
action_details = "{{ new.B }}"
"#;
    let pack = stage.file("odd.toml", pack);
    let rules = vec![pack.display().to_string()];
    stage.settings.set("capture.rules", rules);
    let table = r#"create schema "My ""App";
        create type "My ""App".mood as enum ('calm', 'it''s \o/');
        set search_path = "My ""App";
        create table "Odd 'table'" (
          "B" bool, c char(5), t timestamptz, n numeric(6, 2), j jsonb, e mood, k1 int, "K 2" varchar,
          primary key ("K 2", k1)) partition by list (k1);
        create table p1 partition of "Odd 'table'" for values in (1);
        create table rest partition of "Odd 'table'" default;
        insert into "Odd 'table'" select n % 2 = 0, 'c' || n, now(), n / 3.0, '{"a": [1]}',
          'it''s \o/', n % 3, case n % 4 when 0 then 'a''b' when 1 then 'a\b' when 2 then '' else 'A"B,' end || n / 12
          from generate_series(1, 3000) n;"#;
    stage.execute(table).await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    let count = "select count(*) from tidings.images where row is not null";
    assert_eq!(stage.value::<i64>(count).await, 3000);
    // The stream sends every row once more, as it is: no value may look like another one.
    let now: i64 = stage
        .value("select pg_current_xact_id()::text::bigint")
        .await;
    let touch = r#"update "My ""App"."Odd 'table'" set "K 2" = "K 2""#;
    stage.execute(touch).await;
    stage
        .execute(r#"update "My ""App"."Odd 'table'" set "B" = not "B" where c = 'c7'"#)
        .await;
    stage.until_actions(1).await;
    let written = format!("select count(*) from tidings.images where xid >= {now}");
    assert_eq!(stage.value::<i64>(&written).await, 1);
    assert_eq!(quarantined(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_or_a_table_that_rules_name_anew_is_filled_at_the_next_start() {
    let mut stage = Stage::start().await;
    let pack = |text: &str| {
        format!("[pack]\nname = \"more\"\n[tables.projects]\n[[rules]]\nname = \"said\"\n{text}")
    };
    let first = pack(
        "table = \"projects\"\non = [\"update\"]\nwhen = \"changed('name')\"\naction_details = \"{{ old.name }}\"\n",
    );
    let file = stage.file("more.toml", &first);
    stage
        .settings
        .set("capture.rules", vec![file.display().to_string()]);
    stage.execute(&insert("old")).await;
    stage
        .execute("update projects set user_id = 'before'; insert into deployments (deployment_id, status) values ('d', 'was')")
        .await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    assert!(sidecar.terminate(PATIENCE).await.success());

    let second = pack(
        "table = \"projects\"\non = [\"update\"]\nwhen = \"changed('user_id')\"\naction_details = \"{{ old.user_id }} of {{ old.name }}\"\n[tables.deployments]\n[[rules]]\nname = \"too\"\ntable = \"deployments\"\non = [\"update\"]\naction_details = \"{{ old.status }}\"\n",
    );
    stage.file("more.toml", &second);
    let _sidecar = stage.run().await;
    let filled = "(select count(*) = 2 and bool_and(finished_at is not null) and bool_and(request > 1 or table_id > 1)
                   from tidings.reconcile)";
    stage.until(filled).await;
    let known = "(select bool_and(row ? 'user_id' or row ? 'status') from tidings.images)";
    assert!(stage.value::<bool>(&format!("select {known}")).await);
    stage
        .execute("update projects set user_id = 'after'; update deployments set status = 'is'")
        .await;
    stage.until_actions(2).await;
    assert_eq!(stage.sentences().await, ["before of old", "was"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_without_a_slot_becomes_actions_exactly_once() {
    let stage = Stage::start().await;
    let sidecar = stage.run().await;
    for id in ["kept", "changed", "gone"] {
        stage.execute(&insert(id)).await;
    }
    stage.execute("insert into databases (database_id, name, status, query_count) values ('d', 'd', 'ready', 1)").await;
    stage.until_actions(5).await;
    stage.until_compared().await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    stage
        .execute("select pg_drop_replication_slot('tidings')")
        .await;
    let unseen = format!(
        r#"update projects set endpoints = '[{ENDPOINT}]' where project_id = 'changed';
           delete from projects where project_id = 'gone';
           insert into projects (project_id, name, status) values ('new', 'new', 'active');
           update databases set query_count = 4"#
    );
    stage.execute(&unseen).await;
    stage.tidings(["setup", "--new-slot"]).await.success();
    let sidecar = stage.resume().await;
    stage.until_actions(8).await;
    stage.until_compared().await;
    let mut said = stage.sentences().await.split_off(5);
    said.sort();
    let missed = [
        "Added 1 endpoint: GET /",
        "Executed 3 queries",
        "Project 'new' created",
    ];
    assert_eq!(said, missed);
    let origins = "select string_agg(action_type, ' ') filter (where origin = 'notice') || ' '
                     || string_agg(distinct origin, ' ') filter (where origin <> 'notice')
                   from tidings.actions where seq > 5";
    let told = stage.value::<String>(origins).await;
    assert_eq!(told, "capture_gap reconciled");
    assert_eq!(images_that_differ(&stage).await, 0);
    // Neither a restart nor asking for it tells anything again.
    assert!(sidecar.terminate(PATIENCE).await.success());
    let _sidecar = stage.resume().await;
    stage.tidings(["reconcile"]).await.success();
    stage.until_actions(8).await;
    assert_eq!(
        stage
            .value::<i64>("select count(*) from tidings.images where row is null")
            .await,
        0
    );
}

const BACKFILLED: &str = r#"
[pack]
name = "old"
[tables.projects]
[defaults]
project_id = "{{ new.project_id }}"
created_at = "{{ new.created_at }}"
[[rules]]
name = "created"
table = "projects"
on = ["insert"]
action_details = "{{ new.name }} created"
[[rules]]
name = "silent"
table = "projects"
on = ["insert"]
backfill = false
action_details = "{{ new.name }} silent"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_tells_once_of_rows_from_before_at_their_own_times() {
    let mut stage = Stage::start().await;
    let file = stage.file("old.toml", BACKFILLED);
    stage
        .settings
        .set("capture.rules", vec![file.display().to_string()]);
    let old = "insert into projects (project_id, name, created_at)
               select 'p' || n, 'p' || n, 1700000000 + n from generate_series(1, 10) n";
    stage.execute(old).await;
    let _sidecar = stage.run().await;
    stage.until_compared().await;
    stage
        .execute("insert into projects (project_id, name, created_at) values ('now', 'now', 5)")
        .await;
    stage.until_actions(2).await;

    let dry = stage
        .tidings(["reconcile", "--backfill", "--dry-run"])
        .await
        .success();
    assert!(
        dry.stdout.contains("10 actions would be written"),
        "{}",
        dry.stdout
    );
    assert!(
        dry.stdout.contains("10 created (backfill)"),
        "{}",
        dry.stdout
    );
    stage.until_actions(2).await;

    let since = ["reconcile", "--backfill", "--since", "1700000008"];
    stage.tidings(since).await.success();
    stage.until_actions(5).await;
    let told = stage.tidings(["reconcile", "--backfill"]).await.success();
    assert!(told.stdout.contains("backfill is done"), "{}", told.stdout);
    stage.until_actions(12).await;
    stage.tidings(["reconcile", "--backfill"]).await.success();
    stage.until_actions(12).await;
    let times = "select count(*) from project_actions a join projects p using (project_id)
                 where a.created_at = p.created_at and p.project_id <> 'now'";
    assert_eq!(stage.value::<i64>(times).await, 10);
    let silent =
        "select string_agg(action_details, ' ') from project_actions where action_type = 'silent'";
    assert_eq!(stage.value::<String>(silent).await, "now silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_sidecar_stays_and_is_taken_up_later() {
    let stage = Stage::start().await;
    stage.execute(&insert("old")).await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    assert!(sidecar.terminate(PATIENCE).await.success());
    let asked = stage.tidings(["reconcile", "--backfill"]).await;
    assert_eq!(asked.code(), 3, "{}", asked.stderr);
    assert!(asked.stderr.contains("tidings run"), "{}", asked.stderr);
    let _sidecar = stage.resume().await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_delays_only_the_reconcile_and_is_named() {
    let stage = Stage::start().await;
    stage.execute(&insert("old")).await;
    stage.tidings(["setup"]).await.success();
    let open = stage.connect().await;
    open.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let _sidecar = stage.resume().await;
    stage.execute(&insert("new")).await;
    stage.until_actions(1).await;
    eventually("status names the transaction", async || {
        let status = stage.tidings(["status", "--json"]).await.success().json();
        let told = &status["reconcile"][0];
        let waits = told["waiting_for"].as_str().unwrap_or_default();
        told["state"] == "waiting" && waits.contains("a transaction")
    })
    .await;
    open.batch_execute("rollback").await.unwrap();
    stage.until_compared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_locks_come_first_and_a_missing_grant_is_named() {
    let stage = Stage::start().await;
    stage.execute(&insert("old")).await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("revoke select (name) on projects from tidings")
        .await;
    let _sidecar = stage.resume().await;
    let named = "(select trouble like '%grant select (%\"name\"%) on table public.projects%'
                  from tidings.reconcile join tidings.image_tables using (table_id)
                  where table_name = 'projects')";
    stage.until(named).await;
    stage.execute(&insert("new")).await;
    stage.until_actions(1).await;
    let locked = stage.connect().await;
    locked
        .batch_execute(
            "begin; lock table projects in access exclusive mode;
             grant select (name) on projects to tidings",
        )
        .await
        .unwrap();
    let waits = "(select trouble like '%lock on table public.projects%'
                  from tidings.reconcile join tidings.image_tables using (table_id)
                  where table_name = 'projects')";
    stage.until(waits).await;
    locked.batch_execute("commit").await.unwrap();
    stage.until_compared().await;
    assert_eq!(images_that_differ(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_beside_a_fill_leaves_no_image_behind() {
    let stage = Stage::start().await;
    let rows = "insert into projects (project_id, name) select 'p' || n, 'x' from generate_series(1, 20000) n";
    stage.execute(rows).await;
    let _sidecar = stage.run().await;
    stage.until("exists (select from tidings.images)").await;
    stage.execute("truncate projects").await;
    stage.execute(&insert("after")).await;
    stage.until_compared().await;
    stage.until_actions(1).await;
    assert_eq!(images_that_differ(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_a_lost_slot_interrupts_begins_anew() {
    let stage = Stage::start().await;
    let rows = "insert into projects (project_id, name, status)
                select 'p' || n, 'x', 'active' from generate_series(1, 30000) n";
    stage.execute(rows).await;
    let sidecar = stage.run().await;
    let begun =
        "(select rows_done > 0 from tidings.reconcile join tidings.image_tables using (table_id)
                  where table_name = 'projects')";
    stage.until(begun).await;
    let locked = stage.connect().await;
    locked
        .batch_execute("begin; lock table projects in access exclusive mode")
        .await
        .unwrap();
    sidecar.kill9().await;
    let change = "delete from projects where project_id like 'p1%';
                  update projects set name = 'y' where project_id like 'p2%'; commit";
    stage
        .until("not (select active from pg_replication_slots)")
        .await;
    stage
        .execute("select pg_drop_replication_slot('tidings')")
        .await;
    locked.batch_execute(change).await.unwrap();
    stage.tidings(["setup", "--new-slot"]).await.success();
    let _sidecar = stage.resume().await;
    stage.until_compared().await;
    assert_eq!(images_that_differ(&stage).await, 0);
    // What was filled only in part tells nothing.
    stage.until_actions(0).await;
}
