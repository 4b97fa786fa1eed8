use serde_json::json;
use store::endpoints::{self, Declaration, DeclaredBy, Filter, Options};
use webhook::{Credentials, Key, SignatureVersion, Vault};

use super::set_up_session;
use crate::Failure;
use crate::cli::{AddEndpoint, Endpoints};
use crate::settings::Settings;

pub async fn endpoints(settings: &Settings, arguments: &Endpoints) -> Result<(), Failure> {
    match arguments {
        Endpoints::Add(arguments) => add(settings, arguments).await,
        Endpoints::List { json } => list(settings, *json).await,
        Endpoints::Remove { name } => remove(settings, name).await,
    }
}

async fn add(settings: &Settings, arguments: &AddEndpoint) -> Result<(), Failure> {
    let refuse = |error: webhook::Error| Failure::Settings(error.into());
    if arguments.name.trim().is_empty() {
        let text = "--name is empty: the name is what `endpoints remove` and the logs call it";
        return Err(Failure::Settings(anyhow::anyhow!(text)));
    }
    webhook::validate_url(&arguments.url, &settings.webhooks.allow_networks).map_err(refuse)?;
    for pattern in &arguments.types {
        pattern.parse::<webhook::TypePattern>().map_err(refuse)?;
    }
    let secret = match &arguments.secret {
        Some(secret) => secret.parse::<Key>().map_err(refuse)?,
        None => Key::generate(SignatureVersion::V1).map_err(refuse)?,
    };
    let session = set_up_session(settings).await?;
    let filter = Filter {
        types: arguments.types.clone(),
        projects: arguments.projects.clone(),
        environments: arguments.environments.clone(),
        statuses: arguments.statuses.clone(),
    };
    let id = endpoints::new_id();
    let credentials = Vault::default()
        .seal(&Credentials::signed_by(secret.clone()), &id)
        .map_err(refuse)?;
    let secret = secret.expose();
    let declaration = Declaration {
        name: &arguments.name,
        url: &arguments.url,
        credentials: &credentials,
        filter: &filter,
        options: &Options::default(),
        origin: DeclaredBy::Command,
    };
    if !endpoints::add(&session, &id, &declaration).await? {
        return Err(Failure::Failed(anyhow::anyhow!(
            "there is an endpoint named {:?} already: choose another name, or remove it first",
            arguments.name
        )));
    }
    if arguments.json {
        println!(
            "{:#}",
            json!({"id": id, "name": arguments.name, "secret": secret})
        );
    } else {
        println!(
            "id      {id}\nsecret  {secret}\nThe secret is shown this once: keep it where the receiver verifies."
        );
    }
    Ok(())
}

async fn list(settings: &Settings, json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let stored = endpoints::list(&session).await?;
    if json {
        let list: Vec<_> = stored
            .iter()
            .map(|e| {
                json!({
                    "id": e.id, "name": e.name, "url": e.url,
                    "state": e.state.as_str(),
                    "reason": e.state_reason, "origin": e.origin.as_str(),
                    "types": e.filter.types, "projects": e.filter.projects,
                    "environments": e.filter.environments, "statuses": e.filter.statuses,
                })
            })
            .collect();
        println!("{:#}", serde_json::Value::from(list));
        return Ok(());
    }
    if stored.is_empty() {
        println!("no endpoints: add one with `tidings endpoints add --name NAME --url URL`");
    }
    for endpoint in stored {
        let state = endpoint.state.as_str();
        println!(
            "{:<20} {:<9} {}  ({})",
            endpoint.name, state, endpoint.url, endpoint.id
        );
        if let Some(reason) = endpoint.state_reason {
            println!("{:<20} {reason}", "");
        }
        for (list, values) in [
            ("types", endpoint.filter.types),
            ("projects", endpoint.filter.projects),
            ("environments", endpoint.filter.environments),
            ("statuses", endpoint.filter.statuses),
        ] {
            if !values.is_empty() {
                println!("{:<20} {list}: {}", "", values.join(", "));
            }
        }
    }
    Ok(())
}

async fn remove(settings: &Settings, name: &str) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    if endpoints::remove(&session, name).await? {
        println!("endpoint {name} and what was parked for it are gone");
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "there is no endpoint named {name:?}: `tidings endpoints list` shows them"
    )))
}
