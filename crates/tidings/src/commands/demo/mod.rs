//! `tidings demo`: the whole path on a Postgres, a worker and a subscriber of its own.
//!
//! The worker plays a story through plain SQL and knows by itself what each transaction must give.
//! That, the rows of `project_actions` and the notifications received meet in a ledger, which counts
//! what is lost and what is there twice. When it ends, however it ends, nothing of it is left.

mod event;
mod latency;
mod ledger;
mod receiver;
mod screen;
mod sentence;
mod show;
mod sidecar;
mod stage;
mod story;
mod watcher;
mod worker;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::signals::Signals;
use crate::cli::Demo;
use crate::{Failure, telemetry};
use event::Event;
use ledger::Totals;
use receiver::Receiver;
use screen::Screen;
use show::Show;
use sidecar::Sidecar;
use stage::Stage;
use story::Story;

/// How long what is under way may take to arrive after the last commit.
const ARRIVE_MAX: Duration = Duration::from_secs(10);
/// Events that may wait to be told; then whoever has one waits.
const EVENTS_MAX: usize = 1024;
/// The same story each time.
const SEED: u64 = 1;

pub async fn demo(arguments: &Demo) -> Result<(), Failure> {
    if arguments.schema {
        let written = io::stdout().write_all(stage::TABLES.as_bytes());
        return Ok(written.context("standard output")?);
    }
    let signals = Signals::listen().context("signals")?;
    let stage = Stage::open().await?;
    let told = perform(arguments, &stage, &signals).await;
    stage.close().await;
    let (mut screen, totals) = told?;
    screen.summary(&totals).context("standard output")?;
    match totals.is_flawless() {
        true => Ok(()),
        false => Err(Failure::Failed(anyhow!(
            "not every action arrived exactly as its transaction says"
        ))),
    }
}

/// From setup to the last count; the server is still there afterwards, the sidecar is not.
async fn perform(
    arguments: &Demo,
    stage: &Stage,
    signals: &Signals,
) -> Result<(Screen<io::Stdout>, Totals), Failure> {
    let mut screen = Screen::open();
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let receiver = Receiver::open(events.clone()).await?;
    let file = sidecar::settings_file(stage, &receiver);
    let settings = sidecar::parse(&file)?;
    telemetry::start(&settings.log)?;
    screen
        .headline(&stage.version())
        .context("standard output")?;
    sidecar::setup(&file).await?;
    let mut sidecar = Sidecar::spawn(settings);
    let reader = stage.reader().await?;
    tokio::select! {
        failure = sidecar.ended() => return Err(failure),
        begun = stage::begun(&reader) => begun?,
    }
    let mut show = Show::new(screen, told);
    let totals = tokio::select! {
        failure = sidecar.ended() => return Err(failure),
        totals = play(arguments, stage, signals, &mut show, events) => totals?,
    };
    sidecar.stop().await?;
    Ok((show.screen, totals))
}

/// The story, told while it is played; then the wait for what is under way.
async fn play(
    arguments: &Demo,
    stage: &Stage,
    signals: &Signals,
    show: &mut Show,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<Totals> {
    let end_of_story = CancellationToken::new();
    let awaited = Arc::new(Notify::new());
    let reader = stage.reader().await?;
    let mut watcher = AbortOnDropHandle::new(tokio::spawn({
        let (awaited, events) = (awaited.clone(), events.clone());
        async move { watcher::watch(&reader, &awaited, &events).await }
    }));
    let mut worker = AbortOnDropHandle::new(tokio::spawn(worker::work(
        stage.worker().await?,
        Story::new(SEED),
        awaited,
        events,
        end_of_story.clone(),
    )));
    show.screen.start();
    let over = async {
        match arguments.seconds {
            0 => signals.stop.cancelled().await,
            seconds => {
                let time = Duration::from_secs(seconds);
                // Either end is a good one.
                let _ = tokio::time::timeout(time, signals.stop.cancelled()).await;
            }
        }
    };
    show.tell_until(async {
        tokio::select! {
            () = over => Ok(()),
            ended = &mut worker => ended.context("the worker died")?.context("the worker"),
            ended = &mut watcher => ended.context("the watcher died")?.context("the watcher"),
        }
    })
    .await
    .context("standard output")??;
    end_of_story.cancel();
    show.tell_until(worker)
        .await
        .context("standard output")?
        .context("the worker died")?
        .context("the worker")?;
    show.screen
        .note("the worker has stopped; waiting for what is under way")
        .context("standard output")?;
    let enough = async {
        // Either end is an end.
        let _ = tokio::time::timeout(ARRIVE_MAX, signals.hurry.cancelled()).await;
    };
    show.settle(enough).await.context("standard output")?;
    drop(watcher);
    let rows = watcher::audit(&stage.reader().await?)
        .await
        .context("the last look at project_actions")?;
    show.close(rows).context("standard output")
}
