use anyhow::anyhow;
use serde_json::json;
use store::Session;
use store::endpoints::{self, EndpointState, StoredEndpoint, Transition};

use super::find;
use crate::Failure;

/// Brings an endpoint to another state; one that is in it already is well.
pub async fn transit(
    session: &mut Session,
    endpoint: &str,
    transition: Transition,
    reason: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let stored = find(session, endpoint).await?;
    let done = endpoints::transit(session, &stored.id, transition, reason).await?;
    let now = find(session, &stored.id).await?;
    if !done && !is_there(now.state, transition) {
        return Err(Failure::Failed(anyhow!(refusal(&now))));
    }
    if as_json {
        let (id, name, state) = (&now.id, &now.name, now.state.as_str());
        println!(
            "{:#}",
            json!({"id": id, "name": name, "state": state, "changed": done})
        );
        return Ok(());
    }
    let name = &now.name;
    match (done, transition) {
        (false, _) => println!("endpoint {name} is {} already", now.state.as_str()),
        (true, Transition::Pause) => {
            println!("endpoint {name} is paused within a second: what comes then waits in the log");
        }
        (true, Transition::Resume) => println!("endpoint {name} goes on where it was paused"),
        (true, Transition::Enable) => println!(
            "endpoint {name} is enabled, from the head of the log (after seq {}); what came meanwhile is \
             sent by `tidings replay --endpoint {name} --since TIME`",
            now.cursor
        ),
        (true, Transition::Disable) => println!(
            "endpoint {name} is disabled: what comes is not for it; dead letters and what is parked stay"
        ),
    }
    Ok(())
}

const fn is_there(state: EndpointState, transition: Transition) -> bool {
    match transition {
        Transition::Pause => matches!(state, EndpointState::Paused),
        Transition::Resume | Transition::Enable => matches!(state, EndpointState::Enabled),
        Transition::Disable => matches!(state, EndpointState::Disabled),
    }
}

fn refusal(now: &StoredEndpoint) -> String {
    let name = &now.name;
    match now.state {
        EndpointState::Disabled => format!(
            "endpoint {name} is disabled: `tidings endpoints enable {name}` begins at the head of the log"
        ),
        EndpointState::Paused => format!(
            "endpoint {name} is paused: `tidings endpoints resume {name}` goes on where it was paused"
        ),
        EndpointState::Enabled => format!("endpoint {name} is enabled: try again"),
    }
}
