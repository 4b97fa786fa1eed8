use std::fmt;
use std::str::FromStr;

use base64::Engine;
use hmac::{Hmac, KeyInit};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use crate::Error;
use crate::key::BASE64;

pub(crate) const PREFIX: &str = "whsec_";
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;
const GENERATED_BYTES: usize = 32;

const NOT_A_SECRET: Error =
    Error::InvalidKey("a webhook secret reads whsec_ and the base64 of 24 to 64 bytes");

/// The key of version 1, which both sides know: 24 to 64 bytes.
///
/// Read from `whsec_<base64>`, as [Standard Webhooks] writes it; wiped from memory when dropped;
/// printed only by [`Secret::expose`].
///
/// [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// 32 bytes of the system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] where the system has none to give.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = vec![0; GENERATED_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::Randomness)?;
        Ok(Self(bytes.into()))
    }

    /// `whsec_<base64>`, to be shown once or stored: the only way to print a secret.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(self.0.expose_secret()))
    }

    pub(crate) fn hmac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.0.expose_secret()).expect("HMAC takes a key of any length")
    }
}

impl FromStr for Secret {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NOT_A_SECRET)?;
        // The cause is dropped: it names the byte at fault and where it stands.
        let bytes: SecretSlice<u8> = BASE64.decode(encoded).map_err(|_| NOT_A_SECRET)?.into();
        if (BYTES_MIN..=BYTES_MAX).contains(&bytes.expose_secret().len()) {
            Ok(Self(bytes))
        } else {
            Err(NOT_A_SECRET)
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretString::deserialize(deserializer)?;
        text.expose_secret().parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(bytes: &[u8]) -> String {
        format!("whsec_{}", BASE64.encode(bytes))
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        for length in 0..100 {
            let parsed = written(&vec![7; length]).parse::<Secret>();
            assert_eq!(parsed.is_ok(), (24..=64).contains(&length), "{length}");
        }
    }

    #[test]
    fn text_that_is_no_secret_is_refused_without_repeating_it() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
            "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            let error = text.parse::<Secret>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("MfKQ"));
        }
    }

    #[test]
    fn debug_shows_no_byte_of_a_secret() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(format!("{:?}", [secret]), "[[redacted]]");
    }

    #[test]
    fn generated_secrets_differ_and_read_back() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        let read: Secret = one.expose().parse().unwrap();
        assert_eq!(read.expose(), one.expose());
    }

    proptest! {
        #[test]
        fn a_secret_reads_back_with_or_without_padding(
            bytes in proptest::collection::vec(any::<u8>(), 24..=64),
        ) {
            let text = written(&bytes);
            let padded: Secret = text.parse().unwrap();
            let bare: Secret = text.trim_end_matches('=').parse().unwrap();
            prop_assert_eq!(padded.expose(), text.clone());
            prop_assert_eq!(bare.expose(), text);
        }
    }
}
