//! `project_actions` belongs to the worker: it is used as it is, and what it refuses is set aside.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Stage, commits_wait_for};

fn insert(project: &str, name: &str) -> String {
    format!(
        "insert into projects (project_id, user_id, name, container_id)
         values ('{project}', 'u', '{name}', 'c')"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_table_with_cost_usd_and_without_reference_ids_is_used_as_it_is() {
    let mut stage = Stage::start().await;
    let older = "create table project_actions (action_id varchar primary key, project_id varchar,
                 user_id varchar, request_id varchar, action_type varchar, action_details varchar,
                 status varchar, environment varchar, cost_usd decimal(10,6), created_at bigint)";
    stage.execute(older).await;
    let ops = stage.subscribe("ops").await;
    let _sidecar = stage.run().await;
    stage.execute(&insert("p", "x")).await;
    ops.until(1).await;
    assert_eq!(
        stage.sentences().await,
        ["Project 'x' created with container c"]
    );
    let data = &ops.requests()[0].json()["data"];
    assert_eq!(data.get("cost_usd"), Some(&json!(null)), "{data}");
    assert_eq!(data["reference_ids"], json!({"container_id": "c"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_a_mixed_case_schema_with_types_of_its_own_is_filled() {
    let mut stage = Stage::start().await;
    let own = r#"create schema "My Worker" authorization worker;
        set role worker;
        create type kind as enum ('project_created', 'deployment');
        create table "My Worker".project_actions (
          "Extra" int default 7, created_at timestamptz not null, action_id text primary key,
          project_id text, user_id varchar(36), request_id text, action_type kind,
          action_details text, status varchar(20), environment text, reference_ids json)"#;
    stage.execute(own).await;
    stage
        .settings
        .set("capture.actions_table", r#""My Worker".project_actions"#);
    let _sidecar = stage.run().await;
    stage.execute(&insert("p", "x")).await;
    let filled = r#"exists (select from "My Worker".project_actions a join tidings.actions l using (action_id)
        where a.created_at = to_timestamp(l.created_at) and a.action_type = 'project_created'
          and a.project_id = 'p' and a.user_id = 'u' and a.status = 'success' and a."Extra" = 7
          and a.reference_ids ->> 'container_id' = 'c')"#;
    stage.until(filled).await;
    let dry = stage.tidings(["setup", "--dry-run"]).await.success();
    assert_eq!(dry.stdout, "-- nothing to do\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_made_where_it_is_wanted() {
    let mut stage = Stage::start().await;
    stage
        .execute("create schema audit authorization worker")
        .await;
    stage
        .settings
        .set("capture.actions_table", "audit.\"Project Actions\"");
    let _sidecar = stage.run().await;
    stage.execute(&insert("p", "x")).await;
    stage
        .until("exists (select from audit.\"Project Actions\" where project_id = 'p')")
        .await;
    let columns: String = stage
        .value(
            "select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position)
                from information_schema.columns where table_schema = 'audit'",
        )
        .await;
    let made = "action_id character varying, project_id character varying, user_id character varying, \
        request_id character varying, action_type character varying, action_details character varying, \
        status character varying, environment character varying, reference_ids jsonb, created_at bigint";
    assert_eq!(columns, made);
}

/// Waits until the row of project `bad` is in quarantine for this SQLSTATE, and checks that
/// everything else is in its place.
async fn assert_only_bad_is_refused(stage: &Stage, sqlstate: &str, says: &str) {
    let refused = format!(
        "exists (select from tidings.quarantine where kind = 'refused' and sqlstate = '{sqlstate}'
                 and table_name = 'public.projects' and key = '[\"bad\"]')"
    );
    stage.until(&refused).await;
    stage
        .until("exists (select from project_actions where project_id = 'last')")
        .await;
    let reason: String = stage.value("select reason from tidings.quarantine").await;
    assert!(reason.contains(says), "{reason}");
    let others =
        "select string_agg(project_id, ' ' order by action_id collate \"C\") from project_actions";
    assert_eq!(stage.value::<String>(others).await, "one two three last");
    // The log has it all the same, and its seq leads there.
    let logged = "select count(*) from tidings.actions a join tidings.quarantine q using (seq)
                  where a.project_id = 'bad'";
    assert_eq!(stage.value::<i64>(logged).await, 1);
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(status["quarantine"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_too_long_for_its_column_is_set_aside_and_the_rest_goes_on() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table project_actions alter action_details type varchar(40)")
        .await;
    let _sidecar = stage.resume().await;
    let long = "x".repeat(50);
    let together = [
        insert("one", "x"),
        insert("bad", &long),
        insert("two", "x"),
        insert("three", "x"),
    ];
    stage.execute(&together.join(";")).await;
    stage.execute(&insert("last", "x")).await;
    assert_only_bad_is_refused(&stage, "22001", "character varying(40)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_its_parent_is_set_aside_and_the_rest_goes_on() {
    for deferred in ["", "deferrable initially deferred"] {
        let stage = Stage::start().await;
        stage.tidings(["setup"]).await.success();
        let parent = format!(
            "alter table project_actions add constraint parent foreign key (project_id)
             references projects {deferred}"
        );
        stage.execute(&parent).await;
        let bad = "insert into deployments (deployment_id, project_id, status) values ('d', 'bad', 'success')";
        // All while nobody captures, so that they meet in one commit group.
        stage
            .execute(&format!("{}; {}", insert("one", "x"), insert("two", "x")))
            .await;
        stage.execute(bad).await;
        stage.execute(&insert("three", "x")).await;
        let _sidecar = stage.resume().await;
        stage.execute(&insert("last", "x")).await;
        stage
            .until("exists (select from project_actions where project_id = 'last')")
            .await;
        let quarantined: serde_json::Value = stage
            .value("select to_jsonb(q) from tidings.quarantine q")
            .await;
        assert_eq!(
            quarantined["sqlstate"], "23503",
            "{deferred}: {quarantined}"
        );
        assert_eq!(quarantined["table_name"], "public.deployments");
        assert_eq!(quarantined["key"], r#"["d"]"#);
        let others = "select string_agg(project_id, ' ' order by action_id collate \"C\") from project_actions";
        assert_eq!(stage.value::<String>(others).await, "one two three last");
        // The parent is not kept from being deleted for longer than one commit.
        stage
            .execute("delete from project_actions; delete from projects")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_open_delete_of_a_project_and_its_rows_follow_by_themselves() {
    for end in ["rollback", "commit"] {
        let stage = Stage::start().await;
        stage.tidings(["setup"]).await.success();
        stage
            .execute(
                "alter table project_actions add constraint parent foreign key (project_id)
                 references projects on delete cascade",
            )
            .await;
        let _sidecar = stage.resume().await;
        for project in ["held", "free"] {
            stage.execute(&insert(project, "x")).await;
        }
        stage.until_actions(2).await;
        let deleter = stage.connect().await;
        deleter
            .batch_execute("begin; delete from projects where project_id = 'held'")
            .await
            .unwrap();
        let deploy = "insert into deployments (deployment_id, project_id, platform, status)
                      select p || n, p, 'fly.io', 'success'
                      from unnest(array['held', 'free']) p, generate_series(1, 20) n";
        stage.execute(deploy).await;
        let there = "(select count(*) from project_actions where project_id = 'free')";
        stage.until(&format!("{there} = 21")).await;
        let set_aside = "select count(*) from tidings.quarantine
                         where sqlstate = '55P03' and retry_requested_at is not null
                           and reason like '%open DELETE%'";
        assert_eq!(stage.value::<i64>(set_aside).await, 20);
        deleter.batch_execute(end).await.unwrap();
        let waits = "exists (select from tidings.quarantine where retry_requested_at is not null)";
        stage.until(&format!("not {waits}")).await;
        let held = "select count(*) from project_actions where project_id = 'held'";
        let left = "select count(*) from tidings.quarantine";
        let (written, refused) = match end {
            "rollback" => (21, 0),
            _ => (0, 20),
        };
        assert_eq!(stage.value::<i64>(held).await, written, "{end}");
        assert_eq!(stage.value::<i64>(left).await, refused, "{end}");
        let twice = "select count(*) - count(distinct action_id) from project_actions";
        assert_eq!(stage.value::<i64>(twice).await, 0);
    }
}

/// The default of `capture.commit_patience`.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

/// Holds the DELETE of a project open for longer than any commit is patient, and past several tries of the rows that
/// refer to it; then ends it so.
async fn hold_open(end: &str) -> Stage {
    const HELD: usize = 3;
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    let parent = "alter table project_actions add constraint parent foreign key (project_id)
                  references projects on delete cascade";
    stage.execute(parent).await;
    let sidecar = stage.resume().await;
    for project in ["held", "free"] {
        stage.execute(&insert(project, "x")).await;
    }
    stage.until_actions(2).await;
    let deleter = stage.connect().await;
    let delete = "begin; delete from projects where project_id = 'held'";
    deleter.batch_execute(delete).await.unwrap();
    let held = Instant::now();
    let deploy = |project: &str, from: usize, to: usize| {
        format!(
            "set role worker; insert into deployments (deployment_id, project_id, platform, status)
             select '{project}' || n, '{project}', 'fly.io', 'success' from generate_series({from}, {to}) n"
        )
    };
    stage.execute(&deploy("held", 1, HELD)).await;
    let set_aside = format!(
        "(select count(*) = {HELD} from tidings.quarantine
          where sqlstate = '55P03' and retry_requested_at is not null)"
    );
    stage.until(&set_aside).await;
    let tries = || stage.server.log().matches("lock timeout").count();
    let (before, mut round, mut longest) = (tries(), 0, Duration::ZERO);
    // Each is tried again at once, and then after 1, 2, 4 and 8 s.
    while tries() < before + 4 * HELD || held.elapsed() < COMMIT_PATIENCE {
        round += 1;
        let begun = Instant::now();
        stage.execute(&deploy("free", round, round)).await;
        let there = format!(
            "exists (select from project_actions where reference_ids->>'deployment_id' = 'free{round}')"
        );
        stage.until(&there).await;
        longest = longest.max(begun.elapsed());
        let blocked = "select count(*) from pg_stat_activity
                       where wait_event_type = 'Lock' and usename <> 'tidings'";
        assert_eq!(stage.value::<i64>(blocked).await, 0);
        assert!(stage.value::<bool>(&format!("select {set_aside}")).await);
        // The pace of the worker: the DELETE stays open for as long as these take, and no fact is waited for.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "held open for {:?}: {round} actions of others, the slowest after {longest:?}",
        held.elapsed()
    );
    assert!(longest < COMMIT_PATIENCE / 2, "one waited for {longest:?}");
    let log = sidecar.log();
    assert_eq!(log.matches("capture begins").count(), 1, "{log}");
    deleter.batch_execute(end).await.unwrap();
    let waits = "exists (select from tidings.quarantine where retry_requested_at is not null)";
    stage.until(&format!("not {waits}")).await;
    stage
}

const OF_HELD: &str = "select count(*) from project_actions where project_id = 'held'";

#[tokio::test(flavor = "multi_thread")]
async fn rows_held_by_an_open_delete_past_commit_patience_are_written_once_it_is_rolled_back() {
    let stage = hold_open("rollback").await;
    assert_eq!(stage.value::<i64>(OF_HELD).await, 4);
    let left = "select count(*) from tidings.quarantine";
    assert_eq!(stage.value::<i64>(left).await, 0);
    let twice = "select count(*) - count(distinct action_id) from project_actions";
    assert_eq!(stage.value::<i64>(twice).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_held_by_an_open_delete_past_commit_patience_are_refused_for_good_once_it_commits() {
    let stage = hold_open("commit").await;
    assert_eq!(stage.value::<i64>(OF_HELD).await, 0);
    let refused = "select count(*) from tidings.quarantine
                   where kind = 'refused' and reason like '%foreign key%' and retry_requested_at is null";
    assert_eq!(stage.value::<i64>(refused).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_a_whole_table_is_waited_for_and_sets_nothing_aside() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute(
            "alter table project_actions add constraint parent foreign key (project_id)
             references projects",
        )
        .await;
    let _sidecar = stage.resume().await;
    stage.execute(&insert("one", "x")).await;
    stage.until_actions(1).await;
    let migration = stage.connect().await;
    for table in ["projects", "project_actions"] {
        let deploy = format!(
            "insert into deployments (deployment_id, project_id, platform, status)
             values ('{table}', 'one', 'fly.io', 'success')"
        );
        migration
            .batch_execute(&format!("begin; lock table {table}"))
            .await
            .unwrap();
        stage.execute(&deploy).await;
        // It has tried, and given way.
        let tried = "exists (select from pg_stat_activity where usename = 'tidings'
                       and wait_event_type = 'Lock')";
        stage.until(tried).await;
        stage.until(&format!("not {tried}")).await;
        migration.batch_execute("commit").await.unwrap();
        let there = "exists (select from project_actions
                       where reference_ids->>'deployment_id' = '{table}')";
        stage.until(&there.replace("{table}", table)).await;
        let set_aside = "select count(*) from tidings.quarantine";
        assert_eq!(stage.value::<i64>(set_aside).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_stream_shows_before_anybody_sees_its_parent_is_not_refused() {
    let stage = Stage::start().await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute(
            "alter table project_actions add constraint parent foreign key (project_id)
             references projects;
             alter role tidings set synchronous_commit = local",
        )
        .await;
    let _sidecar = stage.resume().await;
    let admin = stage.connect().await;
    // No such standby: the commit is in the WAL, and nobody sees it.
    commits_wait_for(&admin, "nobody").await;
    let worker = stage.connect().await;
    let insert = insert("late", "x");
    let commit = tokio::spawn(async move { worker.batch_execute(&insert).await });
    // The sidecar has tried: it has refused the row, or waits for the worker to be seen.
    let tried = "exists (select from tidings.quarantine) or exists (
        select from pg_stat_activity where query like 'select pg_current_snapshot()%'
          and usename = 'tidings')";
    stage.until(tried).await;
    commits_wait_for(&admin, "").await;
    commit.await.unwrap().unwrap();
    stage
        .until("exists (select from project_actions where project_id = 'late')")
        .await;
    let refused = "select count(*) from tidings.quarantine";
    assert_eq!(stage.value::<i64>(refused).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_policy_or_trigger_refuses_is_set_aside_and_the_rest_goes_on() {
    let policy = "alter table project_actions enable row level security;
                  create policy most on project_actions for insert to tidings
                    with check (project_id <> 'bad')";
    let trigger = "create function refuse() returns trigger language plpgsql as $$
                   begin
                     if new.project_id = 'bad' then raise exception 'not this'; end if;
                     return new;
                   end $$;
                   create trigger refuse before insert on project_actions for each row
                   execute function refuse()";
    for (obstacle, sqlstate, says) in [
        (policy, "42501", "row-level security"),
        (trigger, "P0001", "trigger"),
    ] {
        let stage = Stage::start().await;
        stage.tidings(["setup"]).await.success();
        stage.execute(obstacle).await;
        let _sidecar = stage.resume().await;
        for project in ["one", "bad", "two", "three", "last"] {
            stage.execute(&insert(project, "x")).await;
        }
        assert_only_bad_is_refused(&stage, sqlstate, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_not_be_written_at_all_stops_capture_and_loses_nothing() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage
        .execute("revoke insert on project_actions from tidings")
        .await;
    stage.execute(&insert("p", "x")).await;
    stage
        .until("(select stop_reason like '%grant insert%' from tidings.progress)")
        .await;
    let status = stage.tidings(["status", "--json"]).await.success().json();
    assert_eq!(
        (status["state"].as_str(), status["quarantine"].as_i64()),
        (Some("stopped"), Some(0))
    );
    stage.tidings(["setup"]).await.success();
    stage.until_actions(1).await;
}
