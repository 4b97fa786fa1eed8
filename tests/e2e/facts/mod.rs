//! What Postgres does, as far as our code relies on it: each test is one fact, seen without Tidings, and its
//! comment says who relies on it. docs/postgres.md lists them, with those that tests of Tidings prove already.
//!
//! Where majors differ, the test says what each does.

mod documented;
mod keepalives;
mod positions;
mod publications;
mod reader;
mod rows;
mod sessions;
mod slots;
mod socket;
mod writing;

use activity::Lsn;
use scratch::{Builder, Server};
use tests::Stage;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, NoTls};

/// The slot and the publication of every test here.
const NAME: &str = "facts";
const OPTIONS: &str = "with (publish_via_partition_root = true)";

/// A table with the columns that suffice to most tests.
const TABLE: &str = "create table t (id int primary key, v text)";

/// A server with these tables, of which `t` is published, and a slot that begins after all that.
async fn published(tables: &str) -> Stage {
    published_on(Server::builder(), tables).await
}

async fn published_on(server: Builder, tables: &str) -> Stage {
    let stage = Stage::bare(server).await;
    stage.execute(tables).await;
    let publish = format!("create publication {NAME} for table t {OPTIONS}");
    stage.execute(&publish).await;
    create_slot(&stage).await;
    stage
}

async fn create_slot(stage: &Stage) {
    let create = format!("select pg_create_logical_replication_slot('{NAME}', 'pgoutput')");
    stage.execute(&create).await;
}

async fn connect_as(stage: &Stage, role: &str) -> Client {
    let url = stage.server.url_as(role, "app");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    // Ends with the client.
    tokio::spawn(connection);
    client
}

/// What the server says to a statement that it must refuse.
async fn refusal(client: &Client, sql: &str) -> DbError {
    let refused = client.batch_execute(sql).await;
    let error = refused.expect_err(sql);
    let said = error.as_db_error();
    said.unwrap_or_else(|| panic!("{error:?} in {sql}")).clone()
}

/// The same, of which the code is enough.
async fn refused(stage: &Stage, sql: &str) -> SqlState {
    refusal(&stage.connect().await, sql).await.code().clone()
}

/// The end of the WAL so far.
async fn wal_end(stage: &Stage) -> Lsn {
    lsn(stage, "pg_current_wal_insert_lsn()").await
}

/// Waits until whoever read the slot has left it, and what was confirmed is taken in.
async fn until_free(stage: &Stage) {
    let free = format!("(select not active from pg_replication_slots where slot_name = '{NAME}')");
    stage.until(&free).await;
}

/// Of the slot, once nobody reads it.
async fn confirmed(stage: &Stage) -> Lsn {
    until_free(stage).await;
    let of_slot = format!(
        "(select confirmed_flush_lsn from pg_replication_slots where slot_name = '{NAME}')"
    );
    lsn(stage, &of_slot).await
}

async fn lsn(stage: &Stage, expression: &str) -> Lsn {
    let text: String = stage.value(&format!("select ({expression})::text")).await;
    text.parse().unwrap()
}

/// A message of pgoutput, and where it is in the WAL.
#[derive(Debug)]
struct Message {
    lsn: Lsn,
    bytes: Vec<u8>,
}

impl Message {
    fn tag(&self) -> char {
        char::from(self.bytes[0])
    }

    /// The eight bytes from here on.
    fn lsn_at(&self, place: usize) -> Lsn {
        Lsn::new(u64::from_be_bytes(
            self.bytes[place..place + 8].try_into().unwrap(),
        ))
    }
}

/// What the slot holds, once nobody reads it; it stays there.
async fn peek(stage: &Stage) -> Vec<Message> {
    until_free(stage).await;
    let query = format!(
        "select lsn::text, data from pg_logical_slot_peek_binary_changes('{NAME}', null, null,
           'proto_version', '1', 'publication_names', '{NAME}', 'messages', 'true')"
    );
    let rows = stage.connect().await.query(&query, &[]).await.unwrap();
    let message = |row: &tokio_postgres::Row| Message {
        lsn: row.get::<_, String>(0).parse().unwrap(),
        bytes: row.get(1),
    };
    rows.iter().map(message).collect()
}

/// The tags of what the slot holds: `BRIC` is a transaction with one insert.
async fn tags(stage: &Stage) -> String {
    peek(stage).await.iter().map(Message::tag).collect()
}

/// What is left of a transaction of which nothing is published.
fn empty_transaction(stage: &Stage) -> &'static str {
    if stage.server.version().major < 15 {
        "BC"
    } else {
        ""
    }
}
