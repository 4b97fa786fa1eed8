//! Signatures by Standard Webhooks over `id.timestamp.body`: version 1 by HMAC-SHA256, version 1a by
//! ed25519.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;
use jiff::{SignedDuration, Timestamp};

use crate::{Key, SignatureVersion, VerificationKey};

#[cfg(test)]
mod tests;

/// How far the time of an attempt may be from the receiver's clock, either way.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The value of `webhook-signature`: one entry per key, in their order, by spaces.
///
/// `timestamp` is the attempt's, in unix seconds, and stands in `webhook-timestamp`; `body` is what
/// is sent, byte for byte.
pub fn sign(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = Signed::new(id, &timestamp.to_string(), body);
    let entries = keys.iter().map(|key| {
        let signature = match key {
            Key::Hmac(secret) => STANDARD.encode(signed.hmac(secret).finalize().into_bytes()),
            Key::Ed25519(pair) => STANDARD.encode(pair.sign(&signed.0)),
        };
        format!("{},{signature}", key.version())
    });
    entries.collect::<Vec<_>>().join(" ")
}

/// Why a request is not a notification of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("no secret to verify with")]
    NoSecret,
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    #[error("webhook-timestamp is not a time in unix seconds")]
    InvalidTimestamp,
    #[error("webhook-timestamp is more than 5 minutes off")]
    TimestampOff,
    /// There are signatures, but none that the keys could have made.
    #[error("webhook-signature has no entry of the version that the keys are for")]
    OtherVersion,
    /// Of the right version, but none is whole.
    #[error("the signature is cut short, or is no base64")]
    Malformed,
    #[error("no signature matches")]
    Mismatch,
}

/// Verifies the signature headers of a received request, as a subscriber does.
///
/// One entry that any of the keys made is enough; entries of other versions are passed over.
/// Secrets' signatures are compared in constant time.
///
/// # Errors
/// The first thing that is wrong, in the order of [`VerifyError`].
pub fn verify(
    keys: &[VerificationKey],
    id: Option<&str>,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NoSecret);
    }
    let id = present(id, "webhook-id")?;
    let timestamp = present(timestamp, "webhook-timestamp")?;
    let signature = present(signature, "webhook-signature")?;
    let sent = parse_seconds(timestamp).ok_or(VerifyError::InvalidTimestamp)?;
    if now.duration_since(sent).abs() > TOLERANCE {
        return Err(VerifyError::TimestampOff);
    }
    let signed = Signed::new(id, timestamp, body);
    let mut found = VerifyError::OtherVersion;
    for entry in signature.split(' ') {
        let Some((version, signature)) = entry.split_once(',') else {
            continue;
        };
        let of_version = |key: &&VerificationKey| key.version().as_str() == version;
        for key in keys.iter().filter(of_version) {
            let signature = STANDARD.decode(signature).unwrap_or_default();
            if signed.is_signed_by(key, &signature) {
                return Ok(());
            }
            if signature.len() == signature_bytes(key.version()) {
                found = VerifyError::Mismatch;
            } else if found == VerifyError::OtherVersion {
                found = VerifyError::Malformed;
            }
        }
    }
    Err(found)
}

/// The bytes that a signature is made of.
struct Signed(Vec<u8>);

impl Signed {
    fn new(id: &str, timestamp: &str, body: &[u8]) -> Self {
        Self([id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat())
    }

    fn hmac(&self, secret: &crate::Secret) -> hmac::Hmac<sha2::Sha256> {
        secret.hmac().chain_update(&self.0)
    }

    fn is_signed_by(&self, key: &VerificationKey, signature: &[u8]) -> bool {
        match key {
            VerificationKey::Hmac(secret) => self.hmac(secret).verify_slice(signature).is_ok(),
            VerificationKey::Ed25519(public) => public.verifies(&self.0, signature),
        }
    }
}

const fn signature_bytes(version: SignatureVersion) -> usize {
    match version {
        SignatureVersion::V1 => 32,
        SignatureVersion::V1a => 64,
    }
}

fn present<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, VerifyError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(VerifyError::MissingHeader(name))
}

/// Digits only: a sign or a blank would be another text with the same meaning.
fn parse_seconds(text: &str) -> Option<Timestamp> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Timestamp::from_second(text.parse().ok()?).ok()
}
