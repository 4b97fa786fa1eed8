//! What meets whoever writes beside the worker.

use tests::{Stage, commits_wait_for};
use tokio_postgres::error::{DbError, SqlState};

use super::{connect_as, refusal, wal_end};

async fn stage(tables: &str) -> Stage {
    let stage = Stage::bare(scratch::Server::builder()).await;
    stage.execute(tables).await;
    stage
}

/// `progress::take_over` is an update: a read would go on from progress that a commit under way replaces.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_waits_for_a_commit_under_way_that_a_read_does_not_see() {
    let stage = stage("create table p (n int); insert into p values (0)").await;
    let admin = stage.connect().await;
    let (old, new) = (stage.connect().await, stage.connect().await);
    let local = "set synchronous_commit = local";
    new.batch_execute(local).await.unwrap();
    commits_wait_for(&admin, "nobody").await;
    let commit = tokio::spawn(async move { old.batch_execute("update p set n = 1").await });
    stage
        .until("exists (select from pg_stat_activity where wait_event = 'SyncRep')")
        .await;
    let seen = new.query_one("select n from p", &[]).await.unwrap();
    assert_eq!(seen.get::<_, i32>(0), 0);
    let update = tokio::spawn(async move {
        let row = new
            .query_one("update p set n = n + 10 returning n", &[])
            .await;
        row.unwrap().get::<_, i32>(0)
    });
    stage
        .until("exists (select from pg_stat_activity where wait_event_type = 'Lock')")
        .await;
    commits_wait_for(&admin, "").await;
    commit.await.unwrap().unwrap();
    assert_eq!(update.await.unwrap(), 11);
}

/// `connect::session` sets it for every writer: one that stalls gives its locks back.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_idle_in_its_transaction_is_ended_and_gives_its_locks_back() {
    let stage = stage("create table p (n int); insert into p values (0)").await;
    let idle = stage.connect().await;
    let stall = "set idle_in_transaction_session_timeout = '100ms'; begin; update p set n = 1";
    idle.batch_execute(stall).await.unwrap();
    stage.execute("update p set n = 2").await;
    let ended = idle.batch_execute("commit").await.unwrap_err();
    assert!(idle.is_closed() || ended.is_closed() || ended.as_db_error().is_some());
    assert_eq!(stage.value::<i32>("select n from p").await, 2);
}

/// `store::error::is_of_a_row` sets a row aside by the names of the server's own functions: a policy refuses by
/// the code that a missing privilege has.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_function_that_tells_a_row_from_its_table() {
    let stage = stage(
        "create table policed (id int); alter table policed enable row level security;
         create table triggered (id int, v text);
         create function refuse() returns trigger language plpgsql as
           $$ begin
             if new.v = 'raise' then raise exception 'no'; end if;
             if new.v = 'assert' then assert false; end if;
             insert into missing values (1); return new;
           end $$;
         create trigger refuse before insert on triggered for each row execute function refuse();
         create table narrow (v varchar(1), n int not null default 0 check (n < 9));
         create table denied (id int);
         grant insert on policed, triggered, narrow to tidings",
    )
    .await;
    let tidings = connect_as(&stage, "tidings").await;
    for (sql, code, routine, in_context) in [
        (
            "insert into policed values (1)",
            "42501",
            Some("ExecWithCheckOptions"),
            false,
        ),
        (
            "insert into triggered values (1, 'raise')",
            "P0001",
            Some("exec_stmt_raise"),
            true,
        ),
        (
            "insert into triggered values (1, 'assert')",
            "P0004",
            Some("exec_stmt_assert"),
            true,
        ),
        ("insert into triggered values (1, 'x')", "42P01", None, true),
        ("insert into denied values (1)", "42501", None, false),
        ("insert into absent values (1)", "42P01", None, false),
        ("insert into narrow values ('long')", "22001", None, false),
        (
            "insert into narrow values ('x', null)",
            "23502",
            None,
            false,
        ),
        ("insert into narrow values ('x', 9)", "23514", None, false),
    ] {
        let said: DbError = refusal(&tidings, sql).await;
        assert_eq!(said.code().code(), code, "{sql}");
        assert_eq!(said.where_().is_some(), in_context, "{sql}: {said:?}");
        if routine.is_some() {
            assert_eq!(said.routine(), routine, "{sql}");
        } else {
            let ours = [
                "ExecWithCheckOptions",
                "exec_stmt_raise",
                "exec_stmt_assert",
            ];
            assert!(!said.routine().is_some_and(|r| ours.contains(&r)), "{sql}");
        }
    }
}

/// `Error::is_locked_row`: a row that waits for its parent is set aside for a while; of a locked table all wait.
/// 500 ms are below `deadlock_timeout`, so ours gives way and the worker's statement never fails for us.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_being_deleted_is_waited_for_and_named_by_its_row_and_a_table_is_not() {
    let stage = stage(
        "create table projects (id int primary key); insert into projects values (1);
         create table project_actions (id int references projects)",
    )
    .await;
    let worker = stage.connect().await;
    worker
        .batch_execute("begin; delete from projects")
        .await
        .unwrap();
    let ours = stage.connect().await;
    ours.batch_execute("set lock_timeout = '50ms'")
        .await
        .unwrap();
    let insert = "insert into project_actions values (1)";
    let said = refusal(&ours, insert).await;
    assert_eq!(*said.code(), SqlState::LOCK_NOT_AVAILABLE);
    let context = said.where_().unwrap();
    assert!(
        context.contains("(0,1)") && context.contains("FOR KEY SHARE"),
        "{context}"
    );
    worker.batch_execute("commit").await.unwrap();
    assert_eq!(
        *refusal(&ours, insert).await.code(),
        SqlState::FOREIGN_KEY_VIOLATION
    );
    let lock = "begin; lock table project_actions";
    worker.batch_execute(lock).await.unwrap();
    let said = refusal(&ours, insert).await;
    assert_eq!(*said.code(), SqlState::LOCK_NOT_AVAILABLE);
    assert!(
        !said.where_().is_some_and(|context| context.contains("(0,")),
        "{said:?}"
    );
    let waits: String = stage.value("show deadlock_timeout").await;
    assert_eq!(waits, "1s");
}

/// Of others, FOR ALL TABLES: each table of ours has a key (`migrations/`), so that our writes go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_all_tables_stops_no_write_of_a_sidecar() {
    let stage = Stage::start().await;
    stage
        .execute("create publication everything for all tables")
        .await;
    let _sidecar = stage.run().await;
    let keyless: i64 = stage
        .value(
            "select count(*) from pg_class c where relnamespace = 'tidings'::regnamespace
               and relkind in ('r', 'p') and not exists (
                 select from pg_index i where i.indrelid = c.oid and i.indisprimary)",
        )
        .await;
    assert_eq!(keyless, 0);
    let insert = "insert into projects (project_id, name, status) values ('p', 'x', 'active')";
    stage.execute(insert).await;
    stage.until_actions(1).await;
    stage
        .execute("update projects set status = 'failed'; delete from projects")
        .await;
    let written = wal_end(&stage).await;
    let all = format!("(select confirmed_flush_lsn >= '{written}' from pg_replication_slots)");
    stage.until(&all).await;
}
