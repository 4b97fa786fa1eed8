use store::endpoints::StoredEndpoint;
use webhook::{Endpoint, Error, Filter, TypePattern};

use crate::settings::Webhooks;

/// The endpoint as it can be sent to.
///
/// # Errors
/// What of it is not fit to be used, such as credentials that no key of the settings opens.
pub fn sendable(stored: &StoredEndpoint, webhooks: &Webhooks) -> Result<Endpoint, Error> {
    let types = stored.filter.types.iter().map(|pattern| pattern.parse());
    Ok(Endpoint {
        id: stored.id.clone(),
        name: stored.name.clone(),
        url: stored.url.parse()?,
        credentials: webhooks.vault().open(&stored.credentials, &stored.id)?,
        filter: Filter {
            types: types.collect::<Result<Vec<TypePattern>, Error>>()?,
            projects: stored.filter.projects.clone(),
            environments: stored.filter.environments.clone(),
            statuses: stored.filter.statuses.clone(),
        },
        format: webhooks.format(&stored.options)?,
    })
}
