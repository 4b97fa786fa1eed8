use std::time::Instant;

use super::sentence::Sentence;

/// What the parts of the demo tell the one that keeps the ledger and the screen.
#[derive(Debug)]
pub enum Event {
    /// COMMIT returned to the worker.
    Committed {
        at: Instant,
        words: String,
        expected: Vec<Sentence>,
    },
    RolledBack {
        at: Instant,
        words: String,
    },
    /// A row of `project_actions` can be read.
    Recorded(Recorded),
    /// A request with a good signature came in.
    Notified {
        at: Instant,
        action_id: String,
        sentence: Sentence,
    },
    /// A request without one, and what is wrong with it.
    Refused {
        at: Instant,
        reason: webhook::VerifyError,
    },
}

#[derive(Debug)]
pub struct Recorded {
    pub at: Instant,
    pub action_id: String,
    pub sentence: Sentence,
}
