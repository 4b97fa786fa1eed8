//! Why a request has no answer, worked out from the client's error.

use std::error::Error as StdError;
use std::io;

use dns_lookup::{LookupError, LookupErrorKind};
use rustix::io::Errno;

use crate::outcome::printable;
use crate::{FailureKind, Outcome, Refusal};

#[cfg(test)]
mod tests;

/// The longest detail of a failure, in bytes.
const DETAIL_BYTES_MAX: usize = 256;

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

/// Nothing was sent: the endpoint's own settings make no request.
impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self {
            kind: FailureKind::Request,
            detail: error.to_string(),
        }
    }
}

impl From<reqwest::Error> for Failure {
    /// Takes the innermost cause for the detail: the outer ones repeat the URL.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let kind = if find::<Refusal>(&error).is_some() {
            FailureKind::RefusedByGuard
        } else if error.is_builder() {
            FailureKind::Request
        } else if error.is_timeout() {
            FailureKind::Timeout
        } else if let Some(failure) = find::<LookupFailure>(&error) {
            failure.kind
        } else if error.is_dns() {
            FailureKind::Dns
        } else if find::<rustls::Error>(&error).is_some() {
            FailureKind::Tls
        } else if error.is_connect() {
            causes(&error)
                .filter_map(|cause| Errno::from_io_error(cause.downcast_ref()?))
                .last()
                .map_or(FailureKind::Connect, of_connecting)
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

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct LookupFailure {
    kind: FailureKind,
    cause: io::Error,
}

impl From<LookupError> for LookupFailure {
    fn from(error: LookupError) -> Self {
        let kind = error.kind();
        let cause = io::Error::from(error);
        let kind = of_lookup(kind, Errno::from_io_error(&cause));
        Self { kind, cause }
    }
}

/// Which failure a lookup's error is; `errno` is the system's, where it gave one.
///
/// Only what says that our resolver itself did not work is our network's: that a name does not exist
/// is the endpoint's fault, and so is whatever the name's own servers refuse.
fn of_lookup(kind: LookupErrorKind, errno: Option<Errno>) -> FailureKind {
    match kind {
        LookupErrorKind::Again => FailureKind::Resolver,
        LookupErrorKind::Memory => FailureKind::Exhausted,
        LookupErrorKind::System => match errno {
            Some(errno) if is_exhaustion(errno) => FailureKind::Exhausted,
            Some(_) | None => FailureKind::Resolver,
        },
        _ => FailureKind::Dns,
    }
}

/// Which failure an error of `socket` or `connect` is.
///
/// `EHOSTUNREACH` stays with the endpoint: a host that is down looks like this in its own network, and
/// a failure that is never charged would be tried for ever.
fn of_connecting(errno: Errno) -> FailureKind {
    match errno {
        Errno::NETUNREACH | Errno::NETDOWN => FailureKind::Unreachable,
        _ if is_exhaustion(errno) => FailureKind::Exhausted,
        _ => FailureKind::Connect,
    }
}

/// Whether this machine has no descriptor, port or memory left for a socket.
fn is_exhaustion(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM
    )
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
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
