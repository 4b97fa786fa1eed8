//! WAL ─► transactions ─► rules ─► actions ─► one commit ─► confirm.
//!
//! [`run`] keeps a [`session`] alive: it connects, captures until something breaks, lets go of the
//! stream, and connects anew. Nothing in memory survives a session: every position is read from
//! the progress row again.

mod advance;
mod announcement;
pub mod budget;
mod class;
mod committed;
mod context;
mod derive;
mod fault;
mod footing;
mod group;
mod guard;
mod kept;
mod lineage;
pub mod load;
mod locked;
mod notice;
mod rebuild;
mod reconcile;
mod renamed;
mod retry;
mod runs;
mod session;
mod silences;
mod storable;
mod visible;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rules::Rules;
use store::Session;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use committed::Committed;
pub use context::Context;
pub use fault::Fault;
pub use footing::look;
pub use group::GroupSize;
pub use guard::shapes;
pub use lineage::{Verdict, judge};
pub use rebuild::refusal;
pub use reconcile::{Compared, Found, Synthetic, Teller, compare, differing, is_wanted, needed};
pub use session::try_lock;
pub use silences::Silences;

use budget::Stage;
use class::Class;

use crate::backoff::Backoff;
use crate::failure::chain;

/// How soon a fault that needs an operator is looked at again: what was mended resumes by itself.
const RECHECK: Duration = Duration::from_secs(10);

/// The longest pause before asking again whether what is waited for has come.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Captures until `stop`. Does not end by itself: every fault is retried, each at its own pace.
pub async fn run(context: &Context, stop: &CancellationToken) {
    let (stage, stages) = watch::channel(Stage::default());
    tokio::select! {
        biased;
        () = sessions(context, stop, stages) => {}
        () = budget::watch(context, stage) => {}
    }
}

async fn sessions(context: &Context, stop: &CancellationToken, mut stages: watch::Receiver<Stage>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut rules = context.rules.clone();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let Err(fault) = live(context, &mut rules, stop, &mut backoff, &mut stages).await else {
            continue;
        };
        backoff.took(began.elapsed());
        let text = chain(&fault);
        context.health.capture.down(fault.trouble());
        let pause = match fault.class() {
            class @ (Class::Retry | Class::Wait | Class::Reconcile) => {
                let pause = backoff.next(rand::random());
                // Whoever waits for a promotion is to see it soon.
                let pause = if class == Class::Wait {
                    pause.min(WAIT_MAX)
                } else {
                    pause
                };
                tracing::warn!(
                    error = text,
                    retry.pause_ms = pause.as_millis() as u64,
                    "{}",
                    match class {
                        Class::Wait => "capture waits",
                        Class::Retry | Class::Reconcile | Class::Stop =>
                            "capture lost its connection",
                    }
                );
                // Once may be chance; what goes on is what `status` should tell.
                if class == Class::Wait || backoff.tries() > 1 {
                    session::say_stopped(context, &text).await;
                }
                pause
            }
            Class::Stop => {
                tracing::error!(error = text, "capture is stopped until this is mended");
                session::say_stopped(context, &text).await;
                RECHECK
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = renewed(&mut rules) => {}
            () = budget::over(&mut stages) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One session, which ends in good order for other rules too.
async fn live(
    context: &Context,
    rules: &mut watch::Receiver<Arc<Rules>>,
    stop: &CancellationToken,
    backoff: &mut Backoff,
    stages: &mut watch::Receiver<Stage>,
) -> Result<(), Fault> {
    rules.borrow_and_update();
    let stop = stop.child_token();
    let live = session::live(context, &stop, backoff, stages);
    tokio::pin!(live);
    tokio::select! {
        biased;
        outcome = &mut live => outcome,
        () = renewed(rules) => {
            stop.cancel();
            live.await
        }
    }
}

/// Waits for other rules; for ever where there will be none.
async fn renewed(rules: &mut watch::Receiver<Arc<Rules>>) {
    if rules.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the tables and columns that rules use are published, every row of them.
pub async fn check_published(
    session: &Session,
    rules: &Rules,
    publication: &str,
    version: u32,
) -> Result<(), Fault> {
    guard::Guard::establish(session, rules, publication, version).await?;
    Ok(())
}
