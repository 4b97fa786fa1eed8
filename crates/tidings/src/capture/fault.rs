use super::class::{self, Class};
use crate::failure::chain;

/// Why a session of capture ended, by what happens next.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Goes away by itself: reconnect soon.
    #[error("{0}")]
    Passing(String),
    /// Goes away once somebody else is done or makes room. The text says what is waited for.
    #[error("{0}")]
    Waiting(String),
    /// The slot or the publication may lead nowhere: the next beginning judges that, and makes a new one.
    #[error("{0}")]
    Lost(String),
    /// Nothing moves until somebody acts. The text says what is wrong and what mends it.
    #[error("{0}")]
    Operator(String),
}

impl Fault {
    fn new((class, mend): class::Verdict, text: String) -> Self {
        let text = match mend {
            "" => text,
            mend => format!("{text}. {mend}"),
        };
        match class {
            Class::Retry => Self::Passing(text),
            Class::Wait => Self::Waiting(text),
            Class::Reconcile => Self::Lost(text),
            Class::Stop => Self::Operator(text),
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Passing(_) => Class::Retry,
            Self::Waiting(_) => Class::Wait,
            Self::Lost(_) => Class::Reconcile,
            Self::Operator(_) => Class::Stop,
        }
    }

    /// As it is told by `/readyz`.
    pub fn trouble(&self) -> api::Trouble {
        api::Trouble {
            reason: self.to_string(),
            then: self.class().then().to_owned(),
        }
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::new(class::of_store(&error), chain(&error))
    }
}

impl From<wal::Error> for Fault {
    fn from(error: wal::Error) -> Self {
        Self::new(class::of_wal(&error), chain(&error))
    }
}
