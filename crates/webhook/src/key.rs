//! Keys as text: `whsec_` (HMAC, version 1), `whsk_` and `whpk_` (ed25519, version 1a).

use std::fmt;
use std::str::FromStr;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, KeyPair, PublicKey, Secret, ed25519, secret};

/// Padded when written; read with or without padding, since people cut it off when they copy.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A version of the signatures of Standard Webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureVersion {
    /// HMAC-SHA256 by a secret that both sides know.
    V1,
    /// ed25519: the receiver knows a public key alone.
    V1a,
}

impl SignatureVersion {
    /// As it stands before the comma of an entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

impl fmt::Display for SignatureVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SignatureVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "v1" => Ok(Self::V1),
            "v1a" => Ok(Self::V1a),
            _ => Err(Error::InvalidKey("signatures have the version v1 or v1a")),
        }
    }
}

/// What notifications are signed with. `Debug` prints its version alone.
#[derive(Clone)]
pub enum Key {
    Hmac(Secret),
    Ed25519(KeyPair),
}

impl Key {
    /// A key of the system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] where the system has none to give.
    pub fn generate(version: SignatureVersion) -> Result<Self, Error> {
        Ok(match version {
            SignatureVersion::V1 => Self::Hmac(Secret::generate()?),
            SignatureVersion::V1a => Self::Ed25519(KeyPair::generate()?),
        })
    }

    pub fn version(&self) -> SignatureVersion {
        match self {
            Self::Hmac(_) => SignatureVersion::V1,
            Self::Ed25519(_) => SignatureVersion::V1a,
        }
    }

    /// `whsec_…` or `whsk_…`, to be shown once or stored: the only way to print a key.
    pub fn expose(&self) -> String {
        match self {
            Self::Hmac(secret) => secret.expose(),
            Self::Ed25519(pair) => pair.expose(),
        }
    }

    /// What a receiver needs and everybody may know; of a secret there is no such part.
    pub fn public(&self) -> Option<PublicKey> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(pair) => Some(pair.public()),
        }
    }
}

impl From<Secret> for Key {
    fn from(secret: Secret) -> Self {
        Self::Hmac(secret)
    }
}

impl From<KeyPair> for Key {
    fn from(pair: KeyPair) -> Self {
        Self::Ed25519(pair)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with(secret::PREFIX) {
            return text.parse().map(Self::Hmac);
        }
        if text.starts_with(ed25519::PAIR_PREFIX) {
            return text.parse().map(Self::Ed25519);
        }
        Err(Error::InvalidKey(
            "a signing key reads whsec_ (a secret) or whsk_ (an ed25519 key) and base64",
        ))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretString::deserialize(deserializer)?;
        text.expose_secret().parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted {}]", self.version())
    }
}

/// What signatures are verified with. `Debug` prints nothing of a secret.
#[derive(Clone, Debug)]
pub enum VerificationKey {
    Hmac(Secret),
    Ed25519(PublicKey),
}

impl VerificationKey {
    pub fn version(&self) -> SignatureVersion {
        match self {
            Self::Hmac(_) => SignatureVersion::V1,
            Self::Ed25519(_) => SignatureVersion::V1a,
        }
    }
}

impl From<&Key> for VerificationKey {
    fn from(key: &Key) -> Self {
        match key {
            Key::Hmac(secret) => Self::Hmac(secret.clone()),
            Key::Ed25519(pair) => Self::Ed25519(pair.public()),
        }
    }
}

impl From<Secret> for VerificationKey {
    fn from(secret: Secret) -> Self {
        Self::Hmac(secret)
    }
}

/// From `whsec_…`, `whpk_…`, or `whsk_…` of which the public part is taken.
impl FromStr for VerificationKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with(ed25519::PUBLIC_PREFIX) {
            return text.parse().map(Self::Ed25519);
        }
        if [secret::PREFIX, ed25519::PAIR_PREFIX]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            return text.parse::<Key>().map(|key| Self::from(&key));
        }
        Err(Error::InvalidKey(
            "a key to verify with reads whsec_ (a secret) or whpk_ (an ed25519 public key) and base64",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PAIR: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

    #[test]
    fn a_prefix_tells_what_a_key_is() {
        for (text, version) in [
            (SECRET, SignatureVersion::V1),
            (PAIR, SignatureVersion::V1a),
        ] {
            let key: Key = text.parse().unwrap();
            assert_eq!((key.version(), key.expose()), (version, text.to_owned()));
            let verifying: VerificationKey = text.parse().unwrap();
            assert_eq!(verifying.version(), version);
        }
        let public: VerificationKey = PUBLIC.parse().unwrap();
        assert_eq!(public.version(), SignatureVersion::V1a);
    }

    #[test]
    fn a_public_key_signs_nothing() {
        let error = PUBLIC.parse::<Key>().unwrap_err().to_string();
        assert!(error.contains("whsk_"), "{error}");
    }

    #[test]
    fn only_an_ed25519_key_has_a_public_part() {
        let pair: Key = PAIR.parse().unwrap();
        assert_eq!(pair.public().unwrap().to_string(), PUBLIC);
        assert!(SECRET.parse::<Key>().unwrap().public().is_none());
    }

    #[test]
    fn keys_of_either_version_are_generated_and_read_back() {
        for version in [SignatureVersion::V1, SignatureVersion::V1a] {
            let key = Key::generate(version).unwrap();
            let read: Key = key.expose().parse().unwrap();
            assert_eq!((read.version(), read.expose()), (version, key.expose()));
            assert_eq!(
                version.to_string().parse::<SignatureVersion>().unwrap(),
                version
            );
        }
        assert!("v2".parse::<SignatureVersion>().is_err());
    }

    #[test]
    fn no_key_shows_in_debug() {
        let printed = format!(
            "{:?} {:?} {:?}",
            SECRET.parse::<Key>().unwrap(),
            PAIR.parse::<Key>().unwrap(),
            SECRET.parse::<VerificationKey>().unwrap(),
        );
        assert!(
            !printed.contains("MfKQ") && !printed.contains("6Xb"),
            "{printed}"
        );
    }
}
