//! What the sidecar takes: memory when idle, under load, and after one large transaction; processor
//! time under load.

use std::time::Duration;

use tests::Stage;

use crate::latency::Usage;
use crate::table::{self, megabytes};
use crate::{Worker, machine, process};

/// Of the large transaction.
const ROWS: usize = 100_000;
/// After which memory is what it stays at.
const SETTLING: Duration = Duration::from_secs(2);

pub(crate) async fn measure(worker: Worker, load: &Usage) {
    let stage = Stage::on(machine::server()).await;
    let sidecar = stage.run().await;
    process::forget_peak(&sidecar);
    worker.write(&stage, "large", 1, ROWS).await;
    let actions = i64::try_from(ROWS).expect("a small number");
    stage.until_actions(actions).await;
    let peak = sidecar.peak_bytes();
    tokio::time::sleep(SETTLING).await;
    let after = sidecar.resident_bytes();

    let how = "resident memory of `tidings run`; its processor time, user and system";
    table::title("What the sidecar takes", how);
    let large = format!("a transaction of {ROWS} rows, peak");
    let cores = 100.0 * load.cpu_seconds / load.seconds;
    let rows = [
        ["idle after start".to_owned(), megabytes(load.idle_bytes)],
        [
            "200 commits/s and an endpoint, peak".to_owned(),
            megabytes(load.peak_bytes),
        ],
        [large, megabytes(peak)],
        ["2 s after it".to_owned(), megabytes(after)],
        [
            format!("processor over {:.0} s of 200 commits/s", load.seconds),
            format!("{:.2} s = {cores:.1} % of a core", load.cpu_seconds),
        ],
    ];
    table::print(["", "taken"], &rows);
}
