use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::failure::Failure;
use crate::{LatencySplit, RetryAfter};

/// The longest excerpt of an answer, in bytes.
const EXCERPT_BYTES_MAX: usize = 1024;

/// One request, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub outcome: Outcome,
    /// From the start to the end of the answer, or to the failure.
    pub latency: Duration,
    /// Where that time went; `None` where nothing was sent.
    pub split: Option<LatencySplit>,
    /// Who answered; `None` where nobody did.
    pub address: Option<SocketAddr>,
}

impl Attempt {
    /// One that fails before anything is sent: what was to be sent could not be put together.
    pub fn unmade(reason: &crate::Error) -> Self {
        let failure = Failure {
            kind: FailureKind::Request,
            detail: reason.to_string(),
        };
        Self {
            outcome: failure.into(),
            latency: Duration::ZERO,
            split: None,
            address: None,
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A status arrived. Redirects are not followed: they are an answer like any other.
    Answered {
        status: u16,
        /// How the body begins, for people: at most 1 KiB, without control characters.
        excerpt: String,
        retry_after: Option<RetryAfter>,
    },
    /// No status arrived.
    Failed { kind: FailureKind, detail: String },
}

impl Outcome {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::Failed { .. } => None,
        }
    }

    /// Whose fault it is where it is no success. An answer, whatever it says, is the endpoint's.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Answered { .. } => Fault::Endpoint,
            Self::Failed { kind, .. } => kind.fault(),
        }
    }
}

/// Who has to mend something before the next attempt can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The endpoint, its network, its name servers, or its settings here. Where in doubt, it is this.
    Endpoint,
    /// The machine or the network that Tidings runs in: no endpoint is to be charged for it.
    OwnNetwork,
}

/// Where a request without an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The guard refuses an address of the endpoint: nothing was sent.
    RefusedByGuard,
    /// The name has no address.
    Dns,
    /// Our resolver does not work at the moment, so nobody says whether the name has an address.
    Resolver,
    Connect,
    /// This machine has no route to the address.
    Unreachable,
    /// This machine has no file descriptor, port or memory left for a connection.
    Exhausted,
    Tls,
    /// No status within the time, whatever it was spent on.
    Timeout,
    /// The connection ended, or spoke something else than HTTP, before a status.
    Closed,
    /// The request could not be put together.
    Request,
}

impl FailureKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefusedByGuard => "refused_by_guard",
            Self::Dns => "dns",
            Self::Resolver => "resolver",
            Self::Connect => "connect",
            Self::Unreachable => "unreachable",
            Self::Exhausted => "exhausted",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Request => "request",
        }
    }

    pub const fn fault(self) -> Fault {
        match self {
            Self::Resolver | Self::Unreachable | Self::Exhausted => Fault::OwnNetwork,
            Self::RefusedByGuard
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Closed
            | Self::Request => Fault::Endpoint,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How `body` begins, fit to be stored and shown.
pub(crate) fn excerpt(body: &[u8]) -> String {
    printable(&String::from_utf8_lossy(body), EXCERPT_BYTES_MAX)
}

/// `text` without control characters, blanks of any kind as spaces, cut to `bytes_max`.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mut printable: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= bytes_max).then_some(c)
        })
        .collect();
    printable.truncate(printable.trim_end().len());
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_has_no_control_characters() {
        let excerpt = excerpt("é\0\u{1b}[31mred\r\n\tä".repeat(1000).as_bytes());
        assert!(excerpt.starts_with("é[31mred   äé[31mred"));
        assert!(excerpt.len() <= EXCERPT_BYTES_MAX && excerpt.len() > EXCERPT_BYTES_MAX - 4);
        assert!(!excerpt.contains(char::is_control));
    }

    #[test]
    fn an_excerpt_of_bytes_that_are_no_text_is_text() {
        let excerpt = excerpt(&[0xFF; 4096]);
        assert!(excerpt.len() <= EXCERPT_BYTES_MAX);
        assert!(excerpt.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
        assert_eq!(super::excerpt(b""), "");
        assert_eq!(super::excerpt(b"ok\n"), "ok");
    }
}
