//! How long one commit takes to become a row and a notification, at 200 and 1,000 commits a second.
//!
//! Commits are due by the clock, whatever the sidecar does with earlier ones (an open loop). A latency
//! begins at the commit's time, as Postgres wrote it into the WAL, and ends with what somebody else
//! can see: for a row, that another session reads progress at or past it (they become visible
//! together); for a notification, that its body has arrived. Everything reads the one clock of this
//! machine. `recorded_at` is printed too: it is when the writer's transaction began, so
//! it leaves out what that took.

use std::time::Duration;

use jiff::Timestamp;
use tests::{PATIENCE, Stage};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_postgres::Client;

use crate::steady::{LATE, Steady, received, row};
use crate::{Worker, machine, process, table};

const STEADY: Steady = Steady {
    per_second: 200,
    seconds: 20,
};
const BUSY: Steady = Steady {
    per_second: 1000,
    seconds: 15,
};
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
    let usage = at(worker, STEADY).await;
    at(worker, BUSY).await;
    usage
}

async fn at(worker: Worker, steady: Steady) -> Usage {
    let Steady {
        per_second,
        seconds,
    } = steady;
    let how = format!(
        "one row a commit, on time whatever comes of earlier ones, for {seconds} s; from the commit's \
         time; rows as another session sees them"
    );
    table::title(&format!("Latency at {per_second} commits/s, in ms"), &how);
    let mut stage = Stage::on(machine::server()).await;
    let receiver = stage.subscribe("bench").await;
    let sidecar = stage.run().await;
    tokio::time::sleep(SETTLING).await;
    let idle_bytes = sidecar.resident_bytes();
    process::forget_peak(&sidecar);

    let commits = steady.commits();
    let cpu = process::cpu_seconds(&sidecar);
    let begun = Instant::now();
    let seen = tokio::spawn(observe(stage.connect().await, i64::from(commits)));
    let late = steady.load(&stage, worker, "steady").await;
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
        row("commit to webhook", received(&receiver, 0)),
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
