//! What an endpoint's requests are signed and authorized with.

mod authorization;
mod certificate;
mod headers;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use authorization::Authorization;
pub use certificate::ClientCertificate;
pub(crate) use certificate::Fingerprint;
pub use headers::{CustomHeaders, HEADERS_BYTES_MAX, HEADERS_MAX};

use crate::{Error, Key};

/// How many keys may sign at a time, one for each rotation that overlaps with the next.
pub const SIGNING_KEYS_MAX: usize = 5;

/// Everything secret of an endpoint but its URL. Serialized only to be stored, through a
/// [`Vault`](crate::Vault); `Debug` prints none of it.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(try_from = "Unchecked")]
pub struct Credentials {
    /// The newest first. Each that has not expired signs every notification.
    pub signing: Vec<SigningKey>,
    #[serde(skip_serializing_if = "CustomHeaders::is_empty")]
    headers: CustomHeaders,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<ClientCertificate>,
}

/// A key that signs until it expires.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    pub key: Key,
    /// Set once another key has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl SigningKey {
    fn is_current(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

impl Credentials {
    pub fn signed_by(key: Key) -> Self {
        let signing = vec![SigningKey {
            key,
            expires_at: None,
        }];
        Self {
            signing,
            ..Self::default()
        }
    }

    /// The same with these headers on every request, instead of those before.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] where one is `authorization` and there is an authorization beside.
    pub fn with_headers(self, headers: CustomHeaders) -> Result<Self, Error> {
        Self { headers, ..self }.checked()
    }

    /// The same, authorized by this.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] where there is a custom header `authorization` beside it.
    pub fn with_authorization(self, authorization: Option<Authorization>) -> Result<Self, Error> {
        Self {
            authorization,
            ..self
        }
        .checked()
    }

    /// The same, shown in TLS. Over plain http nobody sees a certificate.
    #[must_use]
    pub fn with_client_certificate(self, client_certificate: Option<ClientCertificate>) -> Self {
        Self {
            client_certificate,
            ..self
        }
    }

    pub fn headers(&self) -> &CustomHeaders {
        &self.headers
    }

    pub fn authorization(&self) -> Option<&Authorization> {
        self.authorization.as_ref()
    }

    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }

    /// The keys that sign at this moment.
    pub fn keys(&self, now: Timestamp) -> Vec<Key> {
        let current = self.signing.iter().filter(|key| key.is_current(now));
        current.map(|signing| signing.key.clone()).collect()
    }

    /// The same, signed by `key` from now on.
    ///
    /// The keys so far go on signing beside it for `overlap`, so that receivers have this long to
    /// learn the new one; a key that was to end earlier still does. Expired ones are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] where the key signs already, or [`SIGNING_KEYS_MAX`] would be
    /// passed.
    pub fn rotate(self, key: Key, overlap: SignedDuration, now: Timestamp) -> Result<Self, Error> {
        let end = now
            .checked_add(overlap.max(SignedDuration::ZERO))
            .map_err(|_| refused("the overlap of a rotation ends after the year 9999"))?;
        let exposed = key.expose();
        if self.keys(now).iter().any(|known| known.expose() == exposed) {
            return Err(refused("this key signs already: rotate to another one"));
        }
        let before = self.signing.into_iter().map(|signing| SigningKey {
            expires_at: Some(signing.expires_at.map_or(end, |earlier| earlier.min(end))),
            ..signing
        });
        let newest = SigningKey {
            key,
            expires_at: None,
        };
        let signing: Vec<SigningKey> = std::iter::once(newest)
            .chain(before)
            .filter(|signing| signing.is_current(now))
            .collect();
        if signing.len() > SIGNING_KEYS_MAX {
            return Err(Error::InvalidCredentials(format!(
                "{SIGNING_KEYS_MAX} keys sign already: wait until one of them expires, or rotate \
                 without overlap to end them all now"
            )));
        }
        Ok(Self { signing, ..self })
    }

    fn checked(self) -> Result<Self, Error> {
        if self.authorization.is_some() && self.headers.contains("authorization") {
            return Err(refused(
                "the custom header authorization and an authorization exclude each other: keep one",
            ));
        }
        Ok(self)
    }
}

fn refused(text: &str) -> Error {
    Error::InvalidCredentials(text.to_owned())
}

/// As stored, before what excludes what is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    signing: Vec<SigningKey>,
    #[serde(default)]
    headers: CustomHeaders,
    #[serde(default)]
    authorization: Option<Authorization>,
    #[serde(default)]
    client_certificate: Option<ClientCertificate>,
}

impl TryFrom<Unchecked> for Credentials {
    type Error = Error;

    fn try_from(stored: Unchecked) -> Result<Self, Error> {
        Self {
            signing: stored.signing,
            headers: stored.headers,
            authorization: stored.authorization,
            client_certificate: stored.client_certificate,
        }
        .checked()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
