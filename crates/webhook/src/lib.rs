//! From an action to a subscriber's answer: filter, format, sign, guard, send, outcome, schedule.
//!
//! An action of the log goes in with the [`Endpoint`] it may be for; what comes out is an
//! [`Attempt`] and, from it, what is [`Next`]. This crate knows no database: who drives it decides
//! when to send and keeps what came of it.
//!
//! What must hold: no request leaves for an address that the [`Guard`] refuses; one attempt is one
//! request, over within its timeout and its limits of memory whatever the subscriber does; no
//! secret and no path of a URL appears in `Debug`, an error or an outcome.

mod client;
mod clients;
mod credentials;
mod digest;
mod ed25519;
mod endpoint;
mod error;
mod failure;
mod filter;
mod format;
mod guard;
mod key;
mod latency;
mod message;
mod notification;
mod outcome;
mod resolver;
mod retry_after;
mod sample;
mod schedule;
mod secret;
mod sender;
mod signature;
mod vault;

pub use credentials::{
    Authorization, ClientCertificate, Credentials, CustomHeaders, HEADERS_BYTES_MAX, HEADERS_MAX,
    SIGNING_KEYS_MAX, SigningKey,
};
pub use digest::Digest;
pub use ed25519::{KeyPair, PublicKey};
pub use endpoint::{Endpoint, EndpointUrl, Scheme, validate_url};
pub use error::Error;
pub use filter::{Filter, Subject, TypePattern};
pub use format::{Format, FormatContext, Payload};
pub use guard::{Guard, Passage, Refusal};
pub use key::{Key, SignatureVersion, VerificationKey};
pub use latency::LatencySplit;
pub use message::Message;
pub use notification::Notification;
pub use outcome::{Attempt, FailureKind, Fault, Outcome};
pub use retry_after::{RETRY_AFTER_MAX, RetryAfter};
pub use sample::{Sample, sample};
pub use schedule::{Next, Schedule, next};
pub use secret::Secret;
pub use sender::{RESPONSE_BYTES_MAX, Sender, SenderSettings};
pub use signature::{TOLERANCE, VerifyError, sign, verify};
pub use vault::Vault;
