use store::Remedy;

/// Why a session of capture ended, by what happens next.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Goes away by itself: reconnect soon.
    #[error("{0}")]
    Passing(String),
    /// Nothing moves until somebody acts. The text says what is wrong and what mends it.
    #[error("{0}")]
    Operator(String),
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        let text = crate::failure::chain(&error);
        match error.remedy() {
            Remedy::Again | Remedy::Reconnect if !refused_for_good(&error) => Self::Passing(text),
            Remedy::Again | Remedy::Reconnect | Remedy::RowAtFault | Remedy::Stop => {
                Self::Operator(text)
            }
        }
    }
}

/// Authentication and a database that does not exist: trying again soon would not help.
fn refused_for_good(error: &store::Error) -> bool {
    let store::Error::Connect(error) = error else {
        return false;
    };
    let code = error
        .code()
        .map(connect::SqlState::code)
        .unwrap_or_default();
    code.starts_with("28") || code.starts_with("3D") || matches!(error, connect::Error::Url(_))
}

impl From<wal::Error> for Fault {
    fn from(error: wal::Error) -> Self {
        let text = crate::failure::chain(&error);
        match &error {
            // One that is gone or was made anew is named by the guard, and a new slot made.
            wal::Error::Publication(_) => Self::Passing(format!(
                "{text}. Nothing past this point is confirmed. If the slot is older than its publication, \
                 `tidings setup --new-slot` makes a new one and goes on from now"
            )),
            wal::Error::Malformed(_)
            | wal::Error::Authentication(_)
            | wal::Error::Unsupported(_) => Self::Operator(text),
            wal::Error::Server(server) if needs_operator(&server.code) => Self::Operator(text),
            wal::Error::Connect(connect)
                if connect.code().is_some_and(|c| needs_operator(c.code())) =>
            {
                Self::Operator(text)
            }
            _ => Self::Passing(text),
        }
    }
}

/// Of the server's answers on a replication connection: authentication, no such database, privilege. A slot
/// that is gone or can not be read any more is judged at the next beginning.
fn needs_operator(code: &str) -> bool {
    code.starts_with("28") || code.starts_with("3D") || code == "42501"
}
