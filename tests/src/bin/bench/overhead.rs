//! What the worker pays for each way to have its actions written: nothing attached, a slot that the server
//! decodes for `pg_recvlogical`, Tidings, and a trigger that writes the same rows in the worker's transaction.
//!
//! A server for each arm, all on this machine; only one is under load at a time, each goes first as often as
//! the others, and what is attached has caught up before the next one's turn. One round before them is not
//! counted. A last look asserts that the trigger and Tidings have written the same rows.

use std::process::Stdio;
use std::time::Duration;

use tests::{Sidecar, Stage};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Recvlogical;
use crate::quantiles::{Quantiles, median};
use crate::{Worker, machine, process, table};

const NAME: &str = "overhead";
const CONNECTIONS: u32 = 4;
/// Many and short, so that what else the machine does falls on all arms alike.
const ROUNDS: usize = 15;
/// Of each arm in each round, as fast as they go.
const COMMITS: u32 = 2000;
/// Well below what any arm can do.
const PER_SECOND: u32 = 200;
const SECONDS: u32 = 2;

/// The row that the pack `reference` makes of a push, but for its id.
const TRIGGER: &str = "
    create function tell() returns trigger language plpgsql as $$
      begin
        insert into project_actions values (
          'a' || new.deployment_id, new.project_id, new.user_id, new.request_id, 'github_push',
          'Pushed ' || new.files_changed || case new.files_changed when 1 then ' file' else ' files' end
            || ' to ' || new.repo_url,
          'success', new.environment, jsonb_build_object('deployment_id', new.deployment_id),
          extract(epoch from now())::bigint);
        return null;
      end $$;
    create trigger tell after insert on deployments for each row execute function tell();
    grant insert on project_actions to worker";

/// Everything that the rows say, whoever wrote them.
const WRITTEN: &str = "
    select md5(string_agg(concat_ws('|', project_id, user_id, request_id, action_type, action_details,
      status, environment, reference_ids), E'\\n' order by reference_ids ->> 'deployment_id'))
    from project_actions";

enum Attached {
    Nothing,
    /// Ends with the arm.
    Recvlogical(Child),
    Sidecar(Box<Sidecar>),
    Trigger,
}

struct Arm {
    name: &'static str,
    /// Ends before its server.
    attached: Attached,
    stage: Stage,
    commits: u32,
    /// Of each round that counts.
    full: Vec<Run>,
    paced: Vec<Run>,
}

/// One turn of an arm.
struct Run {
    per_second: f64,
    latency: Quantiles,
    /// Processor time for each transaction until what is attached had caught up, and the few looks at whether
    /// it had: of all the server's processes, and of the sidecar.
    server_us: f64,
    sidecar_us: f64,
}

pub(crate) async fn measure(worker: Worker) {
    let mut arms = vec![nothing().await];
    match Recvlogical::find() {
        Some(program) => arms.push(decoded(&program).await),
        None => println!("pg_recvlogical is not there: the server's own decoding is not measured"),
    }
    arms.push(tidings().await);
    arms.push(trigger().await);
    for round in 0..=ROUNDS {
        for pace in [None, Some(PER_SECOND)] {
            for turn in 0..arms.len() {
                let place = (round + turn) % arms.len();
                let arm = &mut arms[place];
                let run = arm.run(worker, pace).await;
                if round > 0 {
                    match pace {
                        None => arm.full.push(run),
                        Some(_) => arm.paced.push(run),
                    }
                }
            }
        }
    }
    print(&arms);
    same_rows(&arms).await;
}

async fn nothing() -> Arm {
    Arm::of(
        "nothing",
        Stage::on(machine::server()).await,
        Attached::Nothing,
    )
}

async fn decoded(program: &Recvlogical) -> Arm {
    let stage = Stage::on(machine::server()).await;
    let slot = format!(
        "create publication {NAME} for table projects, databases, deployments;
         select pg_create_logical_replication_slot('{NAME}', 'pgoutput')"
    );
    for sql in slot.split(';') {
        stage.execute(sql).await;
    }
    let mut command: Command = program.follow(&stage.server, NAME, NAME);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().expect("pg_recvlogical can be run");
    stage
        .until("exists (select from pg_stat_replication)")
        .await;
    Arm::of("decoding alone", stage, Attached::Recvlogical(child))
}

async fn tidings() -> Arm {
    let stage = Stage::on(machine::server()).await;
    let sidecar = stage.run().await;
    stage.until_compared().await;
    Arm::of("Tidings", stage, Attached::Sidecar(Box::new(sidecar)))
}

async fn trigger() -> Arm {
    let stage = Stage::on(machine::server()).await;
    // For the very table that Tidings makes.
    for command in [&["setup"][..], &["uninstall", "--yes"]] {
        stage.tidings(command).await.success();
    }
    stage.execute(TRIGGER).await;
    Arm::of("a trigger", stage, Attached::Trigger)
}

impl Arm {
    fn of(name: &'static str, stage: Stage, attached: Attached) -> Self {
        Self {
            name,
            attached,
            stage,
            commits: 0,
            full: Vec::new(),
            paced: Vec::new(),
        }
    }

    async fn run(&mut self, worker: Worker, per_second: Option<u32>) -> Run {
        let commits = per_second.map_or(COMMITS, |per_second| per_second * SECONDS);
        let (server, sidecar) = (self.server_seconds(), self.sidecar_seconds());
        let (latencies, seconds) = self.load(worker, commits, per_second).await;
        self.commits += commits;
        // What is decoded later is decoded for these commits too.
        self.catch_up().await;
        let server = self.server_seconds() - server;
        let sidecar = self.sidecar_seconds() - sidecar;
        Run {
            per_second: f64::from(commits) / seconds,
            latency: Quantiles::of(latencies),
            server_us: server * 1e6 / f64::from(commits),
            sidecar_us: sidecar * 1e6 / f64::from(commits),
        }
    }

    /// Commits one row after the other on each connection; how long each took in ms, and all in s.
    async fn load(&self, worker: Worker, commits: u32, pace: Option<u32>) -> (Vec<f64>, f64) {
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            sessions.push(worker.writer(&self.stage, NAME).await);
        }
        let (first, begun) = (self.commits, Instant::now());
        let mut writers = JoinSet::new();
        for (number, (client, insert)) in (0..).zip(sessions) {
            writers.spawn(async move {
                let mut latencies = Vec::new();
                for commit in (number..commits).step_by(CONNECTIONS as usize) {
                    if let Some(per_second) = pace {
                        sleep_until(begun + Duration::from_secs(1) * commit / per_second).await;
                    }
                    let sent = Instant::now();
                    let done = client.execute(&insert, &[&i64::from(first + commit)]).await;
                    done.expect("the worker can write");
                    latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                latencies
            });
        }
        let latencies = writers.join_all().await.concat();
        (latencies, begun.elapsed().as_secs_f64())
    }

    /// Waits until nothing of the load is left to be done.
    async fn catch_up(&mut self) {
        match &mut self.attached {
            Attached::Nothing | Attached::Trigger => {}
            Attached::Recvlogical(child) => {
                let ended = child.try_wait().expect("it can be looked at");
                assert!(ended.is_none(), "pg_recvlogical ended: {ended:?}");
                let end: String = self
                    .stage
                    .value("select pg_current_wal_insert_lsn()::text")
                    .await;
                let sent =
                    format!("(select bool_and(sent_lsn >= '{end}') from pg_stat_replication)");
                self.stage.until(&sent).await;
            }
            Attached::Sidecar(_) => {
                self.stage.until_actions(i64::from(self.commits)).await;
            }
        }
    }

    fn server_seconds(&self) -> f64 {
        let postmaster = self.stage.server.pid().expect("the server is running");
        process::server_cpu_seconds(postmaster)
    }

    fn sidecar_seconds(&self) -> f64 {
        match &self.attached {
            Attached::Sidecar(sidecar) => process::cpu_seconds(sidecar),
            Attached::Nothing | Attached::Recvlogical(_) | Attached::Trigger => 0.0,
        }
    }
}

fn print(arms: &[Arm]) {
    let alone = &arms[0];
    let how = format!(
        "one-row transactions, each committed to disk, over {CONNECTIONS} connections, {COMMITS} a turn, as fast as \
         they go; medians of {ROUNDS} alternating rounds, ratios (lowest to highest) to nothing attached in \
         the same round; no subscriber. What is attached shares the cores with server and worker"
    );
    table::title("What the worker pays: throughput", &how);
    let full = |arm: &Arm| {
        let [tps, p50, p99] = medians(&arm.full);
        let ratio = ratio(&arm.full, &alone.full, |run| run.per_second);
        let [p50, p99] = [p50, p99].map(|ms| format!("{ms:.2}"));
        let [name, tps] = [arm.name.to_owned(), table::rate(tps)];
        [name, tps, ratio, p50, p99, cpu(&arm.full)]
    };
    let rows: Vec<_> = arms.iter().map(full).collect();
    let heads = ["attached", "tx/s", "ratio", "p50 ms", "p99 ms", "CPU us/tx"];
    table::print(heads, &rows);
    println!("  CPU: of the server's processes + of the sidecar");

    let how = format!(
        "the same at {PER_SECOND} transactions/s for {SECONDS} s a turn, well below what each can do: how long a \
         commit took the worker"
    );
    table::title("What the worker pays: a commit's time", &how);
    let paced = |arm: &Arm| {
        let [_, p50, p99] = medians(&arm.paced);
        let [p50, p99] = [p50, p99].map(|ms| format!("{ms:.2}"));
        let of_p50 = ratio(&arm.paced, &alone.paced, |run| run.latency.p50);
        let of_p99 = ratio(&arm.paced, &alone.paced, |run| run.latency.p99);
        let name = arm.name.to_owned();
        [name, p50, of_p50, p99, of_p99, cpu(&arm.paced)]
    };
    let rows: Vec<_> = arms.iter().map(paced).collect();
    let heads = [
        "attached",
        "p50 ms",
        "ratio",
        "p99 ms",
        "ratio",
        "CPU us/tx",
    ];
    table::print(heads, &rows);
}

/// Of the server and, where there is one, of the sidecar.
fn cpu(runs: &[Run]) -> String {
    let of = |part: fn(&Run) -> f64| median(&runs.iter().map(part).collect::<Vec<_>>());
    match of(|run| run.sidecar_us) {
        0.0 => format!("{:.0}", of(|run| run.server_us)),
        sidecar => format!("{:.0} + {sidecar:.0}", of(|run| run.server_us)),
    }
}

/// Transactions a second, p50 and p99.
fn medians(runs: &[Run]) -> [f64; 3] {
    let of = |part: fn(&Run) -> f64| median(&runs.iter().map(part).collect::<Vec<_>>());
    [
        of(|run| run.per_second),
        of(|run| run.latency.p50),
        of(|run| run.latency.p99),
    ]
}

/// Round by round: the median, and from the lowest to the highest.
fn ratio(runs: &[Run], to: &[Run], part: fn(&Run) -> f64) -> String {
    let ratios = runs.iter().zip(to).map(|(run, to)| part(run) / part(to));
    let ratios: Vec<f64> = ratios.collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let Quantiles { p50, max, .. } = Quantiles::of(ratios);
    format!("{p50:.2} ({least:.2} to {max:.2})")
}

async fn same_rows(arms: &[Arm]) {
    let mut written = Vec::new();
    for arm in arms {
        if matches!(arm.attached, Attached::Sidecar(_) | Attached::Trigger) {
            written.push(arm.stage.value::<String>(WRITTEN).await);
        }
    }
    assert!(
        written.windows(2).all(|pair| pair[0] == pair[1]),
        "a trigger and Tidings have not written the same rows"
    );
    println!("  Tidings and the trigger have written the same rows");
}
