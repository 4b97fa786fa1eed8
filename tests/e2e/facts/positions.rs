//! Which transactions are sent again, and what a position means.

use std::collections::BTreeSet;

use activity::{Lsn, Operation};
use scratch::Server;

use super::reader::{Reader, new_row, text};
use super::socket::Socket;
use super::{TABLE, confirmed, peek, published, published_on, wal_end};

/// Three transactions of one row each: where each one's commit record begins and ends.
async fn three(stage: &tests::Stage) -> [(Lsn, Lsn); 3] {
    for id in 1..=3 {
        stage
            .execute(&format!("insert into t values ({id}, 'x')"))
            .await;
    }
    let mut reader = Reader::begin(stage).await;
    let mut ends = [(Lsn::ZERO, Lsn::ZERO); 3];
    for end in &mut ends {
        let part = reader.part().await;
        *end = (part.begin.commit_lsn, part.end.unwrap());
    }
    reader.stop().await;
    ends
}

/// The ids of the rows that come, up to the third.
async fn sent(mut reader: Reader) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.last().is_none_or(|id| id != "3") {
        let part = reader.part().await;
        let rows = part.changes.iter().map(|c| new_row(&c.operation));
        ids.extend(rows.map(|row| text(row, "id").to_owned()));
    }
    reader.abort().await;
    ids
}

/// `Assembler::commit` refuses a Commit of another position than its Begin's; `ActionId::of` and progress
/// tell transactions apart by it.
#[tokio::test(flavor = "multi_thread")]
async fn begin_and_commit_name_one_position_that_no_other_transaction_has() {
    let stage = published(TABLE).await;
    let writers = (0..4).map(|writer: i32| {
        let stage = &stage;
        async move {
            let client = stage.connect().await;
            for n in 0..25 {
                let sql = format!("insert into t values ({}, 'x')", writer * 100 + n);
                client.batch_execute(&sql).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let messages = peek(&stage).await;
    // Begin: tag, final LSN. Commit: tag, flags, LSN, end LSN.
    let of = |tag: char, place: usize| {
        let messages = messages.iter().filter(|m| m.tag() == tag);
        messages.map(|m| m.lsn_at(place)).collect::<Vec<_>>()
    };
    let (begun, committed, ends) = (of('B', 1), of('C', 2), of('C', 10));
    assert_eq!(begun, committed);
    assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!(begun.is_sorted());
    assert!(
        committed
            .iter()
            .zip(&ends)
            .all(|(commit, end)| commit < end)
    );
}

/// `Xid::widen`: whether an image is newer than a snapshot is decided by it (`reconcile/merge.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn begin_names_the_outermost_transaction_by_the_id_that_snapshots_know() {
    let server = Server::builder().setting("max_prepared_transactions", "1");
    let stage = published_on(server, TABLE).await;
    let client = stage.connect().await;
    let mut reader = Reader::begin(&stage).await;
    for (id, end) in [
        (1, "commit"),
        (2, "prepare transaction 'p'; commit prepared 'p'"),
    ] {
        let nested = format!("begin; savepoint s; insert into t values ({id}, 'x'); release s");
        client.batch_execute(&nested).await.unwrap();
        let query = "select pg_current_xact_id()::text::bigint";
        let xid: i64 = client.query_one(query, &[]).await.unwrap().get(0);
        for sql in end.split("; ") {
            client.batch_execute(sql).await.unwrap();
        }
        let begin = reader.part().await.begin;
        assert_eq!(u64::from(begin.xid.0), xid.unsigned_abs() % (1 << 32));
    }
}

/// `Assembler::row_change` counts the rows that share one, and `ActionId::of` takes the count in.
#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_one_copy_share_one_position() {
    let stage = published(TABLE).await;
    let copy = "copy t from program 'printf \"1\\tx\\n2\\tx\\n3\\tx\\n\"'";
    stage.execute(copy).await;
    let mut reader = Reader::begin(&stage).await;
    let part = reader.part().await;
    let positions: Vec<_> = part.changes.iter().map(|c| c.position).collect();
    assert!(positions.iter().all(|p| p.lsn == positions[0].lsn));
    let indices: Vec<u32> = positions.iter().map(|p| p.index).collect();
    assert_eq!(indices, [0, 1, 2]);
}

/// `Assembler::logical` takes the last byte of a message's record for its address, not what the server
/// names: that is where the next change's record begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_named_by_the_end_of_its_record_where_the_next_change_may_begin() {
    let stage = published(TABLE).await;
    let both = "select pg_logical_emit_message(true, 'tidings', 'x'); insert into t values";
    for id in 0..10 {
        stage.execute(&format!("{both} ({id}, 'x')")).await;
    }
    let messages = peek(&stage).await;
    let mut shared = 0;
    for pair in messages.windows(3) {
        // A message, perhaps the description of the table, and the row.
        let row = pair[1..].iter().find(|m| m.tag() == 'I');
        shared += usize::from(pair[0].tag() == 'M' && row.is_some_and(|i| i.lsn == pair[0].lsn));
    }
    // Not where a record of somebody else, or a page's head, lies in between.
    assert!(shared > 0, "{messages:?}");
}

/// `footing::find` starts at the stored end, and `Assembler::skip` drops what is not past the stored commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_sends_the_transactions_that_commit_at_or_past_it() {
    let stage = published(TABLE).await;
    let [_, (commit, end), _] = three(&stage).await;
    for (from, ids) in [
        (Lsn::ZERO, &["1", "2", "3"][..]),
        (commit, &["2", "3"]),
        (Lsn::new(commit.get() + 1), &["3"]),
        (end, &["3"]),
    ] {
        assert_eq!(sent(Reader::from(&stage, from).await).await, ids, "{from}");
    }
}

/// `Group::confirmable` gives the ends of transactions.
#[tokio::test(flavor = "multi_thread")]
async fn confirming_where_a_commit_ends_is_exact_and_where_it_begins_sends_it_again() {
    let stage = published(TABLE).await;
    let [_, (commit, end), _] = three(&stage).await;
    for (position, ids) in [(commit, &["2", "3"][..]), (end, &["3"])] {
        let mut reader = Reader::begin(&stage).await;
        while reader.part().await.begin.commit_lsn < commit {}
        reader.confirm(position);
        assert_eq!(reader.stop().await.confirmed, position);
        assert_eq!(sent(Reader::begin(&stage).await).await, ids);
    }
}

/// That is why `Assembler::skip` goes by where commits begin, and one past an end is never confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn where_one_commit_ends_the_next_may_begin() {
    let server = Server::builder().setting("max_prepared_transactions", "20");
    let stage = published_on(server, TABLE).await;
    let client = stage.connect().await;
    for id in 0..10 {
        let sql = format!("begin; insert into t values ({id}, 'x'); prepare transaction 'p{id}'");
        client.batch_execute(&sql).await.unwrap();
    }
    for id in 0..10 {
        let sql = format!("commit prepared 'p{id}'");
        client.batch_execute(&sql).await.unwrap();
    }
    let mut reader = Reader::begin(&stage).await;
    let (mut touching, mut last) = (0, Lsn::ZERO);
    for _ in 0..10 {
        let part = reader.part().await;
        touching += u32::from(part.begin.commit_lsn == last);
        last = part.end.unwrap();
    }
    // Not where a record of somebody else lies in between.
    assert!(touching > 0);
}

/// `lineage::judge` refuses a stored position that the server has not reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_the_future_is_accepted_and_skips_everything_until_there() {
    let stage = published(TABLE).await;
    let future = Lsn::new(wal_end(&stage).await.get() + (1 << 20));
    let mut reader = Reader::from(&stage, future).await;
    stage.execute("insert into t values (1, 'x')").await;
    let inserted = wal_end(&stage).await;
    assert!(inserted < future);
    reader.nothing_until(inserted).await;
}

/// `wal::Gate` lets no position out that this connection has not shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_in_the_future_is_confirmed_as_if_it_had_been_sent() {
    let stage = published(TABLE).await;
    let future = Lsn::new(wal_end(&stage).await.get() + (1 << 20));
    let mut socket = Socket::stream(&stage).await;
    socket.status(future, future).await;
    let is_there = format!("(select confirmed_flush_lsn = '{future}' from pg_replication_slots)");
    stage.until(&is_there).await;
    drop(socket);
    stage.execute("insert into t values (1, 'x')").await;
    assert!(peek(&stage).await.is_empty());
}

/// A session that has confirmed nothing yet says so by zero (`Stream::write_status`), also at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_update_without_a_position_confirms_nothing() {
    let stage = published(TABLE).await;
    let before = confirmed(&stage).await;
    let [_, (commit, end), _] = three(&stage).await;
    assert_eq!(
        confirmed(&stage).await,
        before,
        "three() ended in good order"
    );
    let mut reader = Reader::begin(&stage).await;
    while reader.part().await.begin.commit_lsn < commit {}
    reader.confirm(end);
    reader.stop().await;
    assert_eq!(confirmed(&stage).await, end);
    Reader::begin(&stage).await.stop().await;
    assert_eq!(confirmed(&stage).await, end);
}

/// Progress may lie before what the slot was told (`confirm_lease`): the stream begins there and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_before_what_was_confirmed_is_moved_there() {
    let stage = published(TABLE).await;
    let [(_, first), (_, second), _] = three(&stage).await;
    let mut reader = Reader::begin(&stage).await;
    while reader.part().await.end != Some(second) {}
    reader.confirm(second);
    reader.stop().await;
    assert_eq!(sent(Reader::from(&stage, first).await).await, ["3"]);
}

/// `Stream::copy` makes marks of keepalives, and marks are confirmed like ends of transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_keepalive_may_be_confirmed_while_older_transactions_are_open() {
    let stage = published(&format!("{TABLE}; create table other (id int)")).await;
    let open = stage.connect().await;
    let insert = "begin; insert into t values (1, 'x')";
    open.batch_execute(insert).await.unwrap();
    stage
        .execute("insert into other values (1); checkpoint")
        .await;
    let written = wal_end(&stage).await;
    let mut reader = Reader::begin(&stage).await;
    let mark = reader.nothing_until(written).await;
    reader.confirm(mark);
    assert_eq!(reader.stop().await.confirmed, mark);
    open.batch_execute("commit").await.unwrap();
    let part = Reader::begin(&stage).await.part().await;
    assert!(matches!(
        part.changes[0].operation,
        Operation::Insert { .. }
    ));
}
