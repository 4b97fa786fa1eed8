use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a server could not be found, started or steered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine has no usable server binaries; the text says what to do about it.
    #[error("{0}")]
    NoBinaries(String),

    /// TIDINGS_PG_BIN or TIDINGS_PG_VERSION can't be followed.
    #[error("{0}")]
    Variable(String),

    /// Root may not run Postgres, and there is no user to run it as.
    #[error("root may not run Postgres, and there is neither a user postgres nor nobody to run it")]
    NoAccount,

    #[error("{program} ended with {status}: {output}")]
    Program {
        program: PathBuf,
        status: ExitStatus,
        output: String,
    },

    /// The server ended by itself.
    #[error("the server did not start; its log ends with:\n{log}")]
    Start { log: String },

    /// Nothing was given up: the server goes on doing what it did.
    #[error("{what} took longer than {patience:?}")]
    Deadline {
        what: &'static str,
        patience: Duration,
    },

    #[error("{path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("the scratch server refused a statement")]
    Sql(#[from] tokio_postgres::Error),
}

impl Error {
    /// For `map_err`: names the file that an I/O error is about.
    pub(crate) fn at(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { path, source }
    }
}
