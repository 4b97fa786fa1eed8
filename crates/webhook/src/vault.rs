//! Credentials at rest.
//!
//! Sealed text reads `tidings.1.<key id>.<base64url of nonce and ciphertext>`: XChaCha20-Poly1305 with
//! a random nonce, bound to version, key id and endpoint id. Without a key it is the JSON itself.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::key::BASE64;
use crate::{Credentials, Error};

#[cfg(test)]
mod tests;

const VERSION: &str = "tidings.1.";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The longest text that is opened, in bytes: far more than the limits of credentials come to.
const STORED_BYTES_MAX: usize = 256 << 10;

/// Turns credentials into the text that is stored, and back.
///
/// The keys are those of `webhooks.encryption_keys`. Without any, nothing is sealed.
#[derive(Clone, Default)]
pub struct Vault {
    /// The first seals, each opens.
    keys: Vec<SealingKey>,
}

#[derive(Clone)]
struct SealingKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl Vault {
    /// `keys` are the base64 of 32 bytes each.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] where one is something else.
    pub fn new(keys: &[SecretString]) -> Result<Self, Error> {
        let keys = keys.iter().map(|key| key.expose_secret().parse());
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The text to store for the endpoint of this id.
    ///
    /// # Errors
    /// [`Error::Randomness`] where the system has none to give.
    pub fn seal(&self, credentials: &Credentials, endpoint_id: &str) -> Result<String, Error> {
        let json = serde_json::to_string(credentials).expect("text and times always make JSON");
        match self.keys.first() {
            Some(key) => key.seal(&Zeroizing::new(json), endpoint_id),
            None => Ok(json),
        }
    }

    /// Reads what was stored for the endpoint of this id, sealed or not.
    ///
    /// # Errors
    /// [`Error::Sealed`] where it can not be read, and why.
    pub fn open(&self, stored: &str, endpoint_id: &str) -> Result<Credentials, Error> {
        if stored.len() > STORED_BYTES_MAX {
            return Err(Error::Sealed("they are longer than 256 KiB"));
        }
        match stored.strip_prefix(VERSION) {
            Some(sealed) => read(&self.unseal(sealed, endpoint_id)?),
            None => read(stored.as_bytes()),
        }
    }

    /// Whether `stored` is as [`Vault::seal`] would write it today. Where it is not, open and seal it
    /// anew; after that the older keys are needed no more.
    pub fn is_current(&self, stored: &str) -> bool {
        let sealed_under = stored
            .strip_prefix(VERSION)
            .and_then(|sealed| sealed.split_once('.'))
            .map(|(id, _)| id);
        sealed_under == self.keys.first().map(|key| key.id.as_str())
    }

    fn unseal(&self, sealed: &str, endpoint_id: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (id, text) = sealed.split_once('.').ok_or(ALTERED)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or(Error::Sealed(if self.keys.is_empty() {
            "they are sealed, and webhooks.encryption_keys is empty: put their key there"
        } else {
            "they are sealed under a key that webhooks.encryption_keys does not hold: put it back \
             there, behind the newer ones"
        }))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ALTERED)?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_BYTES).ok_or(ALTERED)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| ALTERED)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &key.binding(endpoint_id),
        };
        let plain = key.cipher.decrypt(&nonce, payload).map_err(|_| ALTERED)?;
        Ok(Zeroizing::new(plain))
    }
}

const ALTERED: Error =
    Error::Sealed("they were altered, or sealed for another endpoint: give the endpoint new ones");

fn read(json: &[u8]) -> Result<Credentials, Error> {
    // The cause is dropped: it could quote a value.
    serde_json::from_slice(json).map_err(|_| Error::Sealed("they are not what was stored"))
}

impl SealingKey {
    fn seal(&self, json: &str, endpoint_id: &str) -> Result<String, Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(Error::Randomness)?;
        let payload = Payload {
            msg: json.as_bytes(),
            aad: &self.binding(endpoint_id),
        };
        let ciphertext = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.expect("credentials are far below the cipher's 256 GiB");
        let text = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &ciphertext].concat());
        Ok(format!("{VERSION}{}.{text}", self.id))
    }

    /// What a sealed text holds for. The version and the key's id are of fixed length.
    fn binding(&self, endpoint_id: &str) -> Vec<u8> {
        format!("{VERSION}{}.{endpoint_id}", self.id).into_bytes()
    }
}

impl FromStr for SealingKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = Error::InvalidKey(
            "a key of webhooks.encryption_keys is the base64 of 32 random bytes: \
             `openssl rand -base64 32` prints one",
        );
        let Ok(bytes) = BASE64.decode(text).map(Zeroizing::new) else {
            return Err(refused);
        };
        let Ok(key) = <&[u8; KEY_BYTES]>::try_from(bytes.as_slice()) else {
            return Err(refused);
        };
        // Tells keys apart, and tells nothing of them.
        let hash = Sha256::new_with_prefix("tidings key id ").chain_update(key);
        let id = URL_SAFE_NO_PAD.encode(&hash.finalize()[..6]);
        let cipher = XChaCha20Poly1305::new(key.into());
        Ok(Self { id, cipher })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
