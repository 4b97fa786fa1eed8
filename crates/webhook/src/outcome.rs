use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Refusal, RetryAfter};

/// The longest excerpt of an answer, in bytes.
const EXCERPT_BYTES_MAX: usize = 1024;
/// The longest detail of a failure, in bytes.
const DETAIL_BYTES_MAX: usize = 256;

/// One request, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub outcome: Outcome,
    /// From the start to the end of the answer, or to the failure.
    pub latency: Duration,
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
}

/// Where a request without an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The guard refuses an address of the endpoint: nothing was sent.
    RefusedByGuard,
    /// The name has no address, or nobody says so.
    Dns,
    Connect,
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
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure on its way to becoming an outcome.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

impl From<Failure> for Outcome {
    fn from(Failure { kind, detail }: Failure) -> Self {
        let detail = printable(&detail, DETAIL_BYTES_MAX);
        Self::Failed { kind, detail }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: FailureKind::RefusedByGuard,
            detail: refusal.to_string(),
        }
    }
}

impl From<reqwest::Error> for Failure {
    /// Takes the innermost cause for the detail: the outer ones repeat the URL.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let kind = if comes_from::<Refusal>(&error) {
            FailureKind::RefusedByGuard
        } else if error.is_builder() {
            FailureKind::Request
        } else if error.is_timeout() {
            FailureKind::Timeout
        } else if error.is_dns() {
            FailureKind::Dns
        } else if comes_from::<rustls::Error>(&error) {
            FailureKind::Tls
        } else if error.is_connect() {
            FailureKind::Connect
        } else {
            FailureKind::Closed
        };
        let cause = causes(&error).last().map(ToString::to_string);
        let cause = cause.unwrap_or_default();
        let detail = match kind {
            FailureKind::Timeout if error.is_connect() => format!("no connection: {cause}"),
            _ => cause,
        };
        Self { kind, detail }
    }
}

fn comes_from<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(<dyn StdError>::is::<E>)
}

/// The error and its causes, outermost first. An `io::Error` hides what it carries from `source`.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(carried)) => Some(carried as &(dyn StdError + 'static)),
            Some(None) | None => error.source(),
        }
    })
}

/// How `body` begins, fit to be stored and shown.
pub(crate) fn excerpt(body: &[u8]) -> String {
    printable(&String::from_utf8_lossy(body), EXCERPT_BYTES_MAX)
}

/// `text` without control characters, blanks of any kind as spaces, cut to `bytes_max`.
fn printable(text: &str, bytes_max: usize) -> String {
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

    #[test]
    fn a_cause_inside_an_io_error_is_found() {
        let tls = io::Error::other(rustls::Error::DecryptError);
        let wrapped = io::Error::other(tls);
        assert!(comes_from::<rustls::Error>(&wrapped));
        assert!(!comes_from::<Refusal>(&wrapped));
    }
}
