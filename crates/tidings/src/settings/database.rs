use std::path::Path;

use anyhow::{Context, bail};
use connect::Target;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    url: SecretString,
    url_file: String,
    admin_url: SecretString,
    #[serde(deserialize_with = "super::flexible::name")]
    pub schema: String,
}

impl Database {
    pub(super) fn check(&mut self, folder: &Path) -> anyhow::Result<()> {
        let has_url = !self.url.expose_secret().is_empty();
        match (has_url, self.url_file.is_empty()) {
            (false, true) => bail!(
                "database.url is missing: set it in the settings file or as TIDINGS_DATABASE__URL"
            ),
            (true, false) => bail!("database.url and database.url_file are both set: leave one"),
            (false, false) => {
                self.url = super::read_secret(folder, "database.url_file", &self.url_file)?.into();
            }
            (true, true) => {}
        }
        if self.schema.is_empty() || self.schema.starts_with("pg_") {
            bail!("database.schema must be a name that does not begin with pg_");
        }
        self.target()?;
        self.admin()?;
        Ok(())
    }

    /// Whether the owner of the worker's tables is named.
    pub fn has_admin(&self) -> bool {
        !self.admin_url.expose_secret().is_empty()
    }

    /// Takes over whom another one names as owner of the worker's tables.
    pub fn renew_admin(&mut self, other: &Self) {
        self.admin_url = other.admin_url.clone();
    }

    pub fn is_same(&self, other: &Self) -> bool {
        let url = |database: &Self| database.url.expose_secret().to_owned();
        url(self) == url(other) && self.schema == other.schema
    }

    /// Where `run` connects.
    pub fn target(&self) -> anyhow::Result<Target> {
        Target::parse(self.url.expose_secret()).context("database.url")
    }

    /// Where `setup` and other commands for administrators connect: the owner of the worker's tables, or else the
    /// same as `run`.
    pub fn admin(&self) -> anyhow::Result<Target> {
        match self.admin_url.expose_secret() {
            "" => self.target(),
            url => Target::parse(url).context("database.admin_url"),
        }
    }
}
