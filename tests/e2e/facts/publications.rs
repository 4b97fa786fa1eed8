//! What a publication shows, and what it does to the statements of the tables' owner.

use tests::Stage;
use tokio_postgres::error::SqlState;

use super::reader::Reader;
use super::{
    NAME, TABLE, connect_as, create_slot, empty_transaction, published, refusal, refused, tags,
};

fn major(stage: &Stage) -> u16 {
    stage.server.version().major
}

/// `Session` and `Stream` pass an empty transaction as a mark. Nothing else depends on it: on 14 they cost some
/// bytes each.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_tables_that_are_not_published_are_skipped_from_15_on() {
    let stage = published(&format!("{TABLE}; create table other (id int)")).await;
    stage.execute("insert into other values (1)").await;
    assert_eq!(tags(&stage).await, empty_transaction(&stage));
}

/// `stream::refusal` and `Stream::notice` take both for a publication that is gone (`Error::Publication`).
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_not_there_ends_the_stream_by_42704_and_on_18_by_a_warning() {
    let stage = Stage::bare(scratch::Server::builder()).await;
    stage.execute(TABLE).await;
    create_slot(&stage).await;
    stage.execute("insert into t values (1, 'x')").await;
    stage
        .execute(&format!("create publication {NAME} for table t"))
        .await;
    let failure = Reader::begin(&stage).await.failure().await;
    let wal::Error::Publication(said) = failure else {
        panic!("{failure:?}");
    };
    let (severity, code) = match major(&stage) {
        ..18 => ("ERROR", "42704"),
        18.. => ("WARNING", "55000"),
    };
    assert_eq!((&*said.severity, &*said.code), (severity, code));
}

/// The guard looks at the catalog every 2 s (`capture/guard.rs`): the stream would never tell.
#[tokio::test(flavor = "multi_thread")]
async fn tables_dropped_or_swapped_and_a_dropped_publication_leave_no_trace() {
    let stage = published(&format!("{TABLE}; create table u (id int primary key)")).await;
    stage
        .execute(&format!("alter publication {NAME} add table u"))
        .await;
    let empty = empty_transaction(&stage);
    let before = tags(&stage).await;
    stage.execute("drop table u").await;
    assert_eq!(tags(&stage).await, format!("{before}{empty}"));
    stage
        .execute(&format!("alter table t rename to old; {TABLE}"))
        .await;
    assert_eq!(tags(&stage).await, format!("{before}{empty}{empty}"));
    // The new table of that name is not published.
    stage.execute("insert into t values (1, 'x')").await;
    assert_eq!(tags(&stage).await, format!("{before}{empty}{empty}{empty}"));
    stage.execute(&format!("drop publication {NAME}")).await;
    let mut reader = Reader::begin(&stage).await;
    let end = super::wal_end(&stage).await;
    reader.nothing_until(end).await;
}

/// `setup` and `tidings columns` list columns, and `catalog::publication` asks for lists and filters, from 15 on.
#[tokio::test(flavor = "multi_thread")]
async fn column_lists_row_filters_and_whole_schemas_exist_from_15_on() {
    let stage = Stage::bare(scratch::Server::builder()).await;
    stage.execute(TABLE).await;
    for (number, publication) in [
        "table t (id)",
        "table t where (id > 0)",
        "tables in schema public",
    ]
    .into_iter()
    .enumerate()
    {
        let create = format!("create publication p{number} for {publication}");
        match major(&stage) {
            ..15 => assert_eq!(refused(&stage, &create).await, SqlState::SYNTAX_ERROR),
            15.. => stage.execute(&create).await,
        }
    }
    let columns: i64 = stage
        .value(
            "select count(*) from pg_attribute where attrelid = 'pg_publication_rel'::regclass
             and attname in ('prattrs', 'prqual')",
        )
        .await;
    let schemas = "select to_regclass('pg_publication_namespace') is not null";
    let since_15 = major(&stage) >= 15;
    assert_eq!(columns == 2, since_15);
    assert_eq!(stage.value::<bool>(schemas).await, since_15);
}

/// The price of `capture.columns = "listed"`, and why there is `tidings columns release`.
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_column_can_be_renamed_but_neither_dropped_nor_retyped() {
    let stage = published("create table t (id int primary key, v text, w text)").await;
    if major(&stage) < 15 {
        return;
    }
    stage
        .execute(&format!("alter publication {NAME} set table t (id, v)"))
        .await;
    let client = stage.connect().await;
    for (sql, code) in [
        ("alter table t drop column v", "2BP01"),
        ("alter table t alter column v type varchar(9)", "0A000"),
    ] {
        assert_eq!(refusal(&client, sql).await.code().code(), code, "{sql}");
    }
    stage.execute("alter table t rename column v to v2").await;
    stage.execute("alter table t drop column w").await;
    stage.execute("alter table t drop column v2 cascade").await;
    let left = "select count(*) from pg_publication_rel";
    assert_eq!(
        stage.value::<i64>(left).await,
        0,
        "the table left with its column"
    );
}

/// `setup::danger`: what the guard takes out of the publication, as the worker's UPDATE and DELETE would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_or_filtered_table_refuses_updates_where_its_identity_reaches_further() {
    let stage = published(
        "create table t (id int primary key, v text not null);
         create unique index by_v on t (v); insert into t values (1, 'x')",
    )
    .await;
    let whole = format!("alter publication {NAME} set table t");
    stage.execute("alter table t replica identity full").await;
    stage.execute("update t set v = 'y'").await;
    if major(&stage) < 15 {
        return;
    }
    for (identity, published) in [
        // A list of all columns is a list all the same.
        ("full", "(id, v)"),
        ("full", "(id)"),
        ("using index by_v", "(id)"),
        // The server takes a list without the key.
        ("default", "(v)"),
        ("default", "where (v = 'x')"),
    ] {
        stage.execute(&format!("{whole} {published}")).await;
        stage
            .execute(&format!("alter table t replica identity {identity}"))
            .await;
        for sql in ["update t set v = 'z'", "delete from t"] {
            let code = refused(&stage, sql).await;
            assert_eq!(
                code,
                SqlState::INVALID_COLUMN_REFERENCE,
                "{identity} {published}"
            );
        }
        stage
            .execute("insert into t values (2, 'w'); truncate t; insert into t values (1, 'x')")
            .await;
        stage.execute(&whole).await;
        stage.execute("update t set v = 'x'").await;
    }
}

/// `setup::generated`: FULL without a list is harmless only before.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_reaches_an_unpublished_generated_column_refuses_updates_from_18_on() {
    let stage = published(
        "create table t (id int primary key, g int generated always as (id * 2) stored);
         create table k (id int, g int generated always as (id + 1) stored primary key);
         alter table t replica identity full;
         insert into t values (1); insert into k values (1)",
    )
    .await;
    stage
        .execute(&format!("alter publication {NAME} add table k"))
        .await;
    let client = stage.connect().await;
    for sql in [
        "update t set id = 2",
        "delete from t",
        "update k set id = 2",
        "delete from k",
    ] {
        match major(&stage) {
            ..18 => client.batch_execute(sql).await.expect(sql),
            18.. => assert_eq!(refusal(&client, sql).await.code().code(), "42P10", "{sql}"),
        }
    }
    if major(&stage) >= 18 {
        stage
            .execute(&format!("alter publication {NAME} set table k (id, g)"))
            .await;
        stage
            .execute("update t set id = 2; update k set id = 2; delete from k")
            .await;
    }
}

/// `setup::danger` and `catalog::tables`, which decide as the server does, and by the partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_published_table_without_an_identity_refuses_updates_and_deletes() {
    let stage = published(
        "create table t (id int primary key, v text);
         create table keyless (id int);
         create table deferrable_key (id int primary key deferrable);
         create table nothing (id int primary key); alter table nothing replica identity nothing;
         create table lost (id int not null); create unique index by_id on lost (id);
         alter table lost replica identity using index by_id; drop index by_id;
         create table parts (id int primary key) partition by range (id);
         create table leaf partition of parts for values from (0) to (9);
         alter table leaf replica identity nothing",
    )
    .await;
    for table in ["keyless", "deferrable_key", "nothing", "lost", "parts"] {
        stage
            .execute(&format!("insert into {table} values (1)"))
            .await;
        stage.execute(&format!("update {table} set id = 2")).await;
        stage
            .execute(&format!("alter publication {NAME} add table {table}"))
            .await;
        for sql in [
            format!("update {table} set id = 3"),
            format!("delete from {table}"),
        ] {
            let code = refused(&stage, &sql).await;
            assert_eq!(code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{sql}");
        }
        stage
            .execute(&format!("insert into {table} values (4)"))
            .await;
        // What the guard does, which is enough.
        stage
            .execute(&format!("alter publication {NAME} drop table {table}"))
            .await;
        stage
            .execute(&format!("update {table} set id = 5 where id = 2"))
            .await;
    }
}

/// `setup`, the guard and SIGHUP alter publications beside the worker, each within a lock_timeout of 1 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_publication_waits_for_no_reader_and_no_writer_and_they_not_for_it() {
    let stage = published(&format!("{TABLE}; create table bystander (id int)")).await;
    let admin = stage.connect().await;
    for change in [
        "create publication another for table t",
        &format!("alter publication {NAME} drop table t"),
        &format!("alter publication {NAME} set table t"),
    ] {
        let writer = stage.connect().await;
        let write = "begin; update t set v = 'y'; select * from t";
        writer.batch_execute(write).await.unwrap();
        let change_it = format!("begin; set local lock_timeout = '1s'; {change}");
        admin.batch_execute(&change_it).await.expect(change);
        let locks: Vec<String> = stage
            .value(
                "select array_agg(distinct mode) from pg_locks l
                 where relation in ('t'::regclass, 'bystander'::regclass)
                   and mode not in ('AccessShareLock', 'RowExclusiveLock')",
            )
            .await;
        assert_eq!(locks, ["ShareUpdateExclusiveLock"], "{change}");
        stage
            .execute("insert into t select 1 + coalesce(max(id), 0), 'x' from t")
            .await;
        // As VACUUM and CREATE INDEX CONCURRENTLY do.
        let waits =
            "begin; set local lock_timeout = '50ms'; lock table t in share update exclusive mode";
        assert_eq!(refused(&stage, waits).await, SqlState::LOCK_NOT_AVAILABLE);
        writer.batch_execute("commit").await.unwrap();
        admin.batch_execute("commit").await.unwrap();
    }
}

/// `setup` makes the run role the publication's owner, so that the guard can take a table out of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_publication_alone_takes_a_table_out_and_can_not_put_it_back() {
    let stage = published(TABLE).await;
    stage
        .execute(&format!("alter publication {NAME} owner to tidings"))
        .await;
    let tidings = connect_as(&stage, "tidings").await;
    let set = format!("alter publication {NAME} set table t");
    let denied = SqlState::INSUFFICIENT_PRIVILEGE;
    assert_eq!(*refusal(&tidings, &set).await.code(), denied);
    let drop = format!("alter publication {NAME} drop table t");
    tidings.batch_execute(&drop).await.unwrap();
    let add = format!("alter publication {NAME} add table t");
    assert_eq!(*refusal(&tidings, &add).await.code(), denied);
}
