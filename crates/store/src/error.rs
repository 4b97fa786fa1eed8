use tokio_postgres::error::SqlState;

/// What went wrong with a statement, told apart by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached, or did not let us in.
    #[error("no connection to the database")]
    Connect(#[source] connect::Error),
    /// Not a `#[source]`: the text of the cause has the server's `DETAIL`, which quotes rows.
    #[error("the database refused a statement: {}", summary(.0))]
    Sql(tokio_postgres::Error),
    /// Another session has taken over: nothing more may be written here.
    #[error("another sidecar has taken over (epoch {0} is over)")]
    Fenced(i64),
    #[error("the schema of the sidecar can not be brought up to date")]
    Migrate(#[source] refinery::Error),
    /// Something that an operator must do first; the text says what.
    #[error("{0}")]
    NotReady(String),
    /// A stored value that this version can not read.
    #[error("{0}")]
    Unreadable(String),
    #[error("a statement took longer than {0} s")]
    TimedOut(u64),
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Run the same transaction again soon: a lock, a serialization failure, a lack of room.
    Again,
    /// Connect anew: this connection is gone or its server is going.
    Reconnect,
    /// The data of one row is at fault: find the row and set it aside.
    RowAtFault,
    /// Nothing helps but an operator.
    Stop,
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl Error {
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            _ => None,
        }
    }

    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Connect(_) | Self::Fenced(_) | Self::TimedOut(_) => Remedy::Reconnect,
            Self::Migrate(_) | Self::NotReady(_) | Self::Unreadable(_) => Remedy::Stop,
            Self::Sql(error) => error
                .code()
                .map_or(Remedy::Reconnect, |code| remedy(code.code())),
        }
    }
}

/// By SQLSTATE class, see the Postgres manual, appendix A.
fn remedy(code: &str) -> Remedy {
    match code {
        // lock_not_available, and all of: transaction rollback, insufficient resources
        "55P03" => Remedy::Again,
        "57014" => Remedy::Again,
        "42501" | "P0001" => Remedy::RowAtFault,
        _ => match code.get(..2).unwrap_or_default() {
            "40" | "53" => Remedy::Again,
            "08" | "57" | "58" | "25" => Remedy::Reconnect,
            "22" | "23" => Remedy::RowAtFault,
            _ => Remedy::Stop,
        },
    }
}

/// The server's words without `detail` and `hint`, which quote values of rows.
fn summary(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", safe_message(db), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

/// A server's message as it may be logged: messages of the data exceptions quote the value that
/// they refuse, so those are told by condition, table and column only.
pub(crate) fn safe_message(db: &tokio_postgres::error::DbError) -> String {
    let code = db.code().code();
    let named =
        |kind: &str, name: Option<&str>| name.map(|n| format!(" {kind} {n}")).unwrap_or_default();
    if (code.starts_with("22") && code != "22001") || code == "P0001" {
        let condition = match code {
            "22003" => "a number is out of range for its column",
            "22P02" => "a value is not of its column's type",
            "P0001" => "a trigger or function raised an error",
            _ => "a value does not fit its column",
        };
        return format!("{condition}{}", named("column", db.column()));
    }
    db.message().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_error_has_its_remedy() {
        for (code, expected) in [
            ("55P03", Remedy::Again),
            ("40001", Remedy::Again),
            ("53100", Remedy::Again),
            ("57P01", Remedy::Reconnect),
            ("08006", Remedy::Reconnect),
            ("22001", Remedy::RowAtFault),
            ("23503", Remedy::RowAtFault),
            ("42501", Remedy::RowAtFault),
            ("P0001", Remedy::RowAtFault),
            ("42P01", Remedy::Stop),
        ] {
            assert_eq!(remedy(code), expected, "{code}");
        }
    }
}
