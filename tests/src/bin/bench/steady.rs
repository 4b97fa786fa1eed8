//! A steady load: commits that are due by the clock, whatever the sidecar does with earlier ones.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tests::{Receiver, Stage};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Worker;
use crate::quantiles::Quantiles;

/// More than enough: each commits up to some hundreds a second.
const CONNECTIONS: u32 = 8;
/// A commit that begins later than this is counted as late.
pub(crate) const LATE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    pub(crate) per_second: u32,
    pub(crate) seconds: u32,
}

impl Steady {
    pub(crate) fn commits(self) -> u32 {
        self.per_second * self.seconds
    }

    /// Commits on time; returns how many began late.
    pub(crate) async fn load(self, stage: &Stage, worker: Worker, name: &str) -> usize {
        let mut writers = JoinSet::new();
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            sessions.push(worker.writer(stage, name).await);
        }
        let begun = Instant::now();
        for (number, (client, insert)) in (0..).zip(sessions) {
            writers.spawn(async move {
                let mut late = 0;
                for commit in (number..self.commits()).step_by(CONNECTIONS as usize) {
                    let due = begun + Duration::from_secs(1) * commit / self.per_second;
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
}

/// From each action's commit, as its notification tells it, to the first arrival, in ms. The first
/// `skipped` requests count for nothing.
pub(crate) fn received(receiver: &Receiver, skipped: usize) -> Vec<f64> {
    let mut first: HashMap<String, f64> = HashMap::new();
    for request in receiver.requests().iter().skip(skipped) {
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

pub(crate) fn row(name: &str, latencies: Vec<f64>) -> [String; 5] {
    let Quantiles { p50, p95, p99, max } = Quantiles::of(latencies);
    let [p50, p95, p99, max] = [p50, p95, p99, max].map(|value| format!("{value:.2}"));
    [name.to_owned(), p50, p95, p99, max]
}
