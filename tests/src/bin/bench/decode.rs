//! How fast the WAL comes out: `crates/wal` and `pg_recvlogical`, each a process of its own that
//! drains the same slot to nothing, measured from its start to its end.
//!
//! Each run gets a copy of one slot, so all read the same WAL from the same position. Both stop at
//! the first message past it, which a last small transaction provides.

use std::process::Stdio;
use std::time::Instant;

use tests::Stage;
use tokio::process::Command;

use crate::client::{Drain, Ours, Over, Recvlogical};
use crate::quantiles::median;
use crate::{Worker, machine, process, table};

/// In each shape, in all.
const ROWS: usize = 150_000;
/// Rows of one transaction.
const SHAPES: [usize; 3] = [1, 10, 1000];
const ROUNDS: usize = 3;
const PUBLICATION: &str = "bench";
const SLOT: &str = "bench";
const COPY: &str = "bench_copy";

/// Of one program over one transport.
#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
}

pub(crate) async fn measure(worker: Worker) {
    let how = format!(
        "{ROWS} inserts a shape, read by pgoutput 1 to nothing; a process each, from its start to its \
         end; medians of {ROUNDS} alternating rounds, the ratio too"
    );
    table::title("Decode rate: crates/wal beside pg_recvlogical", &how);
    let ours = Ours::build().await;
    let theirs = Recvlogical::find();
    if theirs.is_none() {
        println!("  pg_recvlogical is neither beside the server binaries nor in PATH: ours alone");
    }
    let stage = Stage::on(machine::server().listen_tcp(true)).await;
    let publish = format!("create publication {PUBLICATION} for table deployments");
    stage.execute(&publish).await;
    let mut rows = Vec::new();
    for shape in SHAPES {
        rows.extend(measure_shape(&stage, worker, shape, &ours, theirs.as_ref()).await);
    }
    let heads = [
        "rows/tx",
        "over",
        "wal rows/s",
        "pg_recvlogical rows/s",
        "ratio",
        "wal CPU us/row",
        "pg_recvlogical",
    ];
    table::print(heads, &rows);
}

async fn measure_shape(
    stage: &Stage,
    worker: Worker,
    shape: usize,
    ours: &Ours,
    theirs: Option<&Recvlogical>,
) -> Vec<[String; 7]> {
    let slot = format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
    stage.execute(&slot).await;
    worker
        .write(stage, &format!("shape{shape}"), ROWS / shape, shape)
        .await;
    let until: String = stage
        .value("select pg_current_wal_insert_lsn()::text")
        .await;
    worker.write(stage, &format!("after{shape}"), 1, 1).await;
    stage.execute("checkpoint").await;
    let drain = Drain {
        slot: COPY,
        publication: PUBLICATION,
        until: &until,
        rows: ROWS,
    };

    let overs = [Over::Socket, Over::Tcp];
    let mut runs: [[Runs; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        for (over, of_both) in overs.into_iter().zip(&mut runs) {
            // Each goes first as often as the other, one round more or less.
            for turn in [round % 2, (round + 1) % 2] {
                let command = match turn {
                    0 => Some(ours.command(&stage.server, over, &drain)),
                    _ => theirs.map(|theirs| theirs.command(&stage.server, over, &drain)),
                };
                if let Some(command) = command {
                    run(stage, command, &mut of_both[turn]).await;
                }
            }
        }
    }
    stage
        .execute(&format!("select pg_drop_replication_slot('{SLOT}')"))
        .await;
    let rows = overs
        .into_iter()
        .zip(&runs)
        .map(|(over, runs)| row(shape, over, runs));
    rows.collect()
}

async fn run(stage: &Stage, mut command: Command, runs: &mut Runs) {
    let copy = format!("select pg_copy_logical_replication_slot('{SLOT}', '{COPY}')");
    stage.execute(&copy).await;
    let cpu = process::ended_children_cpu_seconds();
    let begun = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let seconds = begun.elapsed().as_secs_f64();
    let output = output.expect("the program can be run");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&said)
    );
    runs.seconds.push(seconds);
    runs.cpu_seconds
        .push(process::ended_children_cpu_seconds() - cpu);
    let left = format!("select not active from pg_replication_slots where slot_name = '{COPY}'");
    stage.until(&left).await;
    stage
        .execute(&format!("select pg_drop_replication_slot('{COPY}')"))
        .await;
}

fn row(shape: usize, over: Over, [ours, theirs]: &[Runs; 2]) -> [String; 7] {
    let rate = |runs: &Runs| ROWS as f64 / median(&runs.seconds);
    let cpu = |runs: &Runs| format!("{:.1}", median(&runs.cpu_seconds) * 1e6 / ROWS as f64);
    let (theirs_rate, ratio, theirs_cpu) = if theirs.seconds.is_empty() {
        Default::default()
    } else {
        let pairs = theirs.seconds.iter().zip(&ours.seconds);
        let ratios: Vec<f64> = pairs.map(|(theirs, ours)| theirs / ours).collect();
        let ratio = format!("{:.2}", median(&ratios));
        (table::rate(rate(theirs)), ratio, cpu(theirs))
    };
    let over = match over {
        Over::Socket => "Unix socket",
        Over::Tcp => "TCP",
    };
    let ours_rate = table::rate(rate(ours));
    [
        shape.to_string(),
        over.to_owned(),
        ours_rate,
        theirs_rate,
        ratio,
        cpu(ours),
        theirs_cpu,
    ]
}
