//! The long fault tests: what goes wrong, how often, and what was lost, which must be nothing.
//!
//! `faults [--seed N] [--seconds N]`. With `--seconds` the kills go on for as long; else there are 200
//! of the sidecar, 200 of a process that only delivers and 50 of Postgres. Exits with 1 if an action was lost or is there twice.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use scratch::Server;
use tests::{
    Audit, Expected, Outage, Random, Trial, UNOWNED_MAX, break_server, kill_deliverers,
    kill_sidecars, large_transaction,
};

const SIDECAR_KILLS: usize = 200;
const DELIVERER_KILLS: usize = 200;
const SERVER_KILLS: usize = 50;
/// What is killed before the account is taken and a new stage is set.
const ROUND: usize = 25;
const LARGE_ROWS: usize = 1_000_000;
const PEAK_BYTES_MAX: u64 = 200 << 20;

/// One line of the table.
#[derive(Default)]
struct Line {
    runs: usize,
    audit: Audit,
    recoveries: Vec<Duration>,
    peak_bytes: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some((seed, seconds)) = arguments() else {
        eprintln!("usage: faults [--seed N] [--seconds N]");
        return ExitCode::from(2);
    };
    let mut random = seed.map_or_else(Random::from_environment, Random::new);
    println!(
        "{:<34} {:>5} {:>9} {:>5} {:>11} {:>15} {:>9} {:>13} {:>8}",
        "scenario",
        "runs",
        "actions",
        "lost",
        "duplicated",
        "deliveries lost",
        "repeated",
        "recovery p50",
        "max"
    );
    let mut clean = true;
    let began = Instant::now();
    loop {
        let line = sidecar_kills(&mut random, SIDECAR_KILLS).await;
        clean &= line.print("sidecar killed -9 under load");
        let line = deliverer_kills(&mut random, DELIVERER_KILLS).await;
        clean &= line.print("delivering process killed -9");
        let line = server_faults(&mut random, Outage::Kill9, SERVER_KILLS).await;
        clean &= line.print("Postgres killed -9 under load");
        let line = server_faults(&mut random, Outage::Restart, SERVER_KILLS / 5).await;
        clean &= line.print("Postgres restarted under load");
        let line = large(&mut random, 0).await;
        clean &= line.print("1,000,000 rows in a transaction");
        let line = large(&mut random, 10).await;
        clean &= line.print("the same, sidecar killed -9");
        if seconds.is_none_or(|seconds| began.elapsed() >= seconds) {
            break;
        }
    }
    ExitCode::from(u8::from(!clean))
}

/// The seed, and for how long.
fn arguments() -> Option<(Option<u64>, Option<Duration>)> {
    let (mut seed, mut seconds) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seed" => seed = Some(value),
            "--seconds" => seconds = Some(Duration::from_secs(value)),
            _ => return None,
        }
    }
    Some((seed, seconds))
}

async fn trial(random: &mut Random) -> Trial {
    Trial::prepare(Server::builder().fast(), random.fork()).await
}

async fn sidecar_kills(random: &mut Random, kills: usize) -> Line {
    let mut line = Line::default();
    while line.runs < kills {
        let mut trial = trial(random).await;
        let sidecar = trial.stage.run().await;
        let load = trial.load().await;
        let (_sidecar, recoveries) =
            kill_sidecars(&trial.stage, sidecar, &load, &mut trial.random, ROUND).await;
        let expected = load.stop().await;
        line.add(ROUND, recoveries, trial.audit(&expected).await);
    }
    line
}

/// Beside a process that captures and lives. Recovered is what holds every shard.
async fn deliverer_kills(random: &mut Random, times: usize) -> Line {
    let mut line = Line::default();
    while line.runs < times {
        let mut trial = trial(random).await;
        let (_capture, deliverer) = trial.run_apart().await;
        let load = trial.load().await;
        let (_deliverer, kills) = kill_deliverers(&mut trial, deliverer, &load, ROUND).await;
        let expected = load.stop().await;
        let mut audit = trial.audit(&expected).await;
        audit
            .faults
            .extend(trial.unexplained_repeats(&kills.deaths));
        let unowned = kills.recoveries.iter().filter(|took| **took > UNOWNED_MAX);
        let unowned = unowned.map(|took| format!("shards had no owner for {took:?}"));
        audit.faults.extend(unowned);
        line.add(ROUND, kills.recoveries, audit);
    }
    line
}

async fn server_faults(random: &mut Random, outage: Outage, times: usize) -> Line {
    let mut line = Line::default();
    while line.runs < times {
        let count = ROUND.min(times - line.runs);
        let mut trial = trial(random).await;
        let _sidecar = trial.stage.run().await;
        let load = trial.load().await;
        let (stage, random) = (&mut trial.stage, &mut trial.random);
        let recoveries = break_server(stage, &load, random, outage, count).await;
        let expected = load.stop().await;
        line.add(count, recoveries, trial.audit(&expected).await);
    }
    line
}

/// Without subscribers: a million deliveries would measure them.
async fn large(random: &mut Random, kills: usize) -> Line {
    let stage = tests::Stage::on(Server::builder().fast()).await;
    let mut sidecar = stage.run().await;
    let (sql, expected): (String, Vec<Expected>) = large_transaction(LARGE_ROWS);
    stage.execute(&sql).await;
    let (mut recoveries, mut peak) = (Vec::new(), 0);
    for kill in 1..=kills {
        let seq = random.below(LARGE_ROWS / (kills + 1)) + LARGE_ROWS / (kills + 1) * (kill - 1);
        stage
            .until(&format!("select seq > {seq} from tidings.progress"))
            .await;
        peak = peak.max(sidecar.peak_bytes());
        sidecar.kill9().await;
        let killed = Instant::now();
        let before: i64 = stage.value("select seq from tidings.progress").await;
        sidecar = stage.resume().await;
        stage
            .until(&format!("select seq > {before} from tidings.progress"))
            .await;
        recoveries.push(killed.elapsed());
    }
    let audit = Audit::take(&stage, &expected, &[]).await;
    let mut line = Line {
        peak_bytes: Some(peak.max(sidecar.peak_bytes())),
        ..Line::default()
    };
    line.add(kills.max(1), recoveries, audit);
    line
}

impl Line {
    fn add(&mut self, runs: usize, recoveries: Vec<Duration>, audit: Audit) {
        self.runs += runs;
        self.recoveries.extend(recoveries);
        self.audit.expected += audit.expected;
        self.audit.lost += audit.lost;
        self.audit.duplicated += audit.duplicated;
        self.audit.deliveries_lost += audit.deliveries_lost;
        self.audit.deliveries_repeated += audit.deliveries_repeated;
        self.audit.faults.extend(audit.faults);
    }

    /// Returns whether all is well.
    fn print(mut self, scenario: &str) -> bool {
        self.recoveries.sort();
        let recovery = |at: usize| match self.recoveries.get(at) {
            Some(recovery) => format!("{:.2} s", recovery.as_secs_f64()),
            None => "-".to_owned(),
        };
        let Audit {
            expected,
            lost,
            duplicated,
            deliveries_lost,
            deliveries_repeated,
            faults,
        } = &self.audit;
        println!(
            "{scenario:<34} {:>5} {expected:>9} {lost:>5} {duplicated:>11} {deliveries_lost:>15} \
             {deliveries_repeated:>9} {:>13} {:>8}",
            self.runs,
            recovery(self.recoveries.len() / 2),
            recovery(self.recoveries.len().saturating_sub(1)),
        );
        if let Some(peak) = self.peak_bytes {
            println!("    peak memory of the sidecar: {} MB", peak >> 20);
        }
        for fault in faults {
            println!("    {fault}");
        }
        let small = self.peak_bytes.is_none_or(|peak| peak < PEAK_BYTES_MAX);
        lost + duplicated + deliveries_lost == 0 && faults.is_empty() && small
    }
}
