use std::collections::HashSet;

use anyhow::Context as _;
use store::Session;
use store::endpoints::{self, Declaration, DeclaredBy, Filter, Options};
use webhook::{Credentials, Vault};

use crate::Failure;
use crate::settings::{Endpoint, Settings};

/// Brings the stored endpoints to what the settings declare: adds, changes and removes those that
/// a settings file declared, and takes over those of the same name that a command added.
pub async fn declare(settings: &Settings, session: &Session) -> Result<(), Failure> {
    for endpoint in &settings.endpoints {
        check(endpoint, settings)
            .with_context(|| format!("endpoint {}", endpoint.name))
            .map_err(Failure::Settings)?;
    }
    let broken = |error: webhook::Error| Failure::Settings(error.into());
    let known = endpoints::list(session).await?;
    for endpoint in &settings.endpoints {
        let id = known
            .iter()
            .find(|stored| stored.name == endpoint.name)
            .map_or_else(endpoints::new_id, |stored| stored.id.clone());
        let key = endpoint.secret().parse().map_err(broken)?;
        let credentials = Vault::default()
            .seal(&Credentials::signed_by(key), &id)
            .map_err(broken)?;
        let filter = Filter {
            types: endpoint.types.clone(),
            projects: endpoint.projects.clone(),
            environments: endpoint.environments.clone(),
            statuses: endpoint.statuses.clone(),
        };
        let declaration = Declaration {
            name: &endpoint.name,
            url: &endpoint.url,
            credentials: &credentials,
            filter: &filter,
            options: &Options::default(),
            origin: DeclaredBy::Config,
        };
        if endpoints::add(session, &id, &declaration).await? {
            tracing::info!(
                endpoint.name = endpoint.name,
                "endpoint added by the settings"
            );
        } else if endpoints::redeclare(session, &declaration).await? {
            tracing::info!(
                endpoint.name = endpoint.name,
                "endpoint changed by the settings"
            );
        }
    }
    let declared: HashSet<&str> = settings.endpoints.iter().map(|e| e.name.as_str()).collect();
    for stored in endpoints::list(session).await? {
        if stored.origin == DeclaredBy::Config && !declared.contains(stored.name.as_str()) {
            endpoints::remove(session, &stored.name).await?;
            tracing::info!(
                endpoint.name = stored.name,
                "endpoint removed by the settings"
            );
        }
    }
    Ok(())
}

fn check(endpoint: &Endpoint, settings: &Settings) -> Result<(), webhook::Error> {
    webhook::validate_url(&endpoint.url, &settings.webhooks.allow_networks)?;
    for pattern in &endpoint.types {
        pattern.parse::<webhook::TypePattern>()?;
    }
    Ok(())
}
