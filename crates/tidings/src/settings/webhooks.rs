use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use ipnet::IpNet;
use serde::Deserialize;

use super::flexible;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    #[serde(deserialize_with = "networks")]
    pub allow_networks: Vec<IpNet>,
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
}

impl Webhooks {
    pub(super) fn check(&self) -> anyhow::Result<()> {
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
        if self.breaker_failures == 0 {
            bail!("webhooks.breaker_failures must be at least 1");
        }
        if self.breaker_cooldown_max < self.breaker_cooldown {
            bail!("webhooks.breaker_cooldown_max must be at least webhooks.breaker_cooldown");
        }
        Ok(())
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
