//! The disk of Postgres is full for a while.

use std::time::{Duration, Instant};

use scratch::Server;

use super::{Tally, calm, until_it_moves};
use crate::{Random, SmallDisk, Trial, eventually};

/// Room for the cluster, its WAL, and a round's rows.
const DISK_BYTES: u64 = 320 << 20;
/// Takes some room, if there is any. The log of the server can't tell: it is on the same disk.
const WRITE: &str = "with made as (insert into load_markers
    select 'filler ' || clock_timestamp() || n || repeat('x', 500) from generate_series(1, 1000) n returning 1)
    select count(*) from made";
/// For how long it is full, at most.
const FULL_MAX_MS: usize = 1500;

pub(super) async fn full(random: Random, runs: usize) -> Tally {
    let disk = SmallDisk::make(DISK_BYTES);
    let server = Server::builder()
        .fast()
        .data_root(disk.path())
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "64MB");
    let mut trial = Trial::prepare(server, random).await;
    let mut tally = Tally::default();
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for _ in 0..runs {
        calm(&mut trial.random).await;
        let filled = disk.fill(&trial.stage.server);
        eventually("nothing can be written", async || {
            trial.stage.try_value::<i64>(WRITE).await.is_err()
        })
        .await;
        // So that what the sidecar does meanwhile has its time too.
        let pause = trial.random.below(FULL_MAX_MS) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        drop(filled);
        eventually("with room again the server is back", async || {
            // Where there was no room for WAL it has ended, or is about to.
            let stage = &mut trial.stage;
            let started = tokio::task::block_in_place(|| stage.server.start_again());
            started.is_ok() && stage.try_value::<i32>("select 1").await.is_ok()
        })
        .await;
        let room = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(room.elapsed());
        tally.hit(disk.kind());
    }
    trial.close(load, tally, [&mut sidecar]).await
}
