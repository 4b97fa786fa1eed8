//! What became of deliveries.

mod list;
mod retry;
mod show;

use store::Session;

use super::endpoints::find;
use super::set_up_session;
use crate::Failure;
use crate::cli::Deliveries;
use crate::settings::Settings;

pub async fn deliveries(settings: &Settings, arguments: &Deliveries) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    match arguments {
        Deliveries::List(arguments) => list::list(&session, arguments).await,
        Deliveries::Show {
            action,
            endpoint,
            json,
        } => show::show(&session, action, endpoint.as_deref(), *json).await,
        Deliveries::Retry {
            seqs,
            endpoint,
            state,
            json,
        } => retry::retry(&session, seqs, endpoint.as_deref(), *state, *json).await,
    }
}

/// The id of the endpoint that an option names, if it names one.
async fn id_of(session: &Session, endpoint: Option<&str>) -> Result<Option<String>, Failure> {
    match endpoint {
        Some(endpoint) => Ok(Some(find(session, endpoint).await?.id)),
        None => Ok(None),
    }
}
