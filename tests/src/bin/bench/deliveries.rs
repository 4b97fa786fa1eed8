//! How fast the log is delivered: beside a bare client that posts the same signed bodies to the same
//! receiver, and what a delivery costs the database.

use std::time::{Duration, Instant};

use tests::{Receiver, Sidecar, Stage};

use crate::quantiles::median;
use crate::{Worker, bare, machine, process, table};

const ACTIONS: usize = 30_000;
/// Pairs of runs, one after the other.
const ROUNDS: usize = 3;
const IN_FLIGHT: [usize; 2] = [10, 64];
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what has arrived: the receiver, in this process, tells nobody.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn measure(worker: Worker) {
    let how = format!(
        "{ACTIONS} actions that are in the log already, their attempts written down; medians of {ROUNDS} \
         pairs of runs, ours and a bare client's with as many requests under way; requests/s from \
         the first to the last"
    );
    table::title("Delivery, and a bare client", &how);
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        rows.push(pairs(worker, in_flight).await);
    }
    let heads = ["in flight", "ours/s", "bare/s", "ratio", "our CPU µs each"];
    table::print(heads, &rows);
    cost(worker).await;
}

async fn pairs(worker: Worker, in_flight: usize) -> [String; 5] {
    let (mut ours, mut bare, mut ratios, mut cpu) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let log = Log::written(worker, in_flight, &[]).await;
        let (rate, cpu_seconds) = log.deliver().await;
        let file = log.stage.file("bodies.json", &bodies(&log.receiver));
        let before = log.receiver.requested();
        bare::post(&log.receiver, &file, in_flight).await;
        let bare_rate = rate_of(&log.receiver, before);
        log.receiver.assert_verified();
        ours.push(rate);
        bare.push(bare_rate);
        ratios.push(rate / bare_rate);
        cpu.push(cpu_seconds * 1e6 / ACTIONS as f64);
    }
    [
        in_flight.to_string(),
        table::rate(median(&ours)),
        table::rate(median(&bare)),
        format!("{:.2}", median(&ratios)),
        format!("{:.0}", median(&cpu)),
    ]
}

/// What the database is asked for, counted by the server in a run that nobody times.
async fn cost(worker: Worker) {
    let preload = [("shared_preload_libraries", "pg_stat_statements")];
    let log = Log::written(worker, 64, &preload).await;
    log.stage
        .execute("create extension pg_stat_statements; checkpoint")
        .await;
    let position = "select (pg_current_wal_insert_lsn() - '0/0')::bigint";
    let before: i64 = log.stage.value(position).await;
    log.deliver().await;
    let after: i64 = log.stage.value(position).await;
    let statements: i64 = log
        .stage
        .value(
            "select coalesce(sum(s.calls), 0)::bigint from pg_stat_statements s
             join pg_roles r on r.oid = s.userid where r.rolname = 'tidings'",
        )
        .await;
    println!(
        "  a delivery costs {:.3} SQL statements and {:.0} bytes of WAL, its row in the attempt log included",
        statements as f64 / ACTIONS as f64,
        (after - before) as f64 / ACTIONS as f64
    );
    let dead: Vec<String> = log
        .stage
        .connect()
        .await
        .query(
            "select relname || ' ' || n_dead_tup || ' of ' || n_live_tup + n_dead_tup
             from pg_stat_user_tables where schemaname = 'tidings' and n_dead_tup > 0
             order by n_dead_tup desc",
            &[],
        )
        .await
        .expect("statistics can be read")
        .iter()
        .map(|row| row.get(0))
        .collect();
    println!("  dead rows afterwards: {}", dead.join(", "));
}

/// A stage whose log holds everything, with an endpoint that has seen nothing of it.
pub(crate) struct Log {
    pub(crate) stage: Stage,
    pub(crate) receiver: Receiver,
}

impl Log {
    async fn written(worker: Worker, in_flight: usize, server: &[(&str, &str)]) -> Self {
        let builder = machine::server();
        let builder = server.iter().fold(builder, |builder, (name, value)| {
            builder.setting(name, *value)
        });
        let mut stage = Stage::on(builder).await;
        let places = i64::try_from(in_flight).expect("a small number");
        stage.settings.set("webhooks.endpoint_in_flight", places);
        stage.settings.set("webhooks.in_flight", places * 4);
        let receiver = Receiver::open().await;
        stage.tidings(["setup"]).await.success();
        let (url, secret) = (receiver.url(), receiver.secret().expose());
        let add = ["endpoints", "add", "--name", "bench", "--url", &url];
        let add = add.into_iter().chain(["--secret", &secret]);
        stage.tidings(add).await.success();
        capture(&stage, worker, ACTIONS).await;
        Self { stage, receiver }
    }

    /// Deliveries a second, and the processor time that they took, in seconds.
    async fn deliver(&self) -> (f64, f64) {
        let sidecar = self.stage.spawn(&["--roles", "deliver"]);
        all_received(&self.receiver, &sidecar, ACTIONS).await;
        let cpu = process::cpu_seconds(&sidecar);
        sidecar.terminate(PATIENCE).await;
        self.receiver.assert_verified();
        assert_eq!(self.receiver.accepted().len(), ACTIONS, "nothing is lost");
        (rate_of(&self.receiver, 0), cpu)
    }
}

/// Has the worker write so many rows, and waits until they are actions.
pub(crate) async fn capture(stage: &Stage, worker: Worker, actions: usize) {
    worker.write(stage, "backlog", actions / 100, 100).await;
    let sidecar = stage.spawn(&["--roles", "capture"]);
    stage
        .until(&format!("(select seq >= {actions} from tidings.progress)"))
        .await;
    sidecar.terminate(PATIENCE).await;
    stage.execute("checkpoint").await;
}

/// Waits until so many requests have arrived, and looks seldom: the receiver shares this process.
pub(crate) async fn all_received(receiver: &Receiver, sidecar: &Sidecar, count: usize) {
    let begun = Instant::now();
    while receiver.requested() < count {
        assert!(begun.elapsed() < PATIENCE, "{}", sidecar.log());
        tokio::time::sleep(LOOK).await;
    }
}

/// Requests a second among those after the first `skipped`.
pub(crate) fn rate_of(receiver: &Receiver, skipped: usize) -> f64 {
    let requests = receiver.requests();
    let times = || requests.iter().skip(skipped).map(|request| request.at);
    let (first, last) = (times().min(), times().max());
    let (first, last) = first.zip(last).expect("something was delivered");
    times().count() as f64 / (last - first).as_secs_f64()
}

/// What was received, for another client to send.
fn bodies(receiver: &Receiver) -> String {
    let requests = receiver.requests();
    let bodies: Vec<(&str, &str)> = requests
        .iter()
        .map(|request| {
            let body = std::str::from_utf8(&request.body).expect("a body is JSON");
            (request.id(), body)
        })
        .collect();
    serde_json::to_string(&bodies).expect("texts make JSON")
}
