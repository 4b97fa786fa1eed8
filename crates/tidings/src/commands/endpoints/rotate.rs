use anyhow::{Context as _, anyhow};
use jiff::{SignedDuration, Timestamp};
use store::endpoints;

use super::add::{key, tell};
use super::{changed_meanwhile, find, refuse_declared};
use crate::Failure;
use crate::cli::RotateSecret;
use crate::commands::set_up_session;
use crate::settings::{Settings, parse_duration};

pub async fn rotate(settings: &Settings, arguments: &RotateSecret) -> Result<(), Failure> {
    let overlap = match &arguments.overlap {
        Some(text) => overlap(text).map_err(Failure::Settings)?,
        None => settings.webhooks.overlap(),
    };
    let key = key(
        arguments.secret.as_deref(),
        arguments.secret_file.as_deref(),
        arguments.ed25519,
    )
    .map_err(Failure::Settings)?;
    let session = set_up_session(settings).await?;
    let stored = find(&session, &arguments.endpoint).await?;
    let instead = "put the new key in front of the old one in its `secrets`, and take the old one out \
                   once receivers know the new one,";
    refuse_declared(&stored, instead)?;
    let vault = settings.webhooks.vault();
    let opened = vault.open(&stored.credentials, &stored.id);
    let credentials = opened.map_err(|error| Failure::Settings(error.into()))?;
    // To the second: people read it.
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let rotated = credentials.rotate(key.clone(), overlap, now);
    let rotated = rotated.map_err(|error| Failure::Failed(error.into()))?;
    let sealed = vault.seal(&rotated, &stored.id);
    let sealed = sealed.map_err(|error| Failure::Failed(error.into()))?;
    if !endpoints::store_credentials(&session, &stored.id, stored.revision, &sealed).await? {
        return Err(changed_meanwhile(&stored.name));
    }
    tell(&stored.id, &stored.name, &key, arguments.json);
    if !arguments.json {
        let until = rotated.signing.get(1).and_then(|before| before.expires_at);
        match until {
            Some(until) => println!("the key before signs beside it until {until}"),
            None => println!("no key before signs beside it"),
        }
    }
    Ok(())
}

fn overlap(text: &str) -> anyhow::Result<SignedDuration> {
    if text == "0s" || text == "never" {
        return Ok(SignedDuration::ZERO);
    }
    let overlap = parse_duration(text);
    let overlap = overlap.context("--overlap must be a duration such as 24h, or 0s for none")?;
    SignedDuration::try_from(overlap).map_err(|_| anyhow!("--overlap is longer than time lasts"))
}
