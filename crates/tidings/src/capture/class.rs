//! What is done about an error, by its class, and what mends it. The one place that decides it for
//! sessions of capture; what becomes of a single commit is decided before (`store::Remedy`). Pure.

use connect::SqlState;
use store::Remedy;

/// What follows on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It goes away by itself: connect anew.
    Retry,
    /// It goes away once somebody else is done, or makes room.
    Wait,
    /// No stream leads on from here: where that is so, a new slot is made and tables are compared.
    Reconcile,
    /// Nothing helps but an operator.
    Stop,
}

impl Class {
    /// What is done meanwhile, in words.
    pub fn then(self) -> &'static str {
        match self {
            Self::Retry => "it is tried again by itself, at most 5 s apart",
            Self::Wait => "it waits for that, and tries again by itself, at most 5 s apart",
            Self::Reconcile => {
                "it connects anew and judges the slot: where no stream leads on, a new one is made by itself and \
                 tables are compared with images"
            }
            Self::Stop => "it looks again every 10 s: what was mended resumes by itself",
        }
    }
}

/// A class, and what mends the error; empty where its own text says it, or nothing is to be done.
pub type Verdict = (Class, &'static str);

pub fn of_store(error: &store::Error) -> Verdict {
    let code = error.sqlstate().map(SqlState::code).unwrap_or_default();
    match error {
        store::Error::Connect(error) => of_connect(error),
        store::Error::Fenced(_) | store::Error::TimedOut(_) => (Class::Retry, ""),
        store::Error::Migrate(_) | store::Error::NotReady(_) | store::Error::Unreadable(_) => {
            (Class::Stop, "")
        }
        store::Error::Sql(_) => match error.remedy() {
            // What the statement was made for has been changed: it is made anew.
            Remedy::Stop if is_stale(code) => (Class::Retry, ""),
            Remedy::RowAtFault | Remedy::Stop => {
                let (_, mend) = of_code(code).unwrap_or((Class::Stop, ""));
                (Class::Stop, mend)
            }
            Remedy::Again | Remedy::Reconnect => match of_code(code) {
                Some((Class::Wait, mend)) => (Class::Wait, mend),
                _ => (Class::Retry, ""),
            },
        },
    }
}

pub fn of_wal(error: &wal::Error) -> Verdict {
    match error {
        wal::Error::Connect(error) => of_connect(error),
        wal::Error::Lost(_) | wal::Error::Closed | wal::Error::Silent(_) => (Class::Retry, ""),
        wal::Error::Server(server) => of_code(&server.code).unwrap_or((Class::Retry, "")),
        wal::Error::Publication(_) => (
            Class::Reconcile,
            "Nothing past this point is confirmed. If the slot is older than its publication, `tidings setup \
             --new-slot` makes a new one and goes on from now",
        ),
        wal::Error::Authentication(_) => (Class::Stop, PASSWORD),
        wal::Error::Malformed(_) => (
            Class::Stop,
            "Nothing past this point is confirmed. Report it; `tidings setup --new-slot` gives the transaction \
             up and goes on from now",
        ),
        wal::Error::Unsupported(_) => (Class::Stop, ""),
        _ => (Class::Retry, ""),
    }
}

pub fn of_connect(error: &connect::Error) -> Verdict {
    use connect::Error;
    match error {
        Error::Url(_) => (Class::Stop, "Mend database.url and restart `tidings run`"),
        Error::Unreachable { .. } => (
            Class::Retry,
            "If that lasts: see that Postgres runs there and listens, and that database.url names its host \
             and port",
        ),
        Error::Tls { source, .. } if is_broken(source.kind()) => (Class::Retry, ""),
        Error::Tls { .. } => (
            Class::Stop,
            "Mend the server's certificate, or sslmode and sslrootcert in database.url (then restart `tidings \
             run`)",
        ),
        Error::Certificates { .. } => (
            Class::Stop,
            "Mend that file: sslrootcert, sslcert and sslkey in database.url name them",
        ),
        Error::Refused { .. } => match error.code() {
            Some(code) => of_code(code.code()).unwrap_or((Class::Retry, "")),
            // It asks for proof that we can not give, or does not prove itself.
            None => (Class::Stop, PASSWORD),
        },
        Error::WrongSession { .. } => (
            Class::Wait,
            "None of the hosts of database.url is such a server at the moment: promote a standby, or name all \
             hosts",
        ),
        _ => (Class::Retry, ""),
    }
}

const PASSWORD: &str = "Mend the role's password (`alter role … password '…';`), or the one in database.url \
     (then restart `tidings run`)";

/// By SQLSTATE, see the Postgres manual, appendix A. `None`: whoever asks knows better what it means there.
fn of_code(code: &str) -> Option<Verdict> {
    let verdict = match code {
        "28P01" => (Class::Stop, PASSWORD),
        "28000" => (
            Class::Stop,
            "Mend pg_hba.conf (then `select pg_reload_conf();`), or the role: `tidings doctor` prints the line \
             and the SQL",
        ),
        "3D000" => (
            Class::Stop,
            "Create that database, or name the worker's in database.url and restart `tidings run`",
        ),
        "42501" => (
            Class::Stop,
            "`tidings setup` grants what the role needs, and `tidings setup --dry-run` prints it; CONNECT on the \
             database it does not (`grant connect on database … to …;`)",
        ),
        "53300" => (
            Class::Wait,
            "End sessions, or raise max_connections, for replication connections max_wal_senders; or `alter role \
             … connection limit …;`",
        ),
        "53400" => (
            Class::Wait,
            "Drop a slot that nobody needs (`tidings doctor` names them), or raise max_replication_slots",
        ),
        "53100" => (
            Class::Wait,
            "Free space on the server's disk. Nothing is confirmed meanwhile",
        ),
        "53200" => (Class::Wait, "Free memory on the server"),
        "57P03" => (
            Class::Wait,
            "Nothing is to be done: the server starts, stops or recovers",
        ),
        "25006" => (
            Class::Wait,
            "This server takes no writes: it is a standby, or its disk is protected. With all hosts in \
             database.url and target_session_attrs=read-write the primary is found by itself",
        ),
        "55006" => (
            Class::Wait,
            "Another client reads the slot: it is taken up once that one ends. `select active_pid from \
             pg_replication_slots;` names it, `select pg_terminate_backend(active_pid) …` ends it",
        ),
        "42704" | "55000" => (Class::Reconcile, ""),
        _ if code.starts_with("28") => (Class::Stop, PASSWORD),
        _ => return None,
    };
    Some(verdict)
}

/// A table or column that a statement was prepared with is gone or of another type.
fn is_stale(code: &str) -> bool {
    matches!(code, "42P01" | "42703" | "42804" | "0A000")
}

/// A connection that broke, as opposed to a certificate that does not hold.
fn is_broken(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::TimedOut
            | Kind::UnexpectedEof
            | Kind::NotConnected
    )
}

#[cfg(test)]
mod tests;
