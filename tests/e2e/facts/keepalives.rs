//! When the server speaks by itself, and what it waits for.

use std::time::Duration;

use activity::Lsn;
use scratch::StopMode;
use tests::{PATIENCE, Stage, eventually};
use tokio::time::{Instant, timeout_at};

use super::reader::Reader;
use super::socket::{Heard, Socket};
use super::{TABLE, confirmed, published};

const WHILE: Duration = Duration::from_millis(500);

/// How many keepalives come while each is answered at once. `written` is told, or what was heard.
async fn keepalives(stage: &Stage, written: Option<Lsn>) -> u32 {
    let flushed = confirmed(stage).await;
    let mut socket = Socket::stream(stage).await;
    let mut heard = socket.hear().await;
    while !matches!(heard, Heard::Message { tag: 'C', .. }) {
        heard = socket.hear().await;
    }
    let mut end = heard.wal_end();
    socket.status(written.unwrap_or(end), flushed).await;
    let (until, mut count) = (Instant::now() + WHILE, 0);
    while let Ok(heard) = timeout_at(until, socket.hear()).await {
        end = end.max(heard.wal_end());
        socket.status(written.unwrap_or(end), flushed).await;
        count += 1;
    }
    count
}

/// `Stream::write_status` tells what was received as written, and `Pace` never answers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn keepalives_are_few_once_what_was_received_is_told_as_written() {
    let stage = published(TABLE).await;
    stage.execute("insert into t values (1, 'x')").await;
    let few = keepalives(&stage, None).await;
    let unmoved = confirmed(&stage).await;
    let many = keepalives(&stage, Some(unmoved)).await;
    assert!(few < 20 && many > 20 * few.max(5), "{few} and {many}");
}

/// `Stream::copy` needs them to come to the end of a WAL that holds nothing of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_quiet_table_is_shown_the_end_of_the_wal() {
    let stage = published(&format!("{TABLE}; create table other (id int)")).await;
    let mut reader = Reader::begin(&stage).await;
    for _ in 0..3 {
        stage.execute("insert into other values (1)").await;
        let written = super::wal_end(&stage).await;
        reader.nothing_until(written).await;
    }
}

/// `session::live` closes the stream as soon as the writer can not commit; a server that stops answers others
/// with 57P03, which is waited out.
#[tokio::test(flavor = "multi_thread")]
async fn a_fast_stop_waits_for_a_stream_that_has_not_confirmed_until_it_is_closed() {
    let mut stage = published(TABLE).await;
    stage.execute("insert into t values (1, 'x')").await;
    let mut reader = Reader::begin(&stage).await;
    reader.part().await;
    let url = stage.server.url("app");
    let stop = tokio::task::spawn_blocking(move || {
        stage.server.stop(StopMode::Fast, PATIENCE).unwrap();
    });
    eventually(
        "the server turns sessions away",
        async || match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            Ok(_) => false,
            Err(error) => error.code().is_some_and(|code| code.code() == "57P03"),
        },
    )
    .await;
    // It still streams to whom it waits for, and answers.
    assert!(!stop.is_finished());
    reader.abort().await;
    stop.await.unwrap();
}
