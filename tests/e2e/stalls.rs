//! A writer that can not write: the stream survives it, and so does a shutdown of the server.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scratch::{Server, StopMode};
use tests::{Proxy, Stage, eventually};

const INSERT: &str =
    "insert into projects (project_id, name, status) values ('p', 'My API', 'active')";
const WALSENDER: &str = "select pid from pg_stat_replication where application_name = 'tidings'";
const LOCKED: &str = "exists (select from pg_locks where relation = 'project_actions'::regclass \
                      and mode = 'AccessExclusiveLock' and granted)";
/// The sidecar's write waits, or has been refused.
const STALLED: &str = "exists (select from pg_locks where relation = 'project_actions'::regclass \
                       and not granted)";

/// Well below the patience of a writer that can not commit: a stop that waits for that is held up.
const STOP_MAX: Duration = Duration::from_secs(3);

fn stop_fast(stage: &mut Stage) {
    let began = Instant::now();
    let patience = Duration::from_secs(15);
    let stopped = tokio::task::block_in_place(|| stage.server.stop(StopMode::Fast, patience));
    stopped.unwrap();
    let took = began.elapsed();
    println!("the stop took {took:?}");
    assert!(took < STOP_MAX, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_stalled_for_longer_than_the_servers_patience_keeps_its_connection() {
    let server = Server::builder().fast().setting("wal_sender_timeout", "2s");
    let mut stage = Stage::on(server).await;
    let proxy = Proxy::open(&stage).await;
    stage.settings.set("database.url", proxy.url());
    let _sidecar = stage.run().await;
    let walsender: i32 = stage.value(WALSENDER).await;
    let locker = stage.connect().await;
    let stall =
        "begin; lock table project_actions in access exclusive mode; select pg_sleep(8); commit";
    let stall = tokio::spawn(async move { locker.batch_execute(stall).await });
    stage.until(LOCKED).await;
    let (said, began) = (proxy.statuses(), Instant::now());
    stage.execute(INSERT).await;
    stage.until(STALLED).await;
    stall.await.unwrap().unwrap();
    let (said, seconds) = (proxy.statuses() - said, began.elapsed().as_secs_f64());
    stage.until_actions(1).await;
    println!("{said} status updates in {seconds:.1} s");
    assert_eq!(stage.value::<i32>(WALSENDER).await, walsender);
    assert!(
        said > 0 && (said as f64) < 10.0 * seconds,
        "{said} in {seconds} s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walsender_that_stands_still_is_noticed_and_nothing_is_lost_once_it_moves_again() {
    let server = Server::builder().fast().setting("wal_sender_timeout", "2s");
    let stage = Stage::on(server).await;
    let sidecar = stage.run().await;
    let walsender: i32 = stage.value(WALSENDER).await;
    let signal = |signal| {
        let walsender = Pid::from_raw(walsender).expect("a process id");
        kill_process(walsender, signal).expect("a process of ours");
    };
    signal(Signal::STOP);
    stage.execute(INSERT).await;
    eventually("the log says so", async || {
        sidecar.log().contains("the server has said nothing for")
    })
    .await;
    signal(Signal::CONT);
    stage.until_actions(1).await;
    assert_ne!(stage.value::<i32>(WALSENDER).await, walsender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_stop_is_not_held_up_by_an_unconfirmed_transaction_and_all_resumes() {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let mut sidecar = stage.run().await;
    let locker = stage.connect().await;
    locker
        .batch_execute("begin; lock table project_actions in access exclusive mode")
        .await
        .unwrap();
    stage.execute(INSERT).await;
    stage.until(STALLED).await;
    stop_fast(&mut stage);
    tokio::task::block_in_place(|| stage.server.start_again()).unwrap();
    stage.until_actions(1).await;
    assert!(sidecar.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_stop_is_not_held_up_by_an_idle_sidecar() {
    let mut stage = Stage::on(Server::builder().fast()).await;
    let _sidecar = stage.run().await;
    stop_fast(&mut stage);
    tokio::task::block_in_place(|| stage.server.start_again()).unwrap();
    stage.execute(INSERT).await;
    stage.until_actions(1).await;
}
