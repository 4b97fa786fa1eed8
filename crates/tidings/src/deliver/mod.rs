//! Action log ─► lanes, one per endpoint ─► signed POST ─► outcome ─► batch settle.
//!
//! [`run`] keeps a [`session`] alive. Everything that must survive is in the database: a session
//! begins from cursors, parked rows and attempts, whatever the last one was doing.

mod alarms;
mod attempt;
mod backlog;
mod declare;
mod dispatch;
mod head;
mod lane;
mod leash;
mod ledger;
mod reader;
mod replays;
mod roster;
mod routing;
mod sendable;
mod session;
mod settle;
mod settler;
mod shards;
mod standings;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{Health, Trouble};
use connect::Target;
use store::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use webhook::{Schedule, Sender};

pub use declare::{Step, check, declare, planned};
pub use sendable::sendable;

use crate::Failure;
use crate::backoff::Backoff;
use crate::failure::chain;
use crate::settings::Settings;

/// What is written, or read for the head, must be answered within this; else others may own the shards
/// by now.
const ANSWER_MAX: Duration = leash::LENGTH;

/// What every session of delivery needs.
pub struct Context {
    pub settings: Arc<Settings>,
    pub target: Target,
    pub health: Arc<Health>,
    /// Told by capture after each commit that appended actions.
    pub appended: Arc<Notify>,
}

/// Delivers until `stop`. Does not end by itself but for settings that make no HTTP client.
pub async fn run(context: &Context, stop: &CancellationToken) -> Result<(), Failure> {
    let webhooks = &context.settings.webhooks;
    let sender = Sender::new(&webhooks.sender())
        .context("webhooks")
        .map_err(Failure::Settings)?;
    let schedule = Schedule::new(webhooks.retry_schedule.clone());
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !stop.is_cancelled() {
        let Err(error) = session::live(context, &sender, &schedule, stop, &mut backoff).await
        else {
            continue;
        };
        let pause = backoff.next(rand::random());
        let text = chain(&error);
        context.health.deliver.down(Trouble {
            reason: text.clone(),
            then: "it is tried again by itself, at most 5 s apart".to_owned(),
        });
        tracing::warn!(
            error = text,
            retry.pause_ms = pause.as_millis() as u64,
            "delivery lost its connection"
        );
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// The answer of the database, in time.
async fn answer<T>(query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER_MAX, query).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::TimedOut(ANSWER_MAX.as_secs())),
    }
}
