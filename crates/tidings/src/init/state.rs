//! What the words of a status column mean. Pure.

/// A state that people want to hear of, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has begun: not told.
    Waiting,
    InProgress,
    Success,
    Failed,
    Cancelled,
}

const WAITING: &[&str] = &[
    "pending",
    "waiting",
    "scheduled",
    "new",
    "idle",
    "draft",
    "requested",
    "submitted",
    "accepted",
    "planned",
    "blocked",
    "none",
    "unknown",
    "paused",
    "inactive",
    "exited",
    "stopped",
];
const IN_PROGRESS: &[&str] = &[
    "running",
    "in_progress",
    "inprogress",
    "building",
    "deploying",
    "started",
    "starting",
    "processing",
    "executing",
    "working",
    "provisioning",
    "publishing",
    "releasing",
    "ongoing",
    "initializing",
    "installing",
    "uploading",
];
const SUCCESS: &[&str] = &[
    "success",
    "succeeded",
    "successful",
    "done",
    "finished",
    "complete",
    "completed",
    "deployed",
    "live",
    "ready",
    "passed",
    "ok",
    "published",
    "released",
    "active",
    "healthy",
];
const FAILED: &[&str] = &[
    "failed",
    "failure",
    "fail",
    "error",
    "errored",
    "crashed",
    "timeout",
    "timed_out",
    "rejected",
    "broken",
    "unhealthy",
];
const CANCELLED: &[&str] = &[
    "cancelled",
    "canceled",
    "cancelled_by_user",
    "canceled_by_user",
    "aborted",
    "skipped",
    "superseded",
];
/// Words that say that a row is still being made.
const IN_THE_MAKING: &[&str] = &[
    "creating",
    "provisioning",
    "initializing",
    "pending",
    "building",
    "queued",
];

/// What is assumed of a column whose words the database does not tell.
pub const USUAL: &[(&str, State)] = &[
    ("in_progress", State::InProgress),
    ("running", State::InProgress),
    ("building", State::InProgress),
    ("deploying", State::InProgress),
    ("success", State::Success),
    ("succeeded", State::Success),
    ("finished", State::Success),
    ("completed", State::Success),
    ("deployed", State::Success),
    ("done", State::Success),
    ("ready", State::Success),
    ("failed", State::Failed),
    ("error", State::Failed),
    ("cancelled", State::Cancelled),
    ("canceled", State::Cancelled),
    ("cancelled-by-user", State::Cancelled),
];

impl State {
    /// `None` where the word is not known.
    pub fn of(word: &str) -> Option<Self> {
        let word = word.trim().to_lowercase().replace(['-', ' '], "_");
        let sets = [
            (WAITING, Self::Waiting),
            (IN_PROGRESS, Self::InProgress),
            (SUCCESS, Self::Success),
            (FAILED, Self::Failed),
            (CANCELLED, Self::Cancelled),
        ];
        let queued = (word == "queued" || word == "created").then_some(Self::Waiting);
        let found = sets
            .iter()
            .find(|(words, _)| words.contains(&word.as_str()));
        found.map(|(_, state)| *state).or(queued)
    }

    /// The status of an action; `None` where there is none to make.
    pub fn told(self) -> Option<&'static str> {
        match self {
            Self::Waiting => None,
            Self::InProgress => Some("in_progress"),
            Self::Success => Some("success"),
            Self::Failed => Some("failed"),
            Self::Cancelled => Some("cancelled"),
        }
    }
}

/// Whether a row with this status is not made yet.
pub fn in_the_making(word: &str) -> bool {
    IN_THE_MAKING.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_however_they_are_spelled() {
        assert_eq!(State::of("In Progress"), Some(State::InProgress));
        assert_eq!(State::of("IN-PROGRESS"), Some(State::InProgress));
        assert_eq!(State::of("cancelled-by-user"), Some(State::Cancelled));
        assert_eq!(State::of("queued"), Some(State::Waiting));
        assert_eq!(State::of("frobnicated"), None);
        for (word, state) in USUAL {
            assert_eq!(State::of(word), Some(*state));
        }
    }
}
