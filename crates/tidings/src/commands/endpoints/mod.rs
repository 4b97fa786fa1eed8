//! The life of an endpoint by command.

mod add;
mod challenge;
mod described;
mod draft;
mod list;
mod plan;
mod rotate;
mod send;
mod show;
mod source;
mod state;
mod test;
mod update;

use anyhow::anyhow;
use store::Session;
use store::endpoints::{self, DeclaredBy, StoredEndpoint, Transition};

use super::set_up_session;
use crate::Failure;
use crate::cli::Endpoints;
use crate::settings::Settings;

pub async fn endpoints(settings: &Settings, arguments: &Endpoints) -> Result<(), Failure> {
    let transit = async |endpoint: &str, transition, reason: Option<&str>, json| {
        let mut session = set_up_session(settings).await?;
        state::transit(&mut session, endpoint, transition, reason, json).await
    };
    match arguments {
        Endpoints::Add(arguments) => add::add(settings, arguments).await,
        Endpoints::List { json } => list::list(settings, *json).await,
        Endpoints::Show { endpoint, json } => show::show(settings, endpoint, *json).await,
        Endpoints::Update(arguments) => update::update(settings, arguments).await,
        Endpoints::Pause {
            endpoint,
            reason,
            json,
        } => {
            let reason = reason.as_deref().unwrap_or("paused by a command");
            transit(endpoint, Transition::Pause, Some(reason), *json).await
        }
        Endpoints::Resume { endpoint, json } => {
            transit(endpoint, Transition::Resume, None, *json).await
        }
        Endpoints::Enable { endpoint, json } => {
            transit(endpoint, Transition::Enable, None, *json).await
        }
        Endpoints::Disable {
            endpoint,
            reason,
            json,
        } => {
            let reason = reason.as_deref().unwrap_or("disabled by a command");
            transit(endpoint, Transition::Disable, Some(reason), *json).await
        }
        Endpoints::RotateSecret(arguments) => rotate::rotate(settings, arguments).await,
        Endpoints::Test(arguments) => test::test(settings, arguments).await,
        Endpoints::Plan { json } => plan::plan(settings, *json).await,
        Endpoints::Remove { endpoint, json } => remove(settings, endpoint, *json).await,
    }
}

/// The endpoint of this name or id, or what to do about it.
pub(super) async fn find(session: &Session, endpoint: &str) -> Result<StoredEndpoint, Failure> {
    let found = endpoints::find(session, endpoint).await?;
    found.ok_or_else(|| {
        Failure::Failed(anyhow!(
            "there is no endpoint named {endpoint:?}: `tidings endpoints list` shows them"
        ))
    })
}

/// What the settings declare is theirs: the next start would undo a command.
fn refuse_declared(stored: &StoredEndpoint, instead: &str) -> Result<(), Failure> {
    match stored.origin {
        DeclaredBy::Command => Ok(()),
        DeclaredBy::Config => Err(Failure::Failed(anyhow!(
            "endpoint {} is declared in the settings, and the next start would undo this: {instead} \
             there, and reload (SIGHUP); `tidings endpoints plan` shows what that will change",
            stored.name
        ))),
    }
}

/// Between reading and writing, somebody else was faster.
fn changed_meanwhile(name: &str) -> Failure {
    Failure::Failed(anyhow!(
        "endpoint {name} has been changed at the same time by somebody else: try again"
    ))
}

async fn remove(settings: &Settings, endpoint: &str, json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let stored = find(&session, endpoint).await?;
    // Where these settings do not declare it any more, it is only left over.
    if settings
        .endpoints
        .iter()
        .any(|declared| declared.name == stored.name)
    {
        refuse_declared(&stored, "take it out")?;
    }
    endpoints::remove(&session, &stored.id).await?;
    match json {
        true => println!(
            "{:#}",
            serde_json::json!({"id": stored.id, "name": stored.name, "state": "removed"})
        ),
        false => println!(
            "endpoint {} and what was parked for it are gone",
            stored.name
        ),
    }
    Ok(())
}
