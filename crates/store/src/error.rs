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
    /// Whether another transaction held a row for too long that the statement needed: a parent, or what
    /// a trigger writes.
    pub fn is_locked_row(&self) -> bool {
        let db = match self {
            Self::Sql(error) => error.as_db_error(),
            _ => None,
        };
        db.is_some_and(|db| {
            *db.code() == SqlState::LOCK_NOT_AVAILABLE && db.where_().is_some_and(names_a_row)
        })
    }

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
            Self::Sql(error) => match (error.code(), error.as_db_error()) {
                (None, _) => Remedy::Reconnect,
                (Some(code), Some(db)) if is_of_a_row(code.code(), db.routine(), db.where_()) => {
                    Remedy::RowAtFault
                }
                (Some(code), _) => remedy(code.code()),
            },
        }
    }
}

/// Whether the wait that was given up was for a row, which the context names by its place in a table, and
/// not for a table: the words around it may be in any language.
fn names_a_row(context: &str) -> bool {
    context.match_indices('(').any(|(at, _)| {
        let inner = context[at + 1..].split(')').next().unwrap_or_default();
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        matches!(inner.split_once(','), Some((block, line)) if number(block) && number(line))
    })
}

/// Whether a refusal is about one row, beyond what its class says: a trigger of the worker's may fail
/// under any code, and a policy refuses as a missing privilege does.
fn is_of_a_row(code: &str, routine: Option<&str>, context: Option<&str>) -> bool {
    match routine {
        Some("ExecWithCheckOptions") => true,
        Some("exec_stmt_raise" | "exec_stmt_assert") => !matches!(code.get(..2), Some("40" | "57")),
        // Our own statements run in no context: a missing table in one is a trigger's.
        _ => code.starts_with("42") && context.is_some(),
    }
}

/// By SQLSTATE class, see the Postgres manual, appendix A.
fn remedy(code: &str) -> Remedy {
    match code {
        // lock_not_available, query_canceled, program_limit_exceeded (a value too long for an index)
        "55P03" | "57014" => Remedy::Again,
        "54000" => Remedy::RowAtFault,
        _ => match code.get(..2).unwrap_or_default() {
            "40" | "53" => Remedy::Again,
            "08" | "57" | "58" | "25" => Remedy::Reconnect,
            "22" | "23" | "P0" => Remedy::RowAtFault,
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
    // A RAISE or an ASSERT may say anything, under any code.
    if matches!(db.routine(), Some("exec_stmt_raise" | "exec_stmt_assert")) {
        return "a trigger or function raised an error".to_owned();
    }
    if (code.starts_with("22") && code != "22001") || code.starts_with("P0") {
        let condition = match code {
            "22003" => "a number is out of range for its column",
            "22P02" => "a value is not of its column's type",
            _ if code.starts_with("P0") => "a trigger or function raised an error",
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
            ("42501", Remedy::Stop),
            ("54000", Remedy::RowAtFault),
            ("P0001", Remedy::RowAtFault),
            ("42P01", Remedy::Stop),
        ] {
            assert_eq!(remedy(code), expected, "{code}");
        }
    }

    #[test]
    fn a_row_that_is_waited_for_is_told_from_a_table_in_any_language() {
        let key = "SQL statement \"SELECT 1 FROM ONLY \"public\".\"projects\" x WHERE \"id\" \
                   OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF x\"";
        let waits = "while locking tuple (0,15) in relation \"projects\"";
        let wartet = "beim Sperren von Tupel (0,15) in Relation »projects«";
        for (context, row) in [
            (format!("{waits}\n{key}"), true),
            (format!("{wartet}\n{key}"), true),
            (key.to_owned(), false),
            ("function f(integer, integer) line 3".to_owned(), false),
            ("(,) (1,) (,2) (1".to_owned(), false),
        ] {
            assert_eq!(names_a_row(&context), row, "{context}");
        }
    }

    #[test]
    fn a_refusal_of_a_policy_or_a_trigger_is_of_its_row() {
        assert!(is_of_a_row("42501", Some("ExecWithCheckOptions"), None));
        assert!(!is_of_a_row("42501", Some("aclcheck_error"), None));
        assert!(is_of_a_row(
            "42P01",
            Some("parserOpenTable"),
            Some("PL/pgSQL function f() line 1")
        ));
        assert!(!is_of_a_row("42P01", Some("parserOpenTable"), None));
        assert!(is_of_a_row("55P03", Some("exec_stmt_raise"), None));
        assert!(!is_of_a_row("57014", Some("exec_stmt_raise"), None));
    }
}
