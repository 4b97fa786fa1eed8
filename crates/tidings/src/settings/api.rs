use std::net::SocketAddr;

use serde::{Deserialize, Deserializer};

use super::flexible;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = flexible::name(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom("must be an address and port such as \"127.0.0.1:9464\"")
    })
}
