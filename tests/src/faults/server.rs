//! Postgres goes away, whole or in part.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scratch::{Server, StopMode};

use super::{CAPTURE, Tally, calm, owner, until_it_recovers};
use crate::{Load, Random, Stage, Trial, eventually};

/// What a fast stop takes, well below the patience of a writer that can not commit.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Our sessions, and what each is for.
const OURS: &str = "select pid, case backend_type when 'walsender' then 'walsender'
        else regexp_replace(application_name, ' of .*', '') end
    from pg_stat_activity where usename = 'tidings' and backend_type in ('client backend', 'walsender')
    order by pid";
/// What a session is called that neither reads the stream nor writes what it tells.
const DELIVERS: &str = "tidings";

pub(super) async fn killed(random: Random, runs: usize) -> Tally {
    let take_away = |stage: &mut Stage| {
        let gone = stage.server.crash();
        gone.expect("the server can be killed");
    };
    let (mut tally, log) = broken(random, runs, take_away).await;
    let recovered = log.matches("was not properly shut down").count();
    if recovered != tally.runs {
        tally.fault(format!("Postgres has recovered {recovered} times"));
    }
    tally
}

pub(super) async fn restarted(random: Random, runs: usize) -> Tally {
    let mut stops = Vec::new();
    let take_away = |stage: &mut Stage| {
        let asked = Instant::now();
        let gone = stage.server.stop(StopMode::Fast, Duration::from_secs(15));
        gone.expect("the server stops");
        stops.push(asked.elapsed());
    };
    let (mut tally, _) = broken(random, runs, take_away).await;
    // A sidecar that holds it up is at fault.
    for took in stops {
        tally.promise_of("a stop of Postgres", took, STOP_MAX);
    }
    tally
}

/// A recovery is timed from the moment that the server is back. Returns the server's log too.
async fn broken(
    random: Random,
    runs: usize,
    mut take_away: impl FnMut(&mut Stage),
) -> (Tally, String) {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    for _ in 0..runs {
        calm(&mut trial.random).await;
        let before = owner(&trial.stage, CAPTURE).await;
        tokio::task::block_in_place(|| {
            take_away(&mut trial.stage);
            let back = trial.stage.server.start_again();
            back.expect("the server starts again");
        });
        let back = Instant::now();
        until_it_recovers(&trial.stage, &load, CAPTURE, before).await;
        tally.recovered(back.elapsed());
    }
    let tally = trial.close(load, tally, [&mut sidecar]).await;
    (tally, trial.stage.server.log())
}

pub(super) async fn backend_terminated(random: Random, runs: usize) -> Tally {
    let end = async |stage: &Stage, pid: i32| {
        let end = format!("select pg_terminate_backend({pid})");
        stage.value::<bool>(&end).await
    };
    one_of_ours(random, runs, end, |session| session != DELIVERS).await
}

/// The postmaster ends every session then, and goes through recovery.
pub(super) async fn backend_killed(random: Random, runs: usize) -> Tally {
    let end = async |_: &Stage, pid: i32| {
        let pid = Pid::from_raw(pid).expect("a process id");
        kill_process(pid, Signal::KILL).is_ok()
    };
    one_of_ours(random, runs, end, |_| true).await
}

/// `end` says whether there was still something to end, `captures` whether the end of such a session ends
/// that of the stream too.
async fn one_of_ours(
    random: Random,
    runs: usize,
    end: impl AsyncFn(&Stage, i32) -> bool,
    captures: impl Fn(&str) -> bool,
) -> Tally {
    let mut trial = Trial::prepare(Server::builder().fast(), random).await;
    let mut tally = Tally::default();
    let mut sidecar = trial.stage.run().await;
    let load = trial.load().await;
    while tally.runs < runs {
        calm(&mut trial.random).await;
        let sessions = trial.stage.connect().await.query(OURS, &[]).await;
        let sessions = sessions.expect("sessions can be listed");
        if sessions.is_empty() {
            continue;
        }
        let chosen = &sessions[trial.random.below(sessions.len())];
        let (pid, session): (i32, String) = (chosen.get(0), chosen.get(1));
        let before = owner(&trial.stage, CAPTURE).await;
        if !end(&trial.stage, pid).await {
            continue;
        }
        let ended = Instant::now();
        if captures(&session) {
            until_it_recovers(&trial.stage, &load, CAPTURE, before).await;
        } else {
            until_it_delivers(&trial, &load, pid).await;
        }
        tally.recovered(ended.elapsed());
        tally.hit(session);
    }
    trial.close(load, tally, [&mut sidecar]).await
}

/// Waits until this session is gone and the subscribers hear more.
async fn until_it_delivers(trial: &Trial, load: &Load, pid: i32) {
    let gone = format!("not exists (select from pg_stat_activity where pid = {pid})");
    trial.stage.until(&gone).await;
    load.until_more(1).await;
    let before = trial.requested();
    eventually("delivery goes on", async || trial.requested() > before).await;
}
