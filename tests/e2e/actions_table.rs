//! `project_actions` in the forms that a worker may have given it.

use tests::Stage;

const INSERT: &str = "insert into projects (project_id, name, status) values ('p', 'x', 'active')";

/// What each column of ours has to be, whatever its type.
const COLUMNS: &str = "project_id varchar, user_id varchar, request_id varchar,
    action_type varchar, action_details varchar, environment varchar, reference_ids jsonb,
    created_at bigint";

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_fixed_length_and_domains_hold_the_whole_text() {
    let stage = Stage::start().await;
    let own = format!(
        "set role worker; create domain short as varchar(9);
         create table project_actions (action_id char(30) primary key, status short, {COLUMNS})"
    );
    stage.execute(&own).await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    let whole = "exists (select from project_actions a join tidings.actions l
                 on a.action_id = l.action_id::char(30) and a.status::text = l.status)";
    stage.until(whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_too_long_for_a_domain_is_set_aside_and_not_cut() {
    let stage = Stage::start().await;
    let own = format!(
        "set role worker; create domain short as varchar(3);
         create table project_actions (action_id varchar primary key, status short, {COLUMNS})"
    );
    stage.execute(&own).await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage
        .until("exists (select from tidings.quarantine where sqlstate = '22001')")
        .await;
    assert_eq!(stage.actions().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_with_numbers_of_its_own_is_granted_and_filled() {
    let stage = Stage::start().await;
    let own = format!(
        "set role worker; create sequence shared;
         create table project_actions (action_id varchar primary key, status varchar, {COLUMNS},
           id bigserial, ticket bigint not null default nextval('shared'))
           partition by hash (action_id);
         create table project_actions_0 partition of project_actions
           for values with (modulus 1, remainder 0)"
    );
    stage.execute(&own).await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    let dry = stage.tidings(["setup", "--dry-run"]).await.success();
    assert_eq!(dry.stdout, "-- nothing to do\n");
    stage
        .execute("revoke all on sequence shared from tidings")
        .await;
    let dry = stage.tidings(["setup", "--dry-run"]).await.success();
    assert!(
        dry.stdout.contains("grant usage on sequence public.shared"),
        "{}",
        dry.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_column_asks_for_no_grant() {
    let stage = Stage::start().await;
    let own = format!(
        "set role worker; create table project_actions (action_id varchar primary key,
           status varchar, {COLUMNS}, id bigint generated always as identity)"
    );
    stage.execute(&own).await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_and_tables_named_by_reserved_words_are_read_and_written() {
    let mut stage = Stage::start().await;
    let schemas = r#"create schema "user" authorization worker;
        create schema "order" authorization worker; set role worker;
        alter table projects set schema "user"; alter table databases set schema "user";
        alter table deployments set schema "user""#;
    stage.execute(schemas).await;
    let mut pack = toml::Table::new();
    pack.insert("pack".to_owned(), "reference".into());
    pack.insert("schema".to_owned(), "user".into());
    stage
        .settings
        .set("capture.rules", vec![toml::Value::from(pack)])
        .set("capture.actions_table", r#""order"."table""#);
    let _sidecar = stage.run().await;
    stage
        .execute(r#"set search_path = "user"; insert into projects (project_id, name, status) values ('p', 'x', 'active')"#)
        .await;
    stage
        .until(r#"(select count(*) = 1 from "order"."table")"#)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_swapped_for_one_without_grants_is_named_and_filled_once_granted() {
    let stage = Stage::start().await;
    let sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    let swap = "alter table project_actions rename to old;
                create table project_actions (like old including all); drop table old";
    stage.execute(swap).await;
    stage
        .execute("insert into projects (project_id, name, status) values ('q', 'x', 'active')")
        .await;
    stage
        .until("(select stop_reason is not null from tidings.progress)")
        .await;
    stage.tidings(["setup"]).await.success();
    stage.until_actions(1).await;
    let log = sidecar.log();
    assert!(log.contains("was dropped or replaced"), "{log}");
}

/// What the worker's own inserts run, ours run as well: under the path that its code was written for.
const UNQUALIFIED: &str = "set role worker; create table counters (n int); insert into counters values (0);
     create function numbered() returns int language sql as 'update counters set n = n + 1 returning n';";

#[tokio::test(flavor = "multi_thread")]
async fn a_default_that_calls_a_function_finds_the_workers_tables() {
    let stage = Stage::start().await;
    stage.execute(UNQUALIFIED).await;
    let own = format!(
        "set role worker; create table project_actions (action_id varchar primary key, status varchar,
           {COLUMNS}, number int default numbered())"
    );
    stage.execute(&own).await;
    stage
        .execute("set role worker; grant select, update on counters to tidings")
        .await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage
        .until("exists (select from project_actions where number = 1)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_comes_while_we_write_finds_the_workers_tables_and_not_ours() {
    let stage = Stage::start().await;
    let _sidecar = stage.run().await;
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
    // `actions` is a table of ours as well.
    let trigger = "create table public.actions (n int); create table public.counted (n int);
         create function count_it() returns trigger language plpgsql as $$
           begin insert into actions values (1); insert into counted values (1); return new; end $$;
         grant insert on public.actions, public.counted to tidings;
         create trigger count_it before insert on project_actions for each row execute function count_it()";
    stage.execute(trigger).await;
    for id in ["q", "r"] {
        stage
            .execute(&INSERT.replace("'p'", &format!("'{id}'")))
            .await;
    }
    stage.until_actions(3).await;
    let counted =
        "select concat((select count(*) from public.actions), ' ', (select count(*) from counted))";
    assert_eq!(stage.value::<String>(counted).await, "2 2");
    let quarantined: i64 = stage.value("select count(*) from tidings.quarantine").await;
    assert_eq!(quarantined, 0);
}

/// Finding so many rows takes longer than a group may: the next ones are small.
#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_can_be_found_in_time_are_set_aside_in_small_groups() {
    let stage = Stage::start().await;
    stage.execute(&INSERT.replace("'p'", "'held'")).await;
    stage.tidings(["setup"]).await.success();
    stage
        .execute("alter table project_actions add foreign key (project_id) references projects")
        .await;
    let sidecar = stage.resume().await;
    stage.until_compared().await;
    let deleter = stage.connect().await;
    deleter
        .batch_execute("begin; delete from projects where project_id = 'held'")
        .await
        .unwrap();
    stage
        .execute(
            "insert into databases (database_id, project_id) select n, 'held' from generate_series(1, 300) n",
        )
        .await;
    stage.execute(INSERT).await;
    let aside = "(select count(*) = 300 from tidings.quarantine where sqlstate = '55P03')";
    stage
        .until(&format!(
            "exists (select from project_actions where project_id = 'p') and {aside}"
        ))
        .await;
    assert!(sidecar.log().contains("was not through within"));
    deleter.batch_execute("rollback").await.unwrap();
    stage.until_actions(301).await;
}
