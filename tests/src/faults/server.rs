//! Postgres goes away, whole or in part.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scratch::{Server, StopMode};

use super::{Tally, calm, until_it_moves};
use crate::{Random, Stage, Trial};

const OURS: &str = "usename = 'tidings' and backend_type in ('client backend', 'walsender')";

pub(super) async fn killed(random: Random, runs: usize) -> Tally {
    let take_away = |stage: &mut Stage| {
        let gone = stage.server.kill9();
        gone.expect("the server can be killed");
    };
    broken(random, runs, take_away).await
}

pub(super) async fn restarted(random: Random, runs: usize) -> Tally {
    let take_away = |stage: &mut Stage| {
        // A sidecar that held it up would be at fault.
        let gone = stage.server.stop(StopMode::Fast, Duration::from_secs(15));
        gone.expect("the server stops");
    };
    broken(random, runs, take_away).await
}

/// A recovery is timed from the moment that the server is back.
async fn broken(random: Random, runs: usize, take_away: impl Fn(&mut Stage)) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for _ in 0..runs {
        calm(&mut trial.random).await;
        tokio::task::block_in_place(|| {
            take_away(&mut trial.stage);
            let back = trial.stage.server.start_again();
            back.expect("the server starts again");
        });
        let back = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(back.elapsed());
    }
    tally.outlived(&mut sidecar);
    trial.close(load, tally).await
}

pub(super) async fn backend_terminated(random: Random, runs: usize) -> Tally {
    let end = async |stage: &Stage, pid: i32| {
        let end = format!("select pg_terminate_backend({pid})");
        stage.execute(&end).await;
    };
    one_of_ours(random, runs, end).await
}

/// The postmaster ends every session then, and goes through recovery.
pub(super) async fn backend_killed(random: Random, runs: usize) -> Tally {
    let end = async |_: &Stage, pid: i32| {
        let pid = Pid::from_raw(pid).expect("a process id");
        // One that has ended meanwhile is as good.
        let _ = kill_process(pid, Signal::KILL);
    };
    one_of_ours(random, runs, end).await
}

async fn one_of_ours(random: Random, runs: usize, end: impl AsyncFn(&Stage, i32)) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    while tally.runs < runs {
        calm(&mut trial.random).await;
        let ours =
            format!("select pid, backend_type from pg_stat_activity where {OURS} order by pid");
        let sessions = trial.stage.connect().await.query(&ours, &[]).await;
        let sessions = sessions.expect("sessions can be listed");
        if sessions.is_empty() {
            continue;
        }
        let chosen = &sessions[trial.random.below(sessions.len())];
        end(&trial.stage, chosen.get(0)).await;
        let ended = Instant::now();
        until_it_moves(&trial.stage, &load).await;
        tally.recovered(ended.elapsed());
        tally.hit(chosen.get::<_, String>(1));
    }
    tally.outlived(&mut sidecar);
    trial.close(load, tally).await
}
