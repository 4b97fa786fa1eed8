use std::sync::Mutex;

use serde::Serialize;

/// What the loops of this process say of themselves.
#[derive(Debug, Default)]
pub struct Health {
    pub capture: Component,
    pub deliver: Component,
}

/// One loop: written by the loop, read by the API.
#[derive(Debug, Default)]
pub struct Component(Mutex<State>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Not a role of this process.
    #[default]
    Off,
    Starting,
    Up,
    /// Healthy, and waiting for another process to go.
    Standby,
    /// Does not do its work; the reason names what is down.
    Down {
        reason: String,
    },
}

impl Component {
    pub fn starting(&self) {
        self.set(State::Starting);
    }

    pub fn up(&self) {
        self.set(State::Up);
    }

    pub fn stand_by(&self) {
        self.set(State::Standby);
    }

    pub fn down(&self, reason: &str) {
        self.set(State::Down {
            reason: reason.to_owned(),
        });
    }

    pub fn state(&self) -> State {
        self.0.lock().expect("no holder panics").clone()
    }

    fn set(&self, state: State) {
        *self.0.lock().expect("no holder panics") = state;
    }
}

impl State {
    fn is_ready(&self) -> bool {
        match self {
            Self::Off | Self::Up | Self::Standby => true,
            Self::Starting | Self::Down { .. } => false,
        }
    }
}

impl Health {
    /// Whether every role of this process does its work, or waits in good health.
    pub fn is_ready(&self) -> bool {
        self.capture.state().is_ready() && self.deliver.state().is_ready()
    }

    pub(crate) fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "ready": self.is_ready(),
            "capture": self.capture.state(),
            "deliver": self.deliver.state(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_once_none_of_its_roles_is_down_or_starting() {
        let health = Health::default();
        assert!(health.is_ready());
        health.capture.starting();
        assert!(!health.is_ready());
        health.capture.stand_by();
        health.deliver.up();
        assert!(health.is_ready());
        health.deliver.down("the database is unreachable");
        assert!(!health.is_ready());
        assert_eq!(
            health.told()["deliver"]["reason"],
            "the database is unreachable"
        );
    }
}
