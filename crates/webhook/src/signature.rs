//! Signatures by Standard Webhooks, version 1: HMAC-SHA256 over `id.timestamp.body`.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use crate::Secret;

#[cfg(test)]
mod tests;

const VERSION: &str = "v1,";

/// How far the time of an attempt may be from the receiver's clock, either way.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The value of `webhook-signature`: one `v1` entry per secret, in their order, by spaces.
///
/// `timestamp` is the attempt's, in unix seconds, and stands in `webhook-timestamp`; `body` is what
/// is sent, byte for byte.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let entries: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mac = mac(secret, id, &timestamp, body).finalize().into_bytes();
            format!("{VERSION}{}", STANDARD.encode(mac))
        })
        .collect();
    entries.join(" ")
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
    #[error("no v1 signature matches")]
    Mismatch,
}

/// Verifies the signature headers of a received request, as a subscriber does.
///
/// One `v1` entry that any of the secrets made is enough; entries of other versions are passed
/// over. Signatures are compared in constant time.
///
/// # Errors
/// The first thing that is wrong, in the order of [`VerifyError`].
pub fn verify(
    secrets: &[Secret],
    id: Option<&str>,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NoSecret);
    }
    let id = present(id, "webhook-id")?;
    let timestamp = present(timestamp, "webhook-timestamp")?;
    let signature = present(signature, "webhook-signature")?;
    let sent = parse_seconds(timestamp).ok_or(VerifyError::InvalidTimestamp)?;
    if now.duration_since(sent).abs() > TOLERANCE {
        return Err(VerifyError::TimestampOff);
    }
    let received: Vec<Vec<u8>> = signature
        .split(' ')
        .filter_map(|entry| STANDARD.decode(entry.strip_prefix(VERSION)?).ok())
        .collect();
    let matches = secrets.iter().any(|secret| {
        let mac = mac(secret, id, timestamp, body);
        received
            .iter()
            .any(|received| mac.clone().verify_slice(received).is_ok())
    });
    if matches {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

fn mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    secret
        .hmac()
        .chain_update(id)
        .chain_update(b".")
        .chain_update(timestamp)
        .chain_update(b".")
        .chain_update(body)
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
