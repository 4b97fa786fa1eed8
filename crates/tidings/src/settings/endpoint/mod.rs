//! An endpoint as the settings declare it.

mod secret;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use store::endpoints::{Digest, Filter, Options, Order, Rate};
use webhook::{
    Authorization, ClientCertificate, Credentials, CustomHeaders, Key, SIGNING_KEYS_MAX, SigningKey,
};

use super::flexible;
use super::rate::parse_rate;
use secret::{either, exposed};

/// Actions of a digest that says nothing of them.
pub const DIGEST_ACTIONS: u32 = 50;

/// An endpoint, read to the end.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its identity.
    pub name: String,
    pub url: String,
    pub filter: Filter,
    pub options: Options,
    pub credentials: Credentials,
    /// Nothing: as commands have left it.
    pub paused: Option<bool>,
}

/// The same as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(deserialize_with = "flexible::name")]
    name: String,
    url: String,
    secret: Option<SecretString>,
    secret_file: Option<String>,
    /// The newest first.
    #[serde(default, deserialize_with = "flexible::list")]
    secrets: Vec<SecretString>,
    #[serde(default, deserialize_with = "flexible::names")]
    types: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    projects: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    environments: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    statuses: Vec<String>,
    format: Option<String>,
    template: Option<String>,
    template_file: Option<String>,
    #[serde(default)]
    order: Order,
    in_flight: Option<u16>,
    #[serde(default, deserialize_with = "rate")]
    rate: Option<Rate>,
    digest: Option<WrittenDigest>,
    #[serde(default)]
    headers: BTreeMap<String, SecretString>,
    basic: Option<Basic>,
    bearer: Option<SecretString>,
    bearer_file: Option<String>,
    client_certificate: Option<SecretString>,
    client_certificate_file: Option<String>,
    client_key: Option<SecretString>,
    client_key_file: Option<String>,
    paused: Option<bool>,
}

/// `"5m"`, or with the number of actions.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a duration such as \"5m\", or { within = \"5m\", actions = 50 }"
)]
enum WrittenDigest {
    Within(String),
    Whole(WholeDigest),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeDigest {
    within: String,
    #[serde(default = "digest_actions")]
    actions: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Basic {
    user: String,
    password: Option<SecretString>,
    password_file: Option<String>,
}

const fn digest_actions() -> u32 {
    DIGEST_ACTIONS
}

/// `within` is a duration of whole seconds, from one second to a day.
///
/// # Errors
/// What must be written instead.
pub fn digest(within: &str, actions: u32) -> Result<Digest, String> {
    let whole = |within: &Duration| within.subsec_nanos() == 0;
    let within = flexible::parse_duration(within).filter(whole);
    let seconds = within.and_then(|within| u32::try_from(within.as_secs()).ok());
    match seconds {
        Some(seconds @ 1..=86_400) if (2..=1000).contains(&actions) => {
            Ok(Digest { seconds, actions })
        }
        _ => Err(
            "must be a duration from 1s to 24h, and 2 to 1000 actions, such as \
             { within = \"5m\", actions = 50 }"
                .to_owned(),
        ),
    }
}

impl Written {
    pub(super) fn read(&self, folder: &Path) -> anyhow::Result<Endpoint> {
        if self.name.trim().is_empty() {
            bail!("endpoints: a name is empty");
        }
        let read = || {
            Ok(Endpoint {
                name: self.name.clone(),
                url: self.url.clone(),
                filter: Filter {
                    types: self.types.clone(),
                    projects: self.projects.clone(),
                    environments: self.environments.clone(),
                    statuses: self.statuses.clone(),
                },
                options: self.options(folder)?,
                credentials: self.credentials(folder)?,
                paused: self.paused,
            })
        };
        let read: anyhow::Result<Endpoint> = read();
        read.with_context(|| format!("endpoint {}", self.name))
    }

    fn options(&self, folder: &Path) -> anyhow::Result<Options> {
        let template = match (&self.template, &self.template_file) {
            (Some(_), Some(_)) => bail!("template and template_file are both set: keep one"),
            (None, Some(file)) => {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path);
                let text = text.with_context(|| format!("template_file names {}", path.display()));
                Some(text?)
            }
            (template, None) => template.clone(),
        };
        let written = match &self.digest {
            Some(WrittenDigest::Within(within)) => Some((within, DIGEST_ACTIONS)),
            Some(WrittenDigest::Whole(whole)) => Some((&whole.within, whole.actions)),
            None => None,
        };
        let digest = written.map(|(within, actions)| digest(within, actions));
        Ok(Options {
            format: self.format.clone(),
            template,
            order: self.order,
            in_flight: self.in_flight,
            rate: self.rate,
            digest: digest
                .transpose()
                .map_err(anyhow::Error::msg)
                .context("digest")?,
        })
    }

    fn credentials(&self, folder: &Path) -> anyhow::Result<Credentials> {
        let mut credentials = Credentials::default();
        credentials.signing = self.keys(folder)?;
        let headers = self.headers.clone().into_iter();
        let headers = CustomHeaders::new(headers).context("headers")?;
        Ok(credentials
            .with_headers(headers)?
            .with_authorization(self.authorization(folder)?)?
            .with_client_certificate(self.certificate(folder)?))
    }

    fn keys(&self, folder: &Path) -> anyhow::Result<Vec<SigningKey>> {
        let one = either(
            folder,
            "secret",
            self.secret.as_ref(),
            self.secret_file.as_deref(),
        )?;
        let keys: Vec<SecretString> = match (one, self.secrets.as_slice()) {
            (Some(_), [_, ..]) => bail!("secret and secrets are both set: keep one"),
            (None, []) => bail!("secret, secret_file or secrets is needed"),
            (Some(one), []) => vec![one],
            (None, several) => several.to_vec(),
        };
        if keys.len() > SIGNING_KEYS_MAX {
            bail!(
                "secrets holds more than {SIGNING_KEYS_MAX} keys: leave out those that receivers no longer know"
            );
        }
        let key = |key: &SecretString| -> anyhow::Result<SigningKey> {
            Ok(SigningKey {
                key: exposed(key).parse::<Key>().context("secret")?,
                expires_at: None,
            })
        };
        keys.iter().map(key).collect()
    }

    fn authorization(&self, folder: &Path) -> anyhow::Result<Option<Authorization>> {
        let bearer = either(
            folder,
            "bearer",
            self.bearer.as_ref(),
            self.bearer_file.as_deref(),
        )?;
        Ok(match (&self.basic, bearer) {
            (Some(_), Some(_)) => bail!("basic and bearer are both set: keep one"),
            (Some(basic), None) => {
                let password = either(
                    folder,
                    "basic.password",
                    basic.password.as_ref(),
                    basic.password_file.as_deref(),
                )?;
                let password = password.context("basic: password or password_file is needed")?;
                let basic = Authorization::basic(basic.user.clone(), password);
                Some(basic.context("basic")?)
            }
            (None, Some(token)) => Some(Authorization::bearer(token).context("bearer")?),
            (None, None) => None,
        })
    }

    fn certificate(&self, folder: &Path) -> anyhow::Result<Option<ClientCertificate>> {
        let name = "client_certificate";
        let file = self.client_certificate_file.as_deref();
        let chain = either(folder, name, self.client_certificate.as_ref(), file)?;
        let file = self.client_key_file.as_deref();
        let key = either(folder, "client_key", self.client_key.as_ref(), file)?;
        Ok(match (chain, key) {
            (None, None) => None,
            (None, Some(_)) => bail!("client_key needs client_certificate beside it"),
            // The key may stand in the same file.
            (Some(chain), None) => Some(ClientCertificate::from_pem(chain).context(name)?),
            (Some(chain), Some(key)) => {
                let pem = format!("{}\n{}", exposed(&chain), exposed(&key));
                Some(ClientCertificate::from_pem(pem.into()).context(name)?)
            }
        })
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    let text = flexible::name(deserializer)?;
    parse_rate(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
