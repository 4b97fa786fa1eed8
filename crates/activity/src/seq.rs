use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an action in the action log: gap-free, in commit order, from 1.
///
/// `Seq::ZERO` is the place before the first action, so that a cursor always has a value.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(i64);

impl Seq {
    pub const ZERO: Self = Self(0);

    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number before this one, [`Seq::ZERO`] at the least.
    pub const fn previous(self) -> Self {
        if self.0 > 0 {
            Self(self.0 - 1)
        } else {
            Self::ZERO
        }
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
