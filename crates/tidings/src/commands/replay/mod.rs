//! A part of the log, sent to an endpoint once more.

mod follow;
mod list;
mod start;

use anyhow::anyhow;
use serde_json::json;
use store::replays;

use super::endpoints::find;
use super::set_up_session;
use crate::Failure;
use crate::cli::{Replay, Replays};
use crate::settings::Settings;

pub async fn replay(settings: &Settings, arguments: &Replay) -> Result<(), Failure> {
    match &arguments.command {
        None => start::start(settings, &arguments.request).await,
        Some(Replays::List {
            endpoint,
            limit,
            json,
        }) => list::list(settings, endpoint.as_deref(), *limit, *json).await,
        Some(Replays::Cancel { id, json }) => cancel(settings, id, *json).await,
    }
}

async fn cancel(settings: &Settings, id: &str, as_json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let cancelled = replays::cancel(&session, id).await?;
    let Some(replay) = replays::find(&session, id).await? else {
        return Err(Failure::Failed(anyhow!(
            "there is no replay {id:?}: `tidings replay list` shows them"
        )));
    };
    if !cancelled {
        return Err(Failure::Failed(anyhow!(
            "replay {id} is {} already: there is nothing to cancel",
            replay.state
        )));
    }
    match as_json {
        true => println!("{:#}", list::described(&replay)),
        false => println!(
            "replay {id} is cancelled after seq {}; what it has parked is still tried",
            replay.cursor
        ),
    }
    Ok(())
}

/// A replay that was asked for and is gone, with its endpoint.
fn gone(id: &str) -> Failure {
    Failure::Failed(anyhow!(
        "replay {id} is gone: its endpoint was removed meanwhile"
    ))
}

/// What `--json` tells of a replay that would be, or is asked for.
fn summary(
    id: Option<&str>,
    endpoint: &str,
    from: i64,
    until: i64,
    actions: i64,
) -> serde_json::Value {
    json!({"id": id, "endpoint": endpoint, "from_seq": from, "until_seq": until, "actions": actions})
}
