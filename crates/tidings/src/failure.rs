use std::fmt;

/// Why a command did not do what it was asked, told apart by its exit code.
#[derive(Debug)]
pub enum Failure {
    /// 1: it was tried and went wrong.
    Failed(anyhow::Error),
    /// 2: the settings can not be used.
    Settings(anyhow::Error),
    /// 3: something else must be done first; the text says what.
    NotReady(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Settings(_) => 2,
            Self::NotReady(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Settings(error) => f.write_str(&chain(error.as_ref())),
            Self::NotReady(text) => f.write_str(text),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<store::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Failed(error),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotReady(text) => Self::NotReady(text),
            error => Self::Failed(error.into()),
        }
    }
}

/// An error and its causes, each once, outermost first.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
