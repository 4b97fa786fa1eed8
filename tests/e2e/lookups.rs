//! Rules that look beyond their row: other tables, the rest of the transaction, and its message.

use tests::Stage;

/// Tables of a build system, in two schemas, with keys of several kinds.
const TABLES: &str = r#"
    create schema "Builds" authorization worker; set role worker;
    create domain "Builds".state as text;
    create table accounts (id bigint primary key, owner text);
    create table projects (id uuid primary key, slug varchar unique, title text, account varchar);
    create table "Builds".branches (project varchar, name text, protected bool, primary key (project, name));
    create table "Builds"."Runs" ("runId" bigint generated always as identity primary key, project varchar,
      branch text, state "Builds".state, log text);
    create table "Builds".steps (id int primary key, run bigint, name text) partition by range (id);
    create table "Builds".steps_1 partition of "Builds".steps for values from (0) to (1000);
    create table "Builds".steps_2 partition of "Builds".steps for values from (1000) to (100000)"#;

const PACK: &str = r#"
[pack]
name = "ci"
[tables.accounts]
[tables.projects]
[tables.branches]
schema = "Builds"
[tables.runs]
schema = "Builds"
table = "Runs"
[tables.steps]
schema = "Builds"

[defaults]
let = { project = "lookup('projects', new.project | default(old.project), by='slug')" }
project_id = "{{ project.id }}"
user_id = "{{ lookup('accounts', project.account).owner }}"

[[rules]]
name = "run"
table = "runs"
on = ["insert", "update"]
let = { branch = "lookup('branches', [new.project, new.branch])" }
when = "changed('state')"
status = "{{ new.state }}"
action_details = "Run {{ new.runId }} of {{ project.title | default('?') }} on {{ new.branch }}{% if branch.protected %} (protected){% endif %} is {{ new.state }}"

[[rules]]
name = "green"
table = "runs"
on = ["insert", "update"]
when = "first('state', 'green')"
action_details = "{{ project.title }} is green"

[[rules]]
name = "steps"
table = "steps"
on = ["insert"]
group = "new.run"
let = { run = "lookup('runs', new.run)", project = "lookup('projects', run.project, by='slug')" }
when = "not tx.inserted('runs')"
action_details = "{{ rows | count('step') }} for run {{ new.run }}: {{ rows | map(attribute='name') | join }}"

[[rules]]
name = "run_deleted"
table = "runs"
on = ["delete"]
action_details = "Deleted run {{ old.runId }} with {{ tx.deleted('steps') | count('step') }}"

[[rules]]
name = "steps_emptied"
table = "steps"
on = ["truncate"]
project_id = ""
user_id = ""
"#;

async fn stage() -> Stage {
    let mut stage = Stage::start().await;
    stage.execute("drop table projects").await;
    stage.execute(TABLES).await;
    stage.file("ci.toml", PACK);
    stage.settings.set("capture.rules", vec!["ci.toml"]);
    stage
}

const PROJECT: &str = r#"insert into accounts values (9007199254740993, 'ann');
    insert into projects values ('6ecd8c99-4036-403d-bf84-cf8400f67836', 'shop', 'My shop', '9007199254740993');
    insert into "Builds".branches values ('shop', 'main', true), ('shop', 'dev', false)"#;

fn run(branch: &str, state: &str) -> String {
    format!(
        r#"insert into "Builds"."Runs" (project, branch, state) values ('shop', '{branch}', '{state}')"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_looked_up_over_hops_by_keys_of_any_kind_also_after_a_restart() {
    let stage = stage().await;
    let sidecar = stage.run().await;
    stage.execute(PROJECT).await;
    stage.execute(&run("main", "running")).await;
    stage.until_actions(1).await;
    // From here on the images come from the database.
    sidecar.kill9().await;
    let _sidecar = stage.resume().await;
    stage.execute(&run("dev", "running")).await;
    stage.until_actions(2).await;
    assert_eq!(
        stage.sentences().await,
        [
            "Run 1 of My shop on main (protected) is running",
            "Run 2 of My shop on dev is running"
        ]
    );
    let who: Vec<String> = stage
        .value("select array_agg(distinct project_id || ' ' || user_id) from project_actions")
        .await;
    assert_eq!(who, ["6ecd8c99-4036-403d-bf84-cf8400f67836 ann"]);
    let found: String = stage
        .value(
            "select string_agg(distinct actor || ' by ' || actor_found, ', ') from tidings.actions",
        )
        .await;
    assert_eq!(found, "ann by lookup");
    // What changed by then is what is told.
    stage
        .execute("update projects set slug = 'store', title = 'Store' where slug = 'shop'")
        .await;
    stage.execute(&run("dev", "failed")).await;
    stage.until_actions(3).await;
    assert_eq!(stage.sentences().await[2], "Run 3 of ? on dev is failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_lookups_tells_each_change_as_of_its_commit() {
    let stage = stage().await;
    stage.tidings(["setup"]).await.success();
    stage.execute(PROJECT).await;
    // The title changes between the runs, all of which are read in a few groups.
    stage
        .execute(
            r#"do $$ begin for i in 1 .. 300 loop
                 update projects set title = 'title ' || i; commit;
                 insert into "Builds"."Runs" (project, branch, state) values ('shop', 'main', 'red'); commit;
               end loop; end $$"#,
        )
        .await;
    let _sidecar = stage.resume().await;
    stage.until_actions(300).await;
    let expected: Vec<String> = (1..=300)
        .map(|n| format!("Run {n} of title {n} on main (protected) is red"))
        .collect();
    assert_eq!(stage.sentences().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_transaction_become_one_action_and_a_flapping_state_is_told_once() {
    let stage = stage().await;
    let _sidecar = stage.run().await;
    stage.execute(PROJECT).await;
    stage.execute(&run("dev", "green")).await;
    for state in ["red", "green", "red", "green"] {
        let set = format!(r#"update "Builds"."Runs" set state = '{state}', log = log || 'x'"#);
        stage.execute(&set).await;
    }
    stage
        .execute(
            r#"begin; insert into "Builds".steps values (1, 1, 'fetch'), (999, 1, 'build');
               insert into "Builds".steps values (1000, 1, 'test'); commit"#,
        )
        .await;
    stage
        .execute(r#"begin; delete from "Builds".steps; delete from "Builds"."Runs"; commit"#)
        .await;
    stage.execute(r#"truncate "Builds".steps"#).await;
    let of = |state| format!("Run 1 of My shop on dev is {state}");
    let expected = [
        of("green"),
        "My shop is green".to_owned(),
        of("red"),
        of("green"),
        of("red"),
        of("green"),
        "3 steps for run 1: fetch, build, test".to_owned(),
        "Deleted run 1 with 3 steps".to_owned(),
        String::new(),
    ];
    stage.until_actions(expected.len() as i64).await;
    assert_eq!(stage.sentences().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_can_say_who_acts_and_nobody_listens_where_the_setting_says_no() {
    let mut stage = stage().await;
    let sidecar = stage.run().await;
    stage.execute(PROJECT).await;
    let says = |who: &str| {
        let message = format!(r#"{{"user_id": "{who}", "request_id": "r1"}}"#);
        let insert = run("dev", "red");
        format!(
            "begin; {insert}; select pg_logical_emit_message(true, 'tidings', '{message}'); commit"
        )
    };
    stage.execute(&says("bob")).await;
    stage
        .execute("select pg_logical_emit_message(true, 'tidings', 'no JSON')")
        .await;
    stage
        .execute("select pg_logical_emit_message(true, 'others', '{\"user_id\": \"eve\"}')")
        .await;
    stage.until_actions(1).await;
    sidecar.terminate(tests::PATIENCE).await;
    stage.settings.set("capture.context", false);
    let _sidecar = stage.resume().await;
    stage.execute(&says("eve")).await;
    stage.until_actions(2).await;
    let told: Vec<String> = stage
        .value(
            "select array_agg(concat_ws(' ', user_id, request_id, actor, actor_found) order by seq)
             from tidings.actions",
        )
        .await;
    assert_eq!(told, ["bob r1 bob message", "ann ann lookup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_are_found_while_their_images_are_still_to_be_filled() {
    let stage = stage().await;
    stage.execute(PROJECT).await;
    // Nothing is filled before this transaction is over.
    let open = stage.connect().await;
    open.batch_execute("begin; create table held (id int)")
        .await
        .unwrap();
    let setup = stage.tidings(["setup"]);
    let release = async {
        stage
            .until("select count(*) > 0 from pg_publication where pubname = 'tidings'")
            .await;
        open.batch_execute("commit").await.unwrap();
    };
    let (setup, ()) = tokio::join!(setup, release);
    setup.success();
    open.batch_execute("begin; create table held_again (id int)")
        .await
        .unwrap();
    let _sidecar = stage.resume().await;
    stage.execute(&run("main", "running")).await;
    stage.until_actions(1).await;
    assert_eq!(
        stage.sentences().await,
        ["Run 1 of My shop on main (protected) is running"]
    );
    let waiting: i64 = stage
        .value("select count(*) from tidings.reconcile where finished_at is null")
        .await;
    assert!(waiting > 0, "the fill is over already");
}

/// Every index waits while this table has a row: a build that is slow for as long as the test wants.
const SLOW_INDEX: &str = "
    create table hold as select true;
    create function hold() returns event_trigger language plpgsql security definer as $$
      begin while exists (select from public.hold) loop perform pg_sleep(0.05); end loop; end $$;
    create event trigger hold on ddl_command_start when tag in ('CREATE INDEX') execute function hold()";

#[tokio::test(flavor = "multi_thread")]
async fn an_index_over_images_takes_as_long_as_it_takes_and_ends_with_its_sidecar() {
    let stage = stage().await;
    stage.tidings(["setup"]).await.success();
    stage.execute(SLOW_INDEX).await;
    let build = "select pid, query_start from pg_stat_activity
                 where state = 'active' and query like 'create index%images%'";
    let sidecar = stage.spawn(&[]);
    stage
        .until("(select stop_reason like 'images get an index%' from tidings.progress)")
        .await;
    // The next one ends the session of the writer.
    let its_own = format!("select pid <> writer_pid from ({build}) b, tidings.progress");
    assert!(stage.value::<bool>(&its_own).await);
    sidecar.kill9().await;
    stage.until(&format!("not exists ({build})")).await;
    let sidecar = stage.spawn(&[]);
    // Longer than any answer may take.
    let patient =
        format!("exists (select from ({build}) b where clock_timestamp() - query_start > '17 s')");
    stage.until(&patient).await;
    stage.execute("delete from hold").await;
    stage.execute(PROJECT).await;
    stage.execute(&run("main", "running")).await;
    stage.until_actions(1).await;
    let built =
        "select count(*) from pg_indexes where indexdef like '%slug%' and tablename = 'images'";
    assert_eq!(stage.value::<i64>(built).await, 1);
    assert!(sidecar.terminate(tests::PATIENCE).await.success());
}
