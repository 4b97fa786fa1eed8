use std::io;
use std::time::Duration;

use crate::{Malformed, ServerError};

/// Why there is no stream any more, by what its owner does about it. No text here holds a value of
/// a row or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No session was reached. Worth a retry, unless it is the URL or a certificate.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// The connection broke. Reconnect.
    #[error("the replication connection is lost")]
    Lost(#[source] io::Error),
    /// The server said nothing for so long, though it was asked to: it stands still, or nothing comes
    /// through. Reconnect, and be more patient: a server that decodes much of which it sends nothing
    /// may be silent too.
    #[error("the server has said nothing for {} s, though it was asked to", .0.as_secs())]
    Silent(Duration),
    /// The server ended the stream in good order: it shuts down, or somebody ended the session.
    /// Reconnect.
    #[error("the server closed the replication stream")]
    Closed,
    /// The server refused something; [`ServerError::code`] says what to do.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The server wants proof that this client can not or may not give, or did not prove itself.
    #[error("authentication: {0}")]
    Authentication(String),
    /// The publication did not exist at this point of the WAL, though one of its name may exist now:
    /// the slot is older than it. Nothing past this point may be confirmed; a new slot is needed.
    #[error(
        "the publication does not exist at this point of the WAL: it was dropped, or created after \
         the slot"
    )]
    Publication(#[source] Box<ServerError>),
    /// The server said something that is not understood. Stop: what it was would be skipped.
    #[error("the replication stream is not understood")]
    Malformed(#[from] Malformed),
    /// This server can not do what was asked for.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// The server's SQLSTATE, where a server said no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            Self::Publication(_) => Some("42704"),
            Self::Connect(error) => error.code().map(connect::SqlState::code),
            Self::Lost(_)
            | Self::Closed
            | Self::Silent(_)
            | Self::Authentication(_)
            | Self::Malformed(_)
            | Self::Unsupported(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}
