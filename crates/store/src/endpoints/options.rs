//! What an endpoint asks for beyond URL and filter. Stored as JSON; what is absent is as the
//! settings say.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Absent: `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Of format `template`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    /// Requests under way at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What a failing delivery keeps from being sent before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nothing.
    #[default]
    Parallel,
    /// Whatever came after it in its project.
    Project,
    /// Whatever came after it.
    Endpoint,
}

impl Order {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Project => "project",
            Self::Endpoint => "endpoint",
        }
    }
}

/// At most so many attempts in so many seconds, all at once if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// At least 1.
    pub attempts: u32,
    /// At least 1.
    pub seconds: u32,
}

/// Actions of one project that come within so many seconds of its first, or so many of them, are
/// one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    pub seconds: u32,
    /// At least 2.
    pub actions: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
