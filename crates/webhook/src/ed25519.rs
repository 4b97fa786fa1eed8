//! The keys of version 1a: a pair that signs, and the part of it that receivers know.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use secrecy::zeroize::Zeroizing;

use crate::Error;
use crate::key::BASE64;

pub(crate) const PAIR_PREFIX: &str = "whsk_";
pub(crate) const PUBLIC_PREFIX: &str = "whpk_";

const NOT_A_PAIR: Error = Error::InvalidKey(
    "an ed25519 signing key reads whsk_ and the base64 of 64 bytes, the seed and the public key of it",
);
const NOT_PUBLIC: Error =
    Error::InvalidKey("an ed25519 public key reads whpk_ and the base64 of its 32 bytes");

/// An ed25519 key pair, `whsk_` and the base64 of seed and public key.
///
/// Wiped from memory when dropped; printed only by [`KeyPair::expose`].
#[derive(Clone)]
pub struct KeyPair(Box<SigningKey>);

impl KeyPair {
    /// # Errors
    /// [`Error::Randomness`] where the system has none to give.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(Error::Randomness)?;
        Ok(Self(SigningKey::from_bytes(&seed).into()))
    }

    /// `whsk_…`, to be shown once or stored: the only way to print a pair.
    pub fn expose(&self) -> String {
        let bytes = Zeroizing::new(self.0.to_keypair_bytes());
        format!("{PAIR_PREFIX}{}", BASE64.encode(bytes.as_ref()))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, signed: &[u8]) -> [u8; Signature::BYTE_SIZE] {
        self.0.sign(signed).to_bytes()
    }
}

impl FromStr for KeyPair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let encoded = text.strip_prefix(PAIR_PREFIX).ok_or(NOT_A_PAIR)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| NOT_A_PAIR)?);
        let bytes: &[u8; 64] = bytes.as_slice().try_into().map_err(|_| NOT_A_PAIR)?;
        let pair = SigningKey::from_keypair_bytes(bytes).map_err(|_| {
            Error::InvalidKey("the two halves of this whsk_ key do not belong together")
        })?;
        Ok(Self(pair.into()))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a receiver verifies version 1a with; no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Strict: of the many encodings that one signature could have, only the one that was made.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(signed, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let encoded = text.strip_prefix(PUBLIC_PREFIX).ok_or(NOT_PUBLIC)?;
        let bytes = BASE64.decode(encoded).map_err(|_| NOT_PUBLIC)?;
        let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| NOT_PUBLIC)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| NOT_PUBLIC)?;
        // Under such a key somebody else's signature may hold for any content.
        if key.is_weak() {
            return Err(NOT_PUBLIC);
        }
        Ok(Self(key))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_is_no_key_is_refused_without_repeating_it() {
        let foreign = "AAAAdCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        for text in ["", "whsk_", "whsk_6Xb/", "6Xb/", &format!("whsk_{foreign}")] {
            let error = text.parse::<KeyPair>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("cHpPea"), "{error}");
        }
        let zero = format!("whpk_{}", BASE64.encode([0; 32]));
        let long = format!("whpk_{}", BASE64.encode([1; 33]));
        for text in [
            "",
            "whpk_",
            "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
            &zero,
            &long,
        ] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn halves_of_different_pairs_are_named() {
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mixed = [one.0.to_bytes(), *other.0.verifying_key().as_bytes()].concat();
        let error = format!("whsk_{}", BASE64.encode(mixed)).parse::<KeyPair>();
        assert!(error.unwrap_err().to_string().contains("belong together"));
    }

    proptest! {
        #[test]
        fn a_pair_of_any_seed_reads_back_and_its_public_part_verifies(
            seed in any::<[u8; 32]>(), signed in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let pair = KeyPair(SigningKey::from_bytes(&seed).into());
            let read: KeyPair = pair.expose().trim_end_matches('=').parse().unwrap();
            prop_assert_eq!(read.expose(), pair.expose());
            let public: PublicKey = pair.public().to_string().parse().unwrap();
            prop_assert!(public.verifies(&signed, &read.sign(&signed)));
        }
    }
}
