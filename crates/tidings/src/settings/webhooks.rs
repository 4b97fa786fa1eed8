use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use store::endpoints::Options;
use webhook::{Format, FormatContext, SenderSettings, Vault};

use super::flexible;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    #[serde(deserialize_with = "networks")]
    pub allow_networks: Vec<IpNet>,
    /// Ports that may be sent to; empty: any.
    #[serde(deserialize_with = "flexible::list")]
    pub ports: Vec<u16>,
    #[serde(deserialize_with = "flexible::duration")]
    pub timeout: Duration,
    #[serde(deserialize_with = "flexible::durations")]
    pub retry_schedule: Vec<Duration>,
    pub endpoint_in_flight: usize,
    pub in_flight: usize,
    pub attempt_days: i32,
    /// An endpoint that has failed for so long is disabled; `None`: never.
    #[serde(deserialize_with = "flexible::duration_or_never")]
    pub disable_after: Option<Duration>,
    /// Faults one after another that open an endpoint's breaker.
    pub breaker_failures: u32,
    /// For how long it is open the first time.
    #[serde(deserialize_with = "flexible::duration")]
    pub breaker_cooldown: Duration,
    /// Each time doubles that, up to this.
    #[serde(deserialize_with = "flexible::duration")]
    pub breaker_cooldown_max: Duration,
    /// For how long the key before goes on signing beside a new one; `None`: it ends at once.
    #[serde(deserialize_with = "flexible::duration_or_never")]
    pub secret_overlap: Option<Duration>,
    #[serde(deserialize_with = "flexible::list")]
    encryption_keys: Vec<SecretString>,
    encryption_keys_file: String,
    /// Where a person reads about an action: a template of format `thin`; empty: no link.
    pub link: String,
    /// Attempts a second of a replay that names no rate; 0: as the endpoint's limits say.
    pub replay_per_second: u32,
    /// Of the encryption keys.
    #[serde(skip)]
    vault: Vault,
}

impl Webhooks {
    pub(super) fn check(&mut self, folder: &Path) -> anyhow::Result<()> {
        if self.timeout > Duration::from_secs(300) {
            bail!("webhooks.timeout must be at most 5m");
        }
        if self.endpoint_in_flight < 2 || self.in_flight / 4 < self.endpoint_in_flight {
            bail!(
                "webhooks.endpoint_in_flight must be at least 2 (retries and first attempts each keep \
                 one), and webhooks.in_flight at least four times as much"
            );
        }
        if !(1..=3650).contains(&self.attempt_days) {
            bail!("webhooks.attempt_days must be between 1 and 3650");
        }
        if self.ports.contains(&0) {
            bail!("webhooks.ports: nobody can listen on port 0");
        }
        if self.breaker_failures == 0 {
            bail!("webhooks.breaker_failures must be at least 1");
        }
        if self.breaker_cooldown_max < self.breaker_cooldown {
            bail!("webhooks.breaker_cooldown_max must be at least webhooks.breaker_cooldown");
        }
        if i32::try_from(self.replay_per_second).is_err() {
            bail!("webhooks.replay_per_second must be at most 2147483647; 0 sets no limit");
        }
        self.format(&Options::default()).context("webhooks.link")?;
        self.fill_vault(folder)
    }

    fn fill_vault(&mut self, folder: &Path) -> anyhow::Result<()> {
        let key = "webhooks.encryption_keys";
        if !self.encryption_keys_file.is_empty() {
            if !self.encryption_keys.is_empty() {
                bail!("{key} and {key}_file are both set: keep one");
            }
            let file = format!("{key}_file");
            let text = super::read_secret(folder, &file, &self.encryption_keys_file)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            self.encryption_keys = lines.map(SecretString::from).collect();
            if self.encryption_keys.is_empty() {
                bail!("{key}_file names a file without a key: write one a line, the newest first");
            }
        }
        self.vault = Vault::new(&self.encryption_keys).context(key)?;
        Ok(())
    }

    /// What a sender of these settings goes by.
    pub fn sender(&self) -> SenderSettings {
        SenderSettings {
            timeout: self.timeout,
            allow_networks: self.allow_networks.clone(),
            ports: self.ports.clone(),
            schemes: Vec::new(),
            idle_connections: self.in_flight,
            user_agent: concat!("tidings/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The format that these options ask for.
    ///
    /// # Errors
    /// What is wrong with its name, its template or `webhooks.link`.
    pub fn format(&self, options: &Options) -> Result<Format, webhook::Error> {
        let link = Some(self.link.as_str()).filter(|link| !link.is_empty());
        let name = options.format.as_deref().unwrap_or("full");
        Format::in_context(
            name,
            options.template.as_deref(),
            &FormatContext::new(link)?,
        )
    }

    /// Seals and opens what endpoints sign and authorize with.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// For how long the key before goes on signing beside a new one.
    pub fn overlap(&self) -> SignedDuration {
        let overlap = self.secret_overlap.unwrap_or_default();
        SignedDuration::try_from(overlap).unwrap_or(SignedDuration::MAX)
    }

    /// Whether these are the same settings, keys included.
    pub fn is_same(&self, other: &Self) -> bool {
        let keys = |webhooks: &Self| -> Vec<String> {
            let keys = webhooks.encryption_keys.iter();
            keys.map(|key| key.expose_secret().to_owned()).collect()
        };
        format!("{self:?}") == format!("{other:?}") && keys(self) == keys(other)
    }
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let refuse = || {
        serde::de::Error::custom("must be networks such as [\"10.0.0.0/8\"] or single addresses")
    };
    let network = |text: &String| {
        let network = text.parse::<IpNet>().ok();
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        network.or_else(address).ok_or_else(refuse)
    };
    flexible::names(deserializer)?.iter().map(network).collect()
}
