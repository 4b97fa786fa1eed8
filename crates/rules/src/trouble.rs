//! What can go wrong for one row while a rule runs. No text here holds a row's value.

use minijinja::{Error, ErrorKind, Value};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("column {column:?} does not exist in {table}")]
    NoColumn { column: String, table: String },
    #[error(
        "column {column:?} of {table} is read in a way that the text of the pack does not tell: name it \
         in `columns` of the table"
    )]
    NotKept { column: String, table: String },
    #[error("column {column:?} was not sent (unchanged TOAST value) and no image holds it")]
    Unfilled { column: String },
    /// Not an error: the rule stays silent for the row.
    #[error("the old value of column {column:?} is not known")]
    OldUnknown { column: String },
    #[error("column {column:?} is bytea, which templates can not use")]
    Binary { column: String },
    #[error("column {column:?} does not read as its type (OID {type_oid})")]
    Unreadable { column: String, type_oid: u32 },
    #[error("{left} {operator} {right} can not be compared")]
    Unlike {
        left: &'static str,
        operator: &'static str,
        right: &'static str,
    },
    #[error("{filter} needs {needs}, not {found}")]
    Argument {
        filter: &'static str,
        needs: &'static str,
        found: &'static str,
    },
    #[error("the text given to {filter} is not {needs}")]
    Text {
        filter: &'static str,
        needs: &'static str,
    },
    #[error("{filter} gives more than {limit}")]
    TooMuch {
        filter: &'static str,
        limit: &'static str,
    },
    #[error("{filter} needs {needs}")]
    Literal {
        filter: &'static str,
        needs: &'static str,
    },
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::new(ErrorKind::InvalidOperation, trouble.to_string()).with_source(trouble)
    }
}

/// A value that fails with the trouble as soon as a template uses it.
impl From<Trouble> for Value {
    fn from(trouble: Trouble) -> Self {
        Self::from(Error::from(trouble))
    }
}

/// The trouble behind an error, where it was one of ours.
pub(crate) fn find(error: &Error) -> Option<&Trouble> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(trouble) = cause.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        source = cause.source();
    }
    None
}

/// Says what went wrong without the details of minijinja's own errors, which can hold values.
pub(crate) fn describe(error: &Error) -> String {
    match find(error) {
        Some(trouble) => trouble.to_string(),
        None => match error.kind() {
            ErrorKind::UndefinedError => {
                "a field or variable that does not exist was used".to_owned()
            }
            kind => kind.to_string(),
        },
    }
}
