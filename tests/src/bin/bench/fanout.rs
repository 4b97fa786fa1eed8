//! What many endpoints cost: 10,000 with a filter each, beside one that gets the same deliveries.

use std::time::Duration;

use tests::{Receiver, Sidecar, Stage};

use crate::deliveries::{all_received, capture, rate_of};
use crate::quantiles::median;
use crate::table::{self, megabytes};
use crate::{Worker, machine, process};

const ACTIONS: usize = 100_000;
const ENDPOINTS: usize = 10_000;
const ROUNDS: usize = 3;
const IN_FLIGHT: i64 = 64;
const PATIENCE: Duration = Duration::from_secs(120);
/// After which memory is what it stays at: nothing is due that could be waited for.
const SETTLING: Duration = Duration::from_secs(3);

pub(crate) async fn measure(worker: Worker) {
    let how = format!(
        "{ACTIONS} actions of the log, each for one endpoint; requests/s from the first to the last, \
         {IN_FLIGHT} under way at most; processor time without the start"
    );
    table::title("One endpoint, and 10,000 with a filter each", &how);
    let mut ratios = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..ROUNDS {
        let one = deliver(worker, 1).await;
        let many = deliver(worker, ENDPOINTS).await;
        ratios.push(many.per_second / one.per_second);
        rows.extend([one.row(1), many.row(ENDPOINTS)]);
    }
    let heads = [
        "endpoints",
        "deliveries/s",
        "CPU µs each",
        "memory before",
        "peak memory",
    ];
    table::print(heads, &rows);
    println!(
        "  {ENDPOINTS} endpoints over one, median of {ROUNDS} pairs of runs: {:.2}",
        median(&ratios)
    );
}

struct Measured {
    per_second: f64,
    cpu_us: f64,
    idle_bytes: u64,
    peak_bytes: u64,
}

impl Measured {
    fn row(&self, endpoints: usize) -> [String; 5] {
        [
            endpoints.to_string(),
            table::rate(self.per_second),
            format!("{:.0}", self.cpu_us),
            megabytes(self.idle_bytes),
            megabytes(self.peak_bytes),
        ]
    }
}

async fn deliver(worker: Worker, endpoints: usize) -> Measured {
    let mut stage = Stage::on(machine::server()).await;
    // As many requests under way in both: an endpoint may have a quarter of all.
    let places = if endpoints == 1 {
        IN_FLIGHT
    } else {
        IN_FLIGHT / 4
    };
    stage.settings.set("webhooks.endpoint_in_flight", places);
    stage.settings.set("webhooks.in_flight", places * 4);
    let receiver = Receiver::open().await;
    stage.tidings(["setup"]).await.success();
    let (idle, starting) = idle(&stage, &receiver, endpoints).await;
    capture(&stage, worker.among(ENDPOINTS), ACTIONS).await;

    let sidecar = stage.spawn(&["--roles", "deliver"]);
    all_received(&receiver, &sidecar, ACTIONS).await;
    let cpu = (process::cpu_seconds(&sidecar) - starting) * 1e6 / ACTIONS as f64;
    let peak = sidecar.peak_bytes();
    sidecar.terminate(PATIENCE).await;
    assert_eq!(receiver.accepted().len(), ACTIONS, "nothing is lost");
    receiver.assert_verified();
    Measured {
        per_second: rate_of(&receiver, 0),
        cpu_us: cpu,
        idle_bytes: idle,
        peak_bytes: peak,
    }
}

/// Adds the endpoints, and tells what a sidecar takes that has nothing to deliver to them yet: bytes, and
/// seconds of processor to start.
async fn idle(stage: &Stage, receiver: &Receiver, endpoints: usize) -> (u64, f64) {
    let (url, secret) = (receiver.url(), receiver.secret().expose());
    let projects = match endpoints {
        1 => "'{}'::text[]",
        _ => "array['project-' || n]",
    };
    let insert = format!(
        "insert into tidings.endpoints (endpoint_id, name, url, credentials, projects, origin, shard,
           cursor_seq, behind)
         select 'ep_bench' || n, 'bench ' || n, '{url}', '{{\"signing\": [{{\"key\": \"{secret}\"}}]}}',
           {projects}, 'command', n % 64, 0, false
         from generate_series(0, {endpoints} - 1) as n; analyze tidings.endpoints"
    );
    stage.execute(&insert).await;
    let sidecar: Sidecar = stage.spawn(&["--roles", "deliver"]);
    tokio::time::sleep(SETTLING).await;
    let taken = (sidecar.resident_bytes(), process::cpu_seconds(&sidecar));
    sidecar.terminate(PATIENCE).await;
    taken
}
