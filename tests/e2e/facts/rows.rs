//! What the stream carries of a row.

use activity::{OldRow, Operation, Part, Value};
use scratch::Server;
use tests::Stage;
use tokio_postgres::error::SqlState;

use super::reader::{Reader, new_row, text};
use super::{
    NAME, TABLE, connect_as, empty_transaction, peek, published, published_on, refused, tags,
};

/// What these statements, one transaction, come to.
async fn decoded(stage: &Stage, sql: &str) -> Part {
    stage.execute(sql).await;
    let mut reader = Reader::begin(stage).await;
    let part = reader.part().await;
    reader.confirm(part.end.unwrap());
    reader.stop().await;
    part
}

/// One letter for each change.
fn kinds(part: &Part) -> String {
    let kind = |change: &activity::Change| match &change.operation {
        Operation::Insert { .. } => 'I',
        Operation::Update { .. } => 'U',
        Operation::Delete { .. } => 'D',
        Operation::Truncate { .. } => 'T',
        Operation::Message { .. } => 'M',
    };
    part.changes.iter().map(kind).collect()
}

/// `rules::net` follows a row over a new key, and takes old values from images (`store::images`).
#[tokio::test(flavor = "multi_thread")]
async fn old_values_are_the_key_alone_and_only_where_it_changes() {
    let stage = published(&format!("{TABLE}; insert into t values (1, 'x')")).await;
    let part = decoded(
        &stage,
        "update t set v = 'y'; update t set id = 2; delete from t",
    )
    .await;
    let [same, moved, gone] = &part.changes[..] else {
        panic!("{part:?}");
    };
    assert!(matches!(
        &same.operation,
        Operation::Update { old: None, .. }
    ));
    let Operation::Update {
        old: Some(OldRow::Key(old)),
        ..
    } = &moved.operation
    else {
        panic!("{moved:?}");
    };
    assert_eq!((text(old, "id"), old.get("v")), ("1", Some(&Value::Null)));
    let Operation::Delete {
        old: OldRow::Key(old),
    } = &gone.operation
    else {
        panic!("{gone:?}");
    };
    assert_eq!((text(old, "id"), old.get("v")), ("2", Some(&Value::Null)));
}

/// `World` and `Images` take a large value from the image, or from the old row under FULL (`rules::image`).
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_stays_is_a_marker_under_every_identity_and_full_sends_it_as_old() {
    let stage = published(
        "create table t (id int primary key, v text, large text);
         alter table t alter column large set storage external;
         insert into t values (1, 'x', repeat('large', 2000))",
    )
    .await;
    let part = decoded(&stage, "update t set v = 'y'").await;
    let row = new_row(&part.changes[0].operation);
    assert_eq!(row.get("large"), Some(&Value::Unchanged));
    stage.execute("alter table t replica identity full").await;
    let part = decoded(&stage, "update t set v = 'z'").await;
    let operation = &part.changes[0].operation;
    assert_eq!(new_row(operation).get("large"), Some(&Value::Unchanged));
    let Operation::Update {
        old: Some(OldRow::Full(old)),
        ..
    } = operation
    else {
        panic!("{operation:?}");
    };
    assert_eq!(text(old, "large").len(), 10_000);
}

const PARTITIONED: &str = "create table t (id int, region text, primary key (id, region))
       partition by list (region);
     create table t_a partition of t for values in ('a');
     create table t_b partition of t for values in ('b')";

/// `rules` know the root alone; `rules::net` makes one row of a delete and an insert (docs/operations.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_between_partitions_is_a_delete_and_an_insert_of_the_root() {
    let stage = published(&format!("{PARTITIONED}; insert into t values (1, 'a')")).await;
    let part = decoded(&stage, "update t set region = 'b'").await;
    assert_eq!(kinds(&part), "DI");
    let row = new_row(&part.changes[1].operation);
    assert_eq!(row.relation.table.name, "t");
}

/// Reconcile finds what is gone with a leaf; the guard compares partitions (`capture/guard.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn what_empties_or_takes_away_a_leaf_is_not_in_the_stream_of_its_root() {
    let stage = published(&format!(
        "{PARTITIONED}; insert into t values (1, 'a'), (2, 'b')"
    ))
    .await;
    let before = tags(&stage).await;
    let mut empty = String::new();
    for sql in [
        "truncate t_a",
        "alter table t detach partition t_b",
        "drop table t_a",
    ] {
        stage.execute(sql).await;
        empty.push_str(empty_transaction(&stage));
        assert_eq!(tags(&stage).await, format!("{before}{empty}"), "{sql}");
    }
}

/// `Operation::Truncate` raises the generations of several tables at once (`store::images`).
#[tokio::test(flavor = "multi_thread")]
async fn one_truncate_names_all_its_tables_and_those_that_follow_by_a_key() {
    let stage = published(
        "create table t (id int primary key); create table child (id int primary key references t)",
    )
    .await;
    stage
        .execute(&format!("alter publication {NAME} add table child"))
        .await;
    let part = decoded(&stage, "truncate t cascade").await;
    let [
        activity::Change {
            operation: Operation::Truncate { relations },
            ..
        },
    ] = &part.changes[..]
    else {
        panic!("{part:?}");
    };
    let mut names: Vec<&str> = relations.iter().map(|r| &*r.table.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["child", "t"]);
}

/// `check` and `guard` know which columns a rule can name: those that the stream has (`capture.columns`).
#[tokio::test(flavor = "multi_thread")]
async fn generated_columns_are_sent_from_18_on_if_they_are_stored_and_listed() {
    let stage =
        published("create table t (id int primary key, g int generated always as (id * 2) stored)")
            .await;
    let major = stage.server.version().major;
    let columns = async |sql: &str| {
        let part = decoded(&stage, sql).await;
        let row = new_row(&part.changes[0].operation).clone();
        let names = row.relation.columns.iter().map(|c| c.name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(columns("insert into t (id) values (1)").await, ["id"]);
    let list = format!("alter publication {NAME} set table t (id, g)");
    match major {
        ..15 => assert_eq!(refused(&stage, &list).await, SqlState::SYNTAX_ERROR),
        15..18 => assert_eq!(
            refused(&stage, &list).await,
            SqlState::INVALID_COLUMN_REFERENCE
        ),
        18.. => {
            stage.execute(&list).await;
            assert_eq!(columns("insert into t (id) values (2)").await, ["id", "g"]);
            stage
                .execute("alter table t add h int generated always as (id * 3) virtual")
                .await;
            let list = format!("alter publication {NAME} set table t (id, h)");
            assert_eq!(
                refused(&stage, &list).await,
                SqlState::INVALID_COLUMN_REFERENCE
            );
        }
    }
}

/// `connect::session` pins them at the start of each session, for the stream as for SQL.
#[tokio::test(flavor = "multi_thread")]
async fn values_print_as_the_session_was_told_at_its_start_whatever_database_and_role_say() {
    let stage = published(
        "create table t (id int primary key, at timestamptz, span interval, bytes bytea,
           float float8, price money)",
    )
    .await;
    for (setting, value) in [
        ("datestyle", "'German, DMY'"),
        ("intervalstyle", "'iso_8601'"),
        ("timezone", "'Asia/Tokyo'"),
        ("bytea_output", "'escape'"),
        ("extra_float_digits", "-10"),
    ] {
        stage
            .execute(&format!("alter database app set {setting} = {value}"))
            .await;
        stage
            .execute(&format!("alter role postgres set {setting} = {value}"))
            .await;
    }
    let insert = r"insert into t values (1, '2026-02-03 04:05:06+00', '1 day 02:00:00', '\x00ff',
                     0.1::float8 + 0.2, 12.5)";
    let part = decoded(&stage, insert).await;
    let row = new_row(&part.changes[0].operation);
    for (column, printed) in [
        ("at", "2026-02-03 04:05:06+00"),
        ("span", "1 day 02:00:00"),
        ("bytes", r"\x00ff"),
        ("float", "0.30000000000000004"),
        ("price", "$12.50"),
    ] {
        assert_eq!(text(row, column), printed);
    }
}

/// Runs and contexts are announced by messages (`capture/announcement.rs`): whoever writes may, and nobody
/// can be held to have.
#[tokio::test(flavor = "multi_thread")]
async fn any_role_may_emit_a_message_and_one_outside_its_transaction_outlives_a_rollback() {
    let stage = published(&format!("create role nobody_special login; {TABLE}")).await;
    let nobody = connect_as(&stage, "nobody_special").await;
    let emit = "begin;
                select pg_logical_emit_message(false, 'tidings', 'outside');
                select pg_logical_emit_message(true, 'tidings', 'inside');
                rollback";
    nobody.batch_execute(emit).await.unwrap();
    stage.execute("insert into t values (1, 'x')").await;
    let messages = peek(&stage).await;
    let said = messages.iter().filter(|m| m.tag() == 'M');
    let said: Vec<_> = said
        .map(|m| String::from_utf8_lossy(&m.bytes).into_owned())
        .collect();
    let [only] = &said[..] else {
        panic!("{said:?}");
    };
    assert!(only.ends_with("outside"), "{only}");
}

/// Nothing of ours asks how a row came to be written.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_nested_cascading_and_replicated_changes_are_decoded_like_others() {
    let server = Server::builder().setting("max_prepared_transactions", "1");
    let stage = published_on(
        server,
        "create table t (id int primary key);
         create table child (id int primary key references t on delete cascade on update cascade)",
    )
    .await;
    stage
        .execute(&format!("alter publication {NAME} add table child"))
        .await;
    for (sql, expected) in [
        (
            "begin; insert into t values (1), (2); insert into child values (1); commit",
            "III",
        ),
        (
            "begin; insert into t values (3); savepoint a; insert into t values (4); rollback to a;
          savepoint b; insert into t values (5); release b; commit",
            "II",
        ),
        (
            "begin; set local session_replication_role = replica; insert into t values (6); commit",
            "I",
        ),
        ("update t set id = 10 where id = 1", "UU"),
        ("delete from t where id = 10", "DD"),
        (
            "insert into t values (2) on conflict (id) do update set id = 20",
            "U",
        ),
    ] {
        assert_eq!(kinds(&decoded(&stage, sql).await), expected, "{sql}");
    }
    let prepare = "begin; insert into t values (7); prepare transaction 'p'";
    stage.execute(prepare).await;
    assert_eq!(kinds(&decoded(&stage, "commit prepared 'p'").await), "I");
}

/// `activity::TableName` puts what SQL would not read as a name between quotes.
#[tokio::test(flavor = "multi_thread")]
async fn no_word_that_is_reserved_prints_as_a_name_without_quotes() {
    let stage = Stage::bare(Server::builder()).await;
    let query = "select array_agg(word::text) from pg_get_keywords() where catcode in ('R', 'T')";
    let reserved: Vec<String> = stage.value(query).await;
    assert!(reserved.len() > 80);
    for word in reserved {
        let printed = activity::TableName::new("s", &*word).to_string();
        assert_eq!(printed, format!("s.\"{word}\""));
    }
}
