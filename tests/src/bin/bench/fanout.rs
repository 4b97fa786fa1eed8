//! What many endpoints cost: 10,000 with a filter each, beside one that gets the same deliveries.

use std::time::Duration;

use tests::{Receiver, Sidecar, Stage};

use crate::deliveries::{all_received, capture, rate_of};
use crate::table::{self, megabytes};
use crate::{Worker, machine, process};

const ACTIONS: usize = 100_000;
const ENDPOINTS: usize = 10_000;
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
    let mut rows = Vec::new();
    for endpoints in [1, ENDPOINTS] {
        rows.push(deliver(worker, endpoints).await);
    }
    let heads = [
        "endpoints",
        "deliveries/s",
        "CPU µs each",
        "memory before",
        "peak memory",
    ];
    table::print(heads, &rows);
}

async fn deliver(worker: Worker, endpoints: usize) -> [String; 5] {
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
    [
        endpoints.to_string(),
        table::rate(rate_of(&receiver, 0)),
        format!("{cpu:.0}"),
        megabytes(idle),
        megabytes(peak),
    ]
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
