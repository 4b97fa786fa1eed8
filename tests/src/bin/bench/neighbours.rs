//! What bad subscribers do to the others: one of ten endpoints hangs, or is a million actions behind,
//! or has a hundred thousand parked deliveries.

use std::time::Duration;

use tests::{Behaviour, Receiver, Stage};

use crate::quantiles::Quantiles;
use crate::steady::{Steady, received};
use crate::{Worker, deliveries, machine, table};

const ENDPOINTS: usize = 10;
const STEADY: Steady = Steady {
    per_second: 200,
    seconds: 15,
};
/// What one of the endpoints has not seen yet.
const BACKLOG: usize = 1_000_000;
const PARKED: usize = 100_000;
/// What a subscriber takes that is asked for much.
const PACE: Duration = Duration::from_millis(200);
/// Between two looks whether images are filled: it takes a minute.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn measure(worker: Worker) {
    let how = format!(
        "{} commits/s over {ENDPOINTS} projects, an endpoint for each; commit to webhook in ms of the nine \
         others, with a well-behaved tenth and with a bad one, in one run",
        STEADY.per_second
    );
    table::title("Neighbours of a bad subscriber", &how);
    let mut rows = vec![hanging(worker).await];
    rows.extend(burdened(worker).await);
    table::print(
        [
            "the tenth",
            "p50",
            "p95",
            "p50 without",
            "p95 without",
            "p95 ratio",
        ],
        &rows,
    );
}

/// Hangs for 30 s at each request.
async fn hanging(worker: Worker) -> [String; 6] {
    let mut stage = Stage::on(machine::server()).await;
    stage.settings.set("webhooks.timeout", "30s");
    let mut receivers = subscribe(&mut stage).await;
    let _sidecar = stage.run().await;
    let worker = worker.among(ENDPOINTS);
    let without = run(&stage, worker, "without", &receivers).await;
    receivers[0].behave(Behaviour::Hang).await;
    let with = run(&stage, worker, "with", &receivers).await;
    row("hangs for 30 s", &with, &without)
}

async fn burdened(worker: Worker) -> Vec<[String; 6]> {
    let mut stage = Stage::on(machine::server()).await;
    let mut receivers = subscribe(&mut stage).await;
    stage.tidings(["setup"]).await.success();
    // For nobody: endpoints begin at the head.
    deliveries::capture(&stage, worker.among(BACKLOG), BACKLOG).await;
    let sidecar = stage.resume().await;
    until_quiet(&stage).await;
    let worker = worker.among(ENDPOINTS);
    let without = run(&stage, worker, "without", &receivers).await;
    sidecar.terminate(Duration::from_secs(60)).await;

    receivers[0].behave(Behaviour::Slow(200, PACE)).await;
    stage
        .execute(
            "update tidings.endpoints set cursor_seq = 0, behind = true, projects = '{}'
             where name = 'e0'",
        )
        .await;
    stage.settings.endpoint("e0", open(&receivers[0]));
    let sidecar = stage.resume().await;
    let behind = run(&stage, worker, "behind", &receivers).await;
    sidecar.terminate(Duration::from_secs(60)).await;

    stage
        .execute(&format!(
            "update tidings.endpoints set cursor_seq = (select seq from tidings.progress)
             where name = 'e0';
             insert into tidings.parked (endpoint_id, seq, action_id, attempts, state, due_at, last_error)
             select e.endpoint_id, a.seq, a.action_id, 1, 'parked', now(), 'status 500'
             from tidings.endpoints e, tidings.actions a
             where e.name = 'e0' and a.seq <= {PARKED} on conflict do nothing"
        ))
        .await;
    let _sidecar = stage.resume().await;
    let parked = run(&stage, worker, "parked", &receivers).await;
    vec![
        row("is 1,000,000 actions behind", &behind, &without),
        row("has 100,000 deliveries parked", &parked, &without),
    ]
}

/// Waits until the images of the backlog's rows are filled: that would be measured too.
async fn until_quiet(stage: &Stage) {
    let filled = "select bool_and(finished_at is not null) from tidings.reconcile";
    while !stage.value::<bool>(filled).await {
        tokio::time::sleep(LOOK).await;
    }
    stage.execute("analyze").await;
    stage.execute("checkpoint").await;
}

/// An endpoint for each project.
async fn subscribe(stage: &mut Stage) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for number in 0..ENDPOINTS {
        let receiver = Receiver::open().await;
        let mut keys = open(&receiver);
        keys.insert("projects".to_owned(), format!("project-{number}").into());
        stage.settings.endpoint(&format!("e{number}"), keys);
        receivers.push(receiver);
    }
    receivers
}

/// The keys of an endpoint without a filter.
fn open(receiver: &Receiver) -> toml::Table {
    let mut keys = toml::Table::new();
    keys.insert("url".to_owned(), receiver.url().into());
    keys.insert("secret".to_owned(), receiver.secret().expose().into());
    keys
}

/// The latencies of all endpoints but the first, in ms.
async fn run(stage: &Stage, worker: Worker, name: &str, receivers: &[Receiver]) -> Vec<f64> {
    let others = &receivers[1..];
    let before: Vec<usize> = others.iter().map(|r| r.requests().len()).collect();
    STEADY.load(stage, worker, name).await;
    let each = STEADY.commits() as usize / ENDPOINTS;
    let mut latencies = Vec::new();
    for (receiver, before) in others.iter().zip(before) {
        receiver.until(before + each).await;
        latencies.extend(received(receiver, before));
    }
    latencies
}

fn row(name: &str, with: &[f64], without: &[f64]) -> [String; 6] {
    let with = Quantiles::of(with.to_vec());
    let without = Quantiles::of(without.to_vec());
    let ms = |value: f64| format!("{value:.2}");
    [
        name.to_owned(),
        ms(with.p50),
        ms(with.p95),
        ms(without.p50),
        ms(without.p95),
        format!("{:.2}", with.p95 / without.p95),
    ]
}
