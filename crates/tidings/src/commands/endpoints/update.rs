use anyhow::anyhow;
use serde_json::json;
use store::endpoints::{self, Change, Declaration, DeclaredBy, EndpointState};
use webhook::CustomHeaders;

use super::draft::Draft;
use super::{challenge, changed_meanwhile, find, refuse_declared};
use crate::Failure;
use crate::cli::UpdateEndpoint;
use crate::commands::set_up_session;
use crate::settings::Settings;

pub async fn update(settings: &Settings, arguments: &UpdateEndpoint) -> Result<(), Failure> {
    let mut session = set_up_session(settings).await?;
    let stored = find(&session, &arguments.endpoint).await?;
    refuse_declared(&stored, "change it")?;
    let vault = settings.webhooks.vault();
    let opened = vault.open(&stored.credentials, &stored.id);
    let credentials = opened.map_err(|error| Failure::Settings(error.into()))?;
    let before = json!(credentials);
    let draft = Draft {
        url: arguments.url.clone().unwrap_or_else(|| stored.url.clone()),
        filter: stored.filter.clone(),
        options: stored.options.clone(),
        credentials,
    };
    let draft = without(draft, arguments)
        .and_then(|draft| draft.wish(&arguments.wishes))
        .map_err(Failure::Settings)?;
    draft.check(&settings.webhooks).map_err(Failure::Settings)?;
    if arguments.wishes.verify {
        challenge::pass(settings, &stored.id, &stored.name, &draft).await?;
    }
    let same_credentials = json!(draft.credentials) == before;
    if draft.url == stored.url
        && draft.filter == stored.filter
        && draft.options == stored.options
        && same_credentials
    {
        return Err(Failure::Settings(anyhow!(
            "nothing would change of endpoint {}: name what is to be otherwise, such as --url or --types",
            stored.name
        )));
    }
    let sealed = vault.seal(&draft.credentials, &stored.id);
    let sealed = sealed.map_err(|error| Failure::Failed(error.into()))?;
    let change = Change::Redeclare {
        id: &stored.id,
        revision: stored.revision,
        declaration: Declaration {
            name: &stored.name,
            url: &draft.url,
            credentials: &sealed,
            filter: &draft.filter,
            options: &draft.options,
            origin: DeclaredBy::Command,
        },
        transition: None,
    };
    if !endpoints::apply(&mut session, &[change]).await? {
        return Err(changed_meanwhile(&stored.name));
    }
    let updated = find(&session, &stored.id).await?;
    if arguments.json {
        println!("{:#}", super::described::described(&updated));
        return Ok(());
    }
    println!(
        "endpoint {} is changed, from its next attempt on",
        stored.name
    );
    if updated.state == EndpointState::Disabled {
        println!("it is disabled: `tidings endpoints enable {}`", stored.name);
    }
    Ok(())
}

fn without(draft: Draft, arguments: &UpdateEndpoint) -> anyhow::Result<Draft> {
    let mut credentials = draft.credentials;
    if arguments.no_headers {
        credentials = credentials.with_headers(CustomHeaders::new([])?)?;
    }
    if arguments.no_authorization {
        credentials = credentials.with_authorization(None)?;
    }
    if arguments.no_client_certificate {
        credentials = credentials.with_client_certificate(None);
    }
    Ok(Draft {
        credentials,
        ..draft
    })
}
