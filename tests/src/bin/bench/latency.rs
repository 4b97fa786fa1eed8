//! How long one commit takes to become a row and a notification, at a steady 200 commits a second.
//!
//! Commits are due by the clock, whatever the sidecar does with earlier ones (an open loop). A latency
//! begins at the commit's time, as Postgres wrote it into the WAL, and ends with what somebody else
//! can see: for a row, that another session reads progress at or past it (they become visible
//! together); for a notification, that its body has arrived. Everything reads the one clock of this
//! machine. `recorded_at` is printed too: it is when the writer's transaction began, so
//! it leaves out what that took.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tests::{PATIENCE, Receiver, Stage};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_postgres::Client;

use crate::quantiles::Quantiles;
use crate::{Worker, machine, process, table};

const PER_SECOND: u32 = 200;
const SECONDS: u32 = 20;
/// More than enough: each commits up to some hundreds a second.
const CONNECTIONS: u32 = 8;
/// A commit that begins later than this is counted as late.
const LATE: Duration = Duration::from_millis(2);
/// How often visible progress is looked at; the longer it really takes is printed.
const LOOK: Duration = Duration::from_millis(1);
const SETTLING: Duration = Duration::from_secs(3);

/// What the sidecar took.
pub(crate) struct Usage {
    pub(crate) idle_bytes: u64,
    /// While the load lasted.
    pub(crate) peak_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) seconds: f64,
}

pub(crate) async fn measure(worker: Worker) -> Usage {
    let how = format!(
        "one row a commit, on time whatever comes of earlier ones, for {SECONDS} s; from the commit's \
         time; rows as another session sees them"
    );
    table::title(&format!("Latency at {PER_SECOND} commits/s, in ms"), &how);
    let mut stage = Stage::on(machine::server()).await;
    let receiver = stage.subscribe("bench").await;
    let sidecar = stage.run().await;
    tokio::time::sleep(SETTLING).await;
    let idle_bytes = sidecar.resident_bytes();
    process::forget_peak(&sidecar);

    let commits = PER_SECOND * SECONDS;
    let cpu = process::cpu_seconds(&sidecar);
    let begun = Instant::now();
    let seen = tokio::spawn(observe(stage.connect().await, i64::from(commits)));
    let late = load(&stage, worker).await;
    let seen = timeout(PATIENCE, seen).await.expect("every action is seen");
    let seen = seen.expect("the observer does not panic");
    receiver.until(commits as usize).await;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = process::cpu_seconds(&sidecar) - cpu;
    let peak_bytes = sidecar.peak_bytes();
    receiver.assert_verified();

    let recorded: Vec<f64> = stage
        .connect()
        .await
        .query(
            "select extract(epoch from recorded_at - committed_at)::float8 * 1000 from tidings.actions",
            &[],
        )
        .await
        .expect("the log can be read")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let rows = [
        row("commit to recorded_at", recorded),
        row("commit to row", visible(&stage, &seen.at).await),
        row("commit to webhook", received(&receiver)),
    ];
    table::print(["", "p50", "p95", "p99", "max"], &rows);
    let look = seen.lasted.as_secs_f64() * 1000.0 / f64::from(seen.looks);
    println!(
        "  {commits} commits, of which {late} began more than {} ms late",
        LATE.as_millis()
    );
    println!(
        "  rows were looked for every {look:.2} ms: a row may have been there that much sooner"
    );
    Usage {
        idle_bytes,
        peak_bytes,
        cpu_seconds,
        seconds,
    }
}

/// Commits on time; returns how many began late.
async fn load(stage: &Stage, worker: Worker) -> usize {
    let mut writers = JoinSet::new();
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        sessions.push(worker.writer(stage, "steady").await);
    }
    let begun = Instant::now();
    for (number, (client, insert)) in (0..).zip(sessions) {
        writers.spawn(async move {
            let mut late = 0;
            for commit in (number..PER_SECOND * SECONDS).step_by(CONNECTIONS as usize) {
                let due = begun + Duration::from_secs(1) * commit / PER_SECOND;
                sleep_until(due).await;
                late += usize::from(due.elapsed() > LATE);
                let done = client.execute(&insert, &[&i64::from(commit)]).await;
                done.expect("the worker can write");
            }
            late
        });
    }
    writers.join_all().await.into_iter().sum()
}

/// What the observer saw.
struct Seen {
    /// When progress was first seen at each seq that was seen.
    at: Vec<(i64, Timestamp)>,
    looks: u32,
    lasted: Duration,
}

/// Looks at progress until it has reached `last`.
async fn observe(client: Client, last: i64) -> Seen {
    let query = client.prepare("select seq from tidings.progress").await;
    let query = query.expect("setup has made the table");
    let begun = Instant::now();
    let (mut at, mut looks) = (Vec::new(), 0);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let row = client.query_one(&query, &[]).await;
        let seq: i64 = row.expect("progress can be read").get(0);
        looks += 1;
        if at.last().is_none_or(|(before, _)| *before < seq) {
            at.push((seq, Timestamp::now()));
        }
        if seq >= last {
            let lasted = begun.elapsed();
            return Seen { at, looks, lasted };
        }
    }
}

/// From each action's commit to when it was seen.
async fn visible(stage: &Stage, seen: &[(i64, Timestamp)]) -> Vec<f64> {
    let query =
        "select seq, (extract(epoch from committed_at) * 1000000)::bigint from tidings.actions";
    let client = stage.connect().await;
    let rows = client.query(query, &[]).await.expect("the log can be read");
    let latency = |row: &tokio_postgres::Row| {
        let (seq, committed): (i64, i64) = (row.get(0), row.get(1));
        let (_, at) = seen[seen.partition_point(|(seen, _)| *seen < seq)];
        (at.as_microsecond() - committed) as f64 / 1000.0
    };
    rows.iter().map(latency).collect()
}

/// From each action's commit, as its notification tells it, to the first arrival.
fn received(receiver: &Receiver) -> Vec<f64> {
    let mut first: HashMap<String, f64> = HashMap::new();
    for request in receiver.requests() {
        let body = request.json();
        let committed = body["timestamp"]
            .as_str()
            .expect("a notification has a time");
        let committed: Timestamp = committed.parse().expect("it is in RFC 3339");
        let latency = request.time.as_microsecond() - committed.as_microsecond();
        first
            .entry(request.id().to_owned())
            .or_insert(latency as f64 / 1000.0);
    }
    first.into_values().collect()
}

fn row(name: &str, latencies: Vec<f64>) -> [String; 5] {
    let Quantiles { p50, p95, p99, max } = Quantiles::of(latencies);
    let [p50, p95, p99, max] = [p50, p95, p99, max].map(|value| format!("{value:.2}"));
    [name.to_owned(), p50, p95, p99, max]
}
