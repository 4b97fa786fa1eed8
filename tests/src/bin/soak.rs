//! `make soak MINUTES=N`: one sidecar under load for long, with one of its sessions ended every minute, and what it
//! takes of the machine over that time, which must stay flat. Nothing is lost on the way.
//!
//! `soak [MINUTES]`; `TIDINGS_SEED` draws the load. Exits with 1 if anything grew or was lost.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use scratch::Server;
use tests::{Random, Sidecar, Stage, Trial};
use tokio::time::{MissedTickBehavior, interval};

const MINUTES: u64 = 60;
/// Lines of the table, at most.
const LINES: u32 = 60;
const PERIOD_MIN: Duration = Duration::from_secs(5);
/// Between two sessions that are ended.
const UNREST: Duration = Duration::from_secs(60);
const OURS: &str = "usename = 'tidings' and backend_type in ('client backend', 'walsender')";

/// What the sidecar takes at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    resident_bytes: u64,
    lag_bytes: i64,
    connections: i64,
    files: u64,
    actions: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let minutes = match std::env::args().nth(1).map(|word| word.parse()) {
        None => MINUTES,
        Some(Ok(minutes)) if minutes > 0 => minutes,
        Some(_) => {
            eprintln!("usage: soak [MINUTES]");
            return ExitCode::from(2);
        }
    };
    let length = Duration::from_secs(60 * minutes);
    let mut trial = Trial::prepare(Server::builder(), Random::from_environment()).await;
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    let samples = watch(&mut trial, &sidecar, length).await;
    let expected = load.stop().await;
    let audit = trial.audit(&expected).await;
    println!(
        "{} actions expected, {} lost, {} twice, {} deliveries lost, {} repeated",
        audit.expected,
        audit.lost,
        audit.duplicated,
        audit.deliveries_lost,
        audit.deliveries_repeated
    );
    println!(
        "memory: {:+.2} MB an hour over the last two thirds",
        slope(&samples, length) / f64::from(1 << 20)
    );
    let mut faults = audit.faults.clone();
    faults.extend(growth(&samples));
    if !sidecar.is_running() {
        faults.push("the sidecar has ended".to_owned());
    }
    if sidecar.log().contains("panicked") {
        faults.push("its log tells of a panic".to_owned());
    }
    for fault in &faults {
        println!("    {fault}");
    }
    let lost = audit.lost + audit.duplicated + audit.deliveries_lost;
    ExitCode::from(u8::from(lost > 0 || !faults.is_empty()))
}

/// Prints a line every so often, and ends one of our sessions every minute.
async fn watch(trial: &mut Trial, sidecar: &Sidecar, length: Duration) -> Vec<Sample> {
    println!(
        "{:>8} {:>10} {:>12} {:>12} {:>11} {:>10}",
        "seconds", "memory MB", "lag bytes", "connections", "open files", "actions"
    );
    let (began, mut ended) = (Instant::now(), Instant::now());
    let mut ticks = interval((length / LINES).max(PERIOD_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples = Vec::new();
    while began.elapsed() < length {
        ticks.tick().await;
        let sample = Sample::take(&trial.stage, sidecar).await;
        println!(
            "{:>8} {:>10.1} {:>12} {:>12} {:>11} {:>10}",
            began.elapsed().as_secs(),
            sample.resident_bytes as f64 / f64::from(1 << 20),
            sample.lag_bytes,
            sample.connections,
            sample.files,
            sample.actions
        );
        samples.push(sample);
        if ended.elapsed() >= UNREST {
            end_one(trial).await;
            ended = Instant::now();
        }
    }
    samples
}

async fn end_one(trial: &mut Trial) {
    let sessions = format!("select count(*) from pg_stat_activity where {OURS}");
    let sessions: i64 = trial.stage.value(&sessions).await;
    let chosen = trial.random.below(sessions.max(1) as usize);
    let end = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where {OURS}
         order by pid offset {chosen} limit 1"
    );
    trial.stage.execute(&end).await;
}

impl Sample {
    async fn take(stage: &Stage, sidecar: &Sidecar) -> Self {
        let lag = "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)::bigint
                   from pg_replication_slots where slot_name = 'tidings'";
        let connections = format!("select count(*) from pg_stat_activity where {OURS}");
        let pid = sidecar.pid().expect("the sidecar runs");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("the sidecar runs");
        Self {
            resident_bytes: sidecar.resident_bytes(),
            lag_bytes: stage.value(lag).await,
            connections: stage.value(&connections).await,
            files: files.count() as u64,
            actions: stage.value("select seq from tidings.progress").await,
        }
    }
}

/// Whether the last third of the time took clearly more than the third before it. The first one is for
/// caches and buffers to fill.
fn growth(samples: &[Sample]) -> Vec<String> {
    let third = samples.len() / 3;
    if third == 0 {
        return Vec::new();
    }
    let (before, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let compare = |what: &str, slack: f64, of: fn(&Sample) -> f64| {
        let (before, last) = (median(before, of), median(last, of));
        (last > before * 1.1 + slack).then(|| format!("{what} grew from {before:.0} to {last:.0}"))
    };
    [
        compare("memory", f64::from(4 << 20), |sample| {
            sample.resident_bytes as f64
        }),
        compare("the lag", f64::from(16 << 20), |sample| {
            sample.lag_bytes as f64
        }),
        compare("connections", 1.0, |sample| sample.connections as f64),
        compare("open files", 4.0, |sample| sample.files as f64),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the memory grows by in an hour, by least squares: what is flat within the slack above may leak all the same.
fn slope(samples: &[Sample], length: Duration) -> f64 {
    let later = &samples[samples.len() / 3..];
    let hours = length.as_secs_f64() / 3600.0 / samples.len().max(1) as f64;
    let mean = |of: &dyn Fn(usize) -> f64| {
        (0..later.len()).map(of).sum::<f64>() / later.len().max(1) as f64
    };
    let at = |place: usize| place as f64 * hours;
    let bytes = |place: usize| later[place].resident_bytes as f64;
    let (middle, usual) = (mean(&at), mean(&bytes));
    let together = mean(&|place| (at(place) - middle) * (bytes(place) - usual));
    let spread = mean(&|place| (at(place) - middle).powi(2));
    if spread > 0.0 { together / spread } else { 0.0 }
}

fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod flatness {
    use super::*;

    fn samples(resident: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |number| Sample {
            resident_bytes: resident(number) << 20,
            lag_bytes: 1000,
            connections: 8,
            files: 30,
            actions: 0,
        };
        (0..30).map(sample).collect()
    }

    #[test]
    fn what_grows_to_the_end_is_told_and_what_settles_is_not() {
        assert!(growth(&samples(|number| 20 + number.min(9))).is_empty());
        assert_eq!(growth(&samples(|number| 20 + 2 * number)).len(), 1);
    }

    #[test]
    fn a_slope_is_that_of_the_later_samples_in_bytes_an_hour() {
        let hour = Duration::from_secs(3600);
        let of = |resident: fn(u64) -> u64| slope(&samples(resident), hour) / f64::from(1 << 20);
        assert!((of(|number| 20 + 2 * number) - 60.0).abs() < 0.01);
        assert!(of(|number| 20 + number.min(9)).abs() < 0.01);
    }
}
