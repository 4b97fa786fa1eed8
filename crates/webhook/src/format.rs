//! The shapes in which an endpoint can want its notifications.

use bytes::Bytes;

use crate::{Error, Notification};

/// How a notification is written for an endpoint.
#[derive(Clone, Debug, Default)]
pub enum Format {
    /// Type, timestamp, and every column of the action.
    #[default]
    Full,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub body: Bytes,
    pub content_type: &'static str,
}

impl Format {
    /// The format of this name; `template` belongs to the format `template` alone.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] says what is wrong with either.
    pub fn new(name: &str, template: Option<&str>) -> Result<Self, Error> {
        match (name, template) {
            ("full", None) => Ok(Self::Full),
            _ => Err(Error::InvalidFormat(format!("{name:?} is no format"))),
        }
    }

    /// Writes one notification.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] where a template fails on this action.
    pub fn render(&self, notification: &Notification<'_>) -> Result<Payload, Error> {
        match self {
            Self::Full => Ok(Payload {
                body: notification.full(),
                content_type: "application/json",
            }),
        }
    }
}
