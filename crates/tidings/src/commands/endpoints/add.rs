use anyhow::anyhow;
use secrecy::ExposeSecret as _;
use serde_json::json;
use store::endpoints::{self, Declaration, DeclaredBy, Filter, Options, Transition};
use webhook::{Credentials, Key, SignatureVersion};

use super::described::public;
use super::draft::Draft;
use super::{challenge, source};
use crate::Failure;
use crate::cli::AddEndpoint;
use crate::commands::set_up_session;
use crate::settings::Settings;

pub async fn add(settings: &Settings, arguments: &AddEndpoint) -> Result<(), Failure> {
    if arguments.name.trim().is_empty() {
        let text = "--name is empty: the name is what the other commands and the logs call it";
        return Err(Failure::Settings(anyhow!(text)));
    }
    let key = key(
        arguments.secret.as_deref(),
        arguments.secret_file.as_deref(),
        arguments.ed25519,
    )
    .map_err(Failure::Settings)?;
    let draft = Draft {
        url: arguments.url.clone(),
        filter: Filter::default(),
        options: Options::default(),
        credentials: Credentials::signed_by(key.clone()),
    };
    let draft = draft.wish(&arguments.wishes).map_err(Failure::Settings)?;
    draft.check(&settings.webhooks).map_err(Failure::Settings)?;
    let mut session = set_up_session(settings).await?;
    let taken = || {
        Failure::Failed(anyhow!(
            "there is an endpoint named {:?} already: choose another name, or remove it first",
            arguments.name
        ))
    };
    let by_name = endpoints::find(&session, &arguments.name).await?;
    if by_name.is_some_and(|stored| stored.name == arguments.name) {
        return Err(taken());
    }
    let id = endpoints::new_id();
    if arguments.wishes.verify {
        challenge::pass(settings, &id, &arguments.name, &draft).await?;
    }
    let sealed = settings.webhooks.vault().seal(&draft.credentials, &id);
    let sealed = sealed.map_err(|error| Failure::Failed(error.into()))?;
    let declaration = Declaration {
        name: &arguments.name,
        url: &draft.url,
        credentials: &sealed,
        filter: &draft.filter,
        options: &draft.options,
        origin: DeclaredBy::Command,
    };
    let change = endpoints::Change::Add {
        id: &id,
        declaration,
        paused: false,
    };
    if !endpoints::apply(&mut session, &[change]).await? {
        return Err(taken());
    }
    if arguments.paused {
        let reason = Some("paused by a command");
        endpoints::transit(&mut session, &id, Transition::Pause, reason).await?;
    }
    tell(&id, &arguments.name, &key, arguments.json);
    Ok(())
}

/// The key that was given, or a new one.
pub fn key(
    given: Option<&str>,
    file: Option<&std::path::Path>,
    ed25519: bool,
) -> anyhow::Result<Key> {
    Ok(match (given, file) {
        (Some(text), _) => text.parse()?,
        (None, Some(path)) => source::file("--secret-file", path)?
            .expose_secret()
            .parse()?,
        (None, None) if ed25519 => Key::generate(SignatureVersion::V1a)?,
        (None, None) => Key::generate(SignatureVersion::V1)?,
    })
}

/// The one time that a key is shown.
pub fn tell(id: &str, name: &str, key: &Key, json: bool) {
    let (secret, public) = (key.expose(), public(key));
    if json {
        let mut told = json!({"id": id, "name": name, "secret": secret});
        if let Some(public) = public {
            told["public_key"] = public.into();
        }
        println!("{told:#}");
        return;
    }
    println!("id      {id}\nsecret  {secret}");
    match public {
        Some(public) => println!(
            "public  {public}\nReceivers verify with the public key. The secret is shown this once."
        ),
        None => println!("The secret is shown this once: keep it where the receiver verifies."),
    }
}
