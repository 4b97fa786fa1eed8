use std::path::Path;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::flexible;

/// An endpoint as the settings declare it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    #[serde(deserialize_with = "flexible::name")]
    pub name: String,
    pub url: String,
    #[serde(default)]
    secret: Option<SecretString>,
    #[serde(default)]
    secret_file: Option<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    pub types: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    pub projects: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    pub environments: Vec<String>,
    #[serde(default, deserialize_with = "flexible::names")]
    pub statuses: Vec<String>,
}

impl Endpoint {
    pub(super) fn check(&mut self, folder: &Path) -> anyhow::Result<()> {
        let name = &self.name;
        if name.trim().is_empty() {
            bail!("endpoints: a name is empty");
        }
        match (&self.secret, &self.secret_file) {
            (None, None) => bail!("endpoint {name}: secret or secret_file is needed"),
            (Some(_), Some(_)) => bail!("endpoint {name}: secret and secret_file are both set"),
            (None, Some(file)) => {
                let key = format!("endpoint {name}: secret_file");
                self.secret = Some(super::read_secret(folder, &key, file)?.into());
            }
            (Some(_), None) => {}
        }
        self.secret()
            .parse::<webhook::Secret>()
            .with_context(|| format!("endpoint {name}: secret"))?;
        Ok(())
    }

    /// `whsec_…`
    pub fn secret(&self) -> &str {
        self.secret.as_ref().map_or("", ExposeSecret::expose_secret)
    }
}
