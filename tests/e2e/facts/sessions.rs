//! What a replication session can do besides streaming.

use connect::Target;
use scratch::Server;
use wal::Connection;

use super::reader::{Reader, connection, start};
use super::{TABLE, published, published_on};
use activity::Lsn;

/// `capture::try_lock`: who captures is decided on the connection that streams.
#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_lock_is_taken_before_the_stream_and_lives_as_long_as_it() {
    let stage = published(TABLE).await;
    let mut connection = connection(&stage).await;
    let lock = "select pg_try_advisory_lock(7)";
    let taken = connection.query(lock).await.unwrap();
    assert_eq!(taken, [[Some("t".to_owned())]]);
    let mut reader = Reader::over(connection.stream(&start(Lsn::ZERO)).await.unwrap());
    stage.execute("insert into t values (1, 'x')").await;
    reader.part().await;
    assert!(
        !stage.value::<bool>(lock).await,
        "it is held while the stream runs"
    );
    reader.abort().await;
    stage.until("pg_try_advisory_lock(7)").await;
}

/// `Pace` speaks three times within it, whatever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_replication_session_is_told_the_senders_patience() {
    let stage = published_on(Server::builder().setting("wal_sender_timeout", "5s"), TABLE).await;
    let patience = connection(&stage).await.sender_timeout();
    assert_eq!(patience, Some(std::time::Duration::from_secs(5)));
}

/// `footing::find` keeps both beside progress; the first timeline has no history, and asking is an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_tells_who_it_is_and_on_which_timeline() {
    let stage = published(TABLE).await;
    let mut connection = connection(&stage).await;
    let identity = connection.identify_system().await.unwrap();
    let system = "select system_identifier::text from pg_control_system()";
    assert_eq!(identity.system_id, stage.value::<String>(system).await);
    assert_eq!((identity.timeline, &*identity.database), (1, "app"));
    let history = connection.timeline_history(1).await;
    assert_eq!(history.unwrap_err().code(), Some("58P01"));
    // The session goes on after a refusal.
    connection.identify_system().await.unwrap();
}

/// `pg_hba.conf` needs no line for `replication` (docs/operations.md): the connection names a database.
#[tokio::test(flavor = "multi_thread")]
async fn a_replication_connection_that_names_a_database_needs_no_line_for_replication() {
    let server = Server::builder()
        .hba("local app tidings trust")
        .hba("local all,replication tidings reject");
    let stage = published_on(server, TABLE).await;
    let target = Target::parse(&stage.server.url_as("tidings", "app")).unwrap();
    Connection::open(&target).await.unwrap();
}

/// `Connection::create_slot`, `stream`: LOGIN and REPLICATION are enough, and nothing need be owned.
#[tokio::test(flavor = "multi_thread")]
async fn replication_alone_lets_a_role_make_read_and_drop_a_slot() {
    let stage = published(TABLE).await;
    let target = Target::parse(&stage.server.url_as("tidings", "app")).unwrap();
    let mut connection = Connection::open(&target).await.unwrap();
    connection.create_slot("own", false).await.unwrap();
    connection.drop_slot("own").await.unwrap();
    let mut reader = Reader::over(connection.stream(&start(Lsn::ZERO)).await.unwrap());
    stage.execute("insert into t values (1, 'x')").await;
    assert_eq!(reader.part().await.changes.len(), 1);
}
