use crate::Refusal;

/// What keeps an endpoint or a sender from being made. No text holds a secret, nor a URL's path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    InvalidKey(&'static str),
    #[error("{0}")]
    InvalidCredentials(String),
    #[error("the system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
    #[error(
        "{0:?} is not an action type: write the whole type, or its beginning and one * at the end"
    )]
    InvalidPattern(String),
    #[error("the webhook URL {0}")]
    InvalidUrl(&'static str),
    #[error("the format: {0}")]
    InvalidFormat(String),
    #[error("the stored credentials can not be read: {0}")]
    Sealed(&'static str),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the HTTP client cannot be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}
