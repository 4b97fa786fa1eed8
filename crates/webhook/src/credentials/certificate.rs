use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::refused;
use crate::Error;

/// The longest PEM, in bytes.
const PEM_BYTES_MAX: usize = 64 << 10;
const CHAIN_MAX: usize = 10;

/// Tells client certificates apart: SHA-256 over the chain and the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

#[cfg(test)]
impl Fingerprint {
    /// Another for every number.
    pub(crate) fn of_number(number: usize) -> Self {
        Self(Sha256::digest(number.to_be_bytes()).into())
    }
}

/// A certificate that we show to the endpoint, with the key that proves it to be ours.
///
/// Read and written as PEM: the certificate, those between it and its authority, and the key.
/// `Debug` prints none of it.
#[derive(Clone)]
pub struct ClientCertificate {
    pem: SecretString,
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl ClientCertificate {
    /// # Errors
    /// [`Error::InvalidCredentials`] says what the PEM lacks; it repeats nothing of it.
    pub fn from_pem(pem: SecretString) -> Result<Self, Error> {
        let text = pem.expose_secret().as_bytes();
        if text.len() > PEM_BYTES_MAX {
            return Err(refused("a client certificate's PEM has at most 64 KiB"));
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|_| refused("the client certificate is no PEM"))?;
        if !(1..=CHAIN_MAX).contains(&chain.len()) {
            return Err(refused(
                "a client certificate has a PEM section CERTIFICATE, its own first, and at most 10",
            ));
        }
        let key = key(text)?;
        let fingerprint = fingerprint(&chain, &key);
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            refused(match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the client certificate and its key do not belong together"
                }
                rustls::Error::InvalidCertificate(_) => {
                    "the first certificate of the client certificate can not be read"
                }
                _ => {
                    "the client certificate's key is of no kind that TLS takes: RSA, ECDSA, ed25519"
                }
            })
        })?;
        Ok(Self {
            pem,
            certified: Arc::new(certified),
            fingerprint,
        })
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let mut keys = PrivateKeyDer::pem_slice_iter(text);
    let key = keys
        .next()
        .and_then(Result::ok)
        .ok_or_else(|| refused(without_key(text)))?;
    match keys.next() {
        None => Ok(key),
        Some(_) => Err(refused(
            "a client certificate has one private key, not several",
        )),
    }
}

fn without_key(text: &[u8]) -> &'static str {
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY";
    if text
        .windows(encrypted.len())
        .any(|place| place == encrypted)
    {
        "the client certificate's key is encrypted: take its passphrase off (openssl pkey -in FILE)"
    } else {
        "a client certificate needs its key beside it: a PEM section PRIVATE KEY"
    }
}

fn fingerprint(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> Fingerprint {
    let parts = chain.iter().map(AsRef::as_ref).chain([key.secret_der()]);
    let hash = parts.fold(Sha256::new(), |hash, part| {
        let length = (part.len() as u64).to_be_bytes();
        hash.chain_update(length).chain_update(part)
    });
    Fingerprint(hash.finalize().into())
}

impl Serialize for ClientCertificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.pem.expose_secret())
    }
}

impl<'de> Deserialize<'de> for ClientCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pem = SecretString::deserialize(deserializer)?;
        Self::from_pem(pem).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
