//! What an endpoint's requests are signed and authorized with.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Everything secret of an endpoint but its URL. Serialized only to be stored, through a
/// [`Vault`](crate::Vault); `Debug` prints none of it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The newest first. Each that has not expired signs every notification.
    pub signing: Vec<SigningKey>,
}

/// A key that signs until it expires.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    pub key: Secret,
    /// Set once another key has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Credentials {
    pub fn signed_by(key: Secret) -> Self {
        let signing = vec![SigningKey {
            key,
            expires_at: None,
        }];
        Self { signing }
    }

    /// The keys that sign at this moment.
    pub fn keys(&self, now: Timestamp) -> Vec<Secret> {
        let current = self
            .signing
            .iter()
            .filter(|signing| signing.expires_at.is_none_or(|end| now < end));
        current.map(|signing| signing.key.clone()).collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
