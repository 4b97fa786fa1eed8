use std::io;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::{Host, SessionAttrs};

/// Why there is no connection. No text here holds a password or a value of the URL's query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL can not be used as it is; no connection was tried.
    #[error("database URL: {0}")]
    Url(String),
    /// No session could be reached at this address, or it was lost while it began. Worth a retry.
    #[error("{host} is unreachable")]
    Unreachable { host: String, source: io::Error },
    /// The handshake failed: a certificate that `sslmode` does not accept, or no TLS at all.
    #[error("TLS with {host}")]
    Tls { host: String, source: io::Error },
    /// A file that the URL names (`sslrootcert`, `sslcert`, `sslkey`), or the system's roots.
    #[error("{}", path.display())]
    Certificates { path: PathBuf, source: io::Error },
    /// The server, or the authentication, refused the session; [`Error::code`] says why.
    #[error("{host} refused the connection")]
    Refused {
        host: String,
        source: tokio_postgres::Error,
    },
    /// A session was given, but not one of the kind that the URL asks for.
    #[error("{host} is not {wanted}, which target_session_attrs asks for")]
    WrongSession { host: String, wanted: SessionAttrs },
    /// Sessions that belong together were given by two servers. Worth a retry.
    #[error(
        "two servers of the URL answered, one after the other: what is read at one says nothing of the other"
    )]
    Elsewhere,
    /// The server takes writes on a timeline that its cluster has left.
    #[error(
        "{host} is on timeline {timeline}, and {at} is on timeline {newest} of the same cluster: a standby was \
         promoted there, and this is a primary from before that. Stop it, or make it a standby of the \
         promoted one (pg_rewind). If its state is the one that counts, restart `tidings run`"
    )]
    Overtaken {
        host: String,
        timeline: u32,
        newest: u32,
        at: String,
    },
}

impl Error {
    pub(crate) fn url(problem: impl Into<String>) -> Self {
        Self::Url(problem.into())
    }

    pub(crate) fn unreachable(host: &Host, source: io::Error) -> Self {
        let host = host.to_string();
        Self::Unreachable { host, source }
    }

    pub(crate) fn tls(host: &Host, source: io::Error) -> Self {
        let host = host.to_string();
        Self::Tls { host, source }
    }

    pub(crate) fn session(host: &Host, source: tokio_postgres::Error) -> Self {
        if source.is_closed() {
            return Self::unreachable(host, io::ErrorKind::ConnectionReset.into());
        }
        let host = host.to_string();
        let io = std::error::Error::source(&source)
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .filter(|_| source.as_db_error().is_none())
            .map(io::Error::kind);
        match io {
            Some(kind) if is_lost(kind) => Self::Unreachable {
                host,
                source: io::Error::new(kind, source),
            },
            _ => Self::Refused { host, source },
        }
    }

    /// The server's SQLSTATE, where a server said no.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Refused { source, .. } => source.code(),
            Self::Url(_)
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Certificates { .. }
            | Self::WrongSession { .. }
            | Self::Elsewhere
            | Self::Overtaken { .. } => None,
        }
    }

    /// How much this says about what to mend, where several hosts failed for several reasons.
    fn weight(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 0,
            Self::WrongSession { .. } | Self::Elsewhere => 1,
            Self::Refused { .. } => 2,
            Self::Tls { .. }
            | Self::Certificates { .. }
            | Self::Url(_)
            | Self::Overtaken { .. } => 3,
        }
    }

    /// Of two failures of one attempt the one that says more; the later one where they say as much.
    #[must_use]
    pub fn or_weightier(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if earlier.weight() > self.weight() => earlier,
            _ => self,
        }
    }
}

/// Whether a connection broke, as opposed to a peer that said something unexpected.
fn is_lost(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::TimedOut
            | Kind::UnexpectedEof
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}
