use std::sync::Arc;

use activity::Seq;
use store::log::LoggedAction;

/// One attempt to make.
#[derive(Clone, Debug)]
pub struct Job {
    /// The delivery goes by its id and seq.
    pub action: Arc<LoggedAction>,
    /// Further actions of a digest.
    pub rest: Vec<Arc<LoggedAction>>,
    /// From 1.
    pub attempt: u32,
    pub class: Class,
    /// The replay that it belongs to.
    pub replay: Option<Arc<str>>,
}

/// Where an attempt comes from. The classes of a lane take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A first attempt of what the lane reads.
    First,
    /// A first attempt of a project that was held up.
    Held,
    Retry,
    /// A first attempt for a replay.
    Replay,
}

impl Job {
    pub fn first(action: Arc<LoggedAction>) -> Self {
        Self {
            action,
            rest: Vec::new(),
            attempt: 1,
            class: Class::First,
            replay: None,
        }
    }

    /// The next attempt of a parked delivery, of which `attempts` were made.
    pub fn retry(action: Arc<LoggedAction>, attempts: u32) -> Self {
        Self {
            attempt: attempts.saturating_add(1),
            class: Class::Retry,
            ..Self::first(action)
        }
    }

    pub fn seq(&self) -> Seq {
        self.action.seq
    }

    /// The `webhook-id`: the action's. A digest is known by its ends: one that is gathered anew after a
    /// crash, and tells of more, must not be taken for one that was received.
    pub fn id(&self) -> String {
        match self.rest.last() {
            None => self.action.id.as_str().to_owned(),
            Some(last) => format!("digest:{}:{}", self.action.id.as_str(), last.id.as_str()),
        }
    }

    /// Every action that it tells of.
    pub fn actions(&self) -> impl Iterator<Item = &Arc<LoggedAction>> {
        std::iter::once(&self.action).chain(&self.rest)
    }

    pub fn seqs(&self) -> impl Iterator<Item = Seq> {
        self.actions().map(|action| action.seq)
    }

    pub fn project(&self) -> &str {
        project(&self.action)
    }
}

/// The project of an action. Those of no project are kept in order among themselves.
pub fn project(action: &LoggedAction) -> &str {
    action.action.project_id.as_deref().unwrap_or_default()
}
