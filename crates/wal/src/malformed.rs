use activity::Lsn;

/// What was wrong with the server's bytes, by name. `message` is the kind of message it was in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    #[error("a frame {tag:?} says it is {bytes} bytes long; at most {max} are accepted here")]
    FrameTooLong { tag: char, bytes: u32, max: usize },
    #[error("a frame {tag:?} says it is {bytes} bytes long, less than its own header")]
    FrameTooShort { tag: char, bytes: u32 },
    #[error("an unexpected {tag:?} frame {during}")]
    UnexpectedFrame { tag: char, during: &'static str },
    #[error("an answer without {0}")]
    MissingAnswer(&'static str),
    #[error("an answer of more than {0} bytes")]
    AnswerTooLong(usize),
    #[error("{message} is cut short")]
    Truncated { message: &'static str },
    #[error("{message} has {bytes} bytes too many")]
    Trailing { message: &'static str, bytes: usize },
    #[error("a text in {message} is not UTF-8")]
    NotUtf8 { message: &'static str },
    #[error("{message} holds {what} {value}, which this version does not know")]
    Unknown {
        message: &'static str,
        what: &'static str,
        value: u32,
    },
    #[error("column {column} of a row is in binary, which was not asked for")]
    Binary { column: usize },
    #[error("{message} holds a time out of range")]
    TimeOutOfRange { message: &'static str },
    #[error("{message} outside a transaction")]
    OutsideTransaction { message: &'static str },
    #[error("a message of no transaction inside the one that commits at {commit}")]
    MessageInside { commit: Lsn },
    #[error("a transaction begins inside another one")]
    NestedBegin,
    #[error("a transaction that began for {begin} is committed as {commit}")]
    CommitMismatch { begin: Lsn, commit: Lsn },
    #[error("a row of table {oid}, which was not described before")]
    UnknownRelation { oid: u32 },
    #[error("a row with {values} values for a table with {columns} columns")]
    ColumnCount { values: usize, columns: usize },
    #[error("the transaction {half}, which is half done, was not sent again before {next}")]
    HalfDoneMissing { half: Lsn, next: Lsn },
}
