//! What the loops of this process say of themselves, and what of it is told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::standing::{Facts, Standing, State, Stream, judge};

/// Written by the loops, read by the API.
#[derive(Debug, Default)]
pub struct Health {
    /// Whose database it is about: role, hosts, ports and name.
    database: String,
    /// The slot of capture.
    slot: String,
    pub capture: Component,
    pub deliver: Component,
}

/// One loop.
#[derive(Debug, Default)]
pub struct Component(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    doing: Doing,
    /// Since when it stands as it does. Silence has a time of its own.
    since: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum Doing {
    /// Not a role of this process.
    #[default]
    Off,
    Works {
        pulse: Option<Pulse>,
        trouble: Option<Trouble>,
    },
    /// Waits for another process, which stands like this.
    Waits(Standing),
    Down(Trouble),
}

/// What keeps a loop from its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is down or refused, and what mends it.
    pub reason: String,
    /// What is done about it meanwhile.
    pub then: String,
}

/// How long a stream has been silent, and how long that means nothing.
#[derive(Clone)]
pub struct Pulse {
    pub silent: Arc<dyn Fn() -> Duration + Send + Sync>,
    pub patience: Duration,
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pulse({:?})", (self.silent)())
    }
}

impl Component {
    /// It is a role of this process, and has not begun.
    pub fn starting(&self) {
        let reason = "it starts: nothing was reached yet".to_owned();
        let then = "it connects".to_owned();
        self.down(Trouble { reason, then });
    }

    /// It works, and no stream needs to be heard for that.
    pub fn up(&self) {
        let (pulse, trouble) = (None, None);
        self.lock().become_of(Doing::Works { pulse, trouble });
    }

    /// It reads this stream. What kept it from its work before still does, until it says that it gets on.
    pub fn streams(&self, pulse: Pulse) {
        let mut inner = self.lock();
        let trouble = match &mut inner.doing {
            Doing::Works { trouble, .. } => trouble.take(),
            Doing::Down(trouble) => Some(trouble.clone()),
            Doing::Off | Doing::Waits(_) => None,
        };
        let pulse = Some(pulse);
        inner.become_of(Doing::Works { pulse, trouble });
    }

    /// It works and does not get on. Says nothing of a loop that does not work.
    pub fn troubled(&self, trouble: Trouble) {
        let mut inner = self.lock();
        if let Doing::Works { pulse, .. } = &mut inner.doing {
            let pulse = pulse.take();
            let trouble = Some(trouble);
            inner.become_of(Doing::Works { pulse, trouble });
        }
    }

    /// It gets on.
    pub fn moves(&self) {
        let mut inner = self.lock();
        if let Doing::Works { pulse, trouble } = &mut inner.doing
            && trouble.is_some()
        {
            let pulse = pulse.take();
            let trouble = None;
            inner.become_of(Doing::Works { pulse, trouble });
        }
    }

    /// In good health, and there is nothing for it to do.
    pub fn stand_by(&self) {
        self.wait(Standing {
            state: State::Standby,
            moves: true,
            reason: None,
        });
    }

    /// It waits for another process, which stands like this.
    pub fn wait(&self, standing: Standing) {
        self.lock().become_of(Doing::Waits(standing));
    }

    pub fn down(&self, trouble: Trouble) {
        self.lock().become_of(Doing::Down(trouble));
    }

    /// How it stands; `None` where it is no role of this process. With what is done about it, and since when.
    fn told(&self, slot: &str) -> Option<(Standing, Option<String>, Option<Timestamp>)> {
        let inner = self.lock();
        let standing = inner.standing(slot)?;
        let (then, since) = match &inner.doing {
            Doing::Works {
                trouble: Some(trouble),
                ..
            }
            | Doing::Down(trouble) => (Some(trouble.then.clone()), inner.since),
            Doing::Works {
                pulse: Some(pulse), ..
            } if !standing.moves => (None, Some(Timestamp::now() - (pulse.silent)())),
            Doing::Off | Doing::Works { .. } | Doing::Waits(_) => (None, inner.since),
        };
        Some((standing, then, since))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panics")
    }
}

impl Inner {
    /// What is tried again and again keeps its time.
    fn become_of(&mut self, doing: Doing) {
        let kind = |doing: &Doing| match doing {
            Doing::Off => (0, false),
            Doing::Works { trouble, .. } => (1, trouble.is_none()),
            Doing::Waits(standing) => (2, standing.moves),
            Doing::Down(_) => (3, false),
        };
        if kind(&self.doing) != kind(&doing) {
            self.since = Some(Timestamp::now());
        }
        self.doing = doing;
    }

    fn standing(&self, slot: &str) -> Option<Standing> {
        let nobody = Facts {
            slot,
            stream: None,
            waits: false,
            trouble: None,
            missing: None,
        };
        match &self.doing {
            Doing::Off => None,
            Doing::Works { pulse, trouble } => {
                let (silent, patience) = match pulse {
                    Some(pulse) => ((pulse.silent)(), pulse.patience),
                    None => (Duration::ZERO, Duration::ZERO),
                };
                Some(judge(&Facts {
                    stream: Some(Stream {
                        pid: None,
                        silent: Some(silent),
                        patience,
                    }),
                    trouble: trouble.as_ref().map(|trouble| trouble.reason.as_str()),
                    ..nobody
                }))
            }
            Doing::Waits(standing) => Some(standing.clone()),
            Doing::Down(trouble) => Some(judge(&Facts {
                trouble: Some(&trouble.reason),
                ..nobody
            })),
        }
    }
}

impl Health {
    pub fn new(database: String, slot: String) -> Self {
        Self {
            database,
            slot,
            ..Self::default()
        }
    }

    /// Whether every role of this process gets on, or waits for one that does.
    pub fn is_ready(&self) -> bool {
        let ready = |component: &Component| {
            let told = component.told(&self.slot);
            told.is_none_or(|(standing, ..)| standing.moves)
        };
        ready(&self.capture) && ready(&self.deliver)
    }

    /// Why capture does not get on, where that is because nothing is heard on its stream.
    pub fn capture_is_silent(&self) -> Option<String> {
        let inner = self.capture.lock();
        let is_silent = match &inner.doing {
            Doing::Works {
                pulse: Some(pulse), ..
            } => (pulse.silent)() > pulse.patience,
            Doing::Off | Doing::Works { .. } | Doing::Waits(_) | Doing::Down(_) => false,
        };
        let standing = inner.standing(&self.slot).filter(|_| is_silent);
        standing.and_then(|standing| standing.reason)
    }

    pub(crate) fn told(&self) -> Value {
        json!({
            "ready": self.is_ready(),
            "database": self.database,
            "capture": self.component(&self.capture),
            "deliver": self.component(&self.deliver),
        })
    }

    fn component(&self, component: &Component) -> Value {
        match component.told(&self.slot) {
            None => json!({"state": "off"}),
            Some((standing, then, since)) => json!({
                "state": standing.state, "moves": standing.moves, "reason": standing.reason,
                "since": since, "then": then,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble {
            reason: reason.to_owned(),
            then: "it is tried again".to_owned(),
        }
    }

    fn pulse(silent: u64) -> Pulse {
        Pulse {
            silent: Arc::new(move || Duration::from_secs(silent)),
            patience: Duration::from_secs(15),
        }
    }

    #[test]
    fn a_process_is_ready_once_none_of_its_roles_is_down_or_starting() {
        let health = Health::default();
        assert!(health.is_ready());
        health.capture.starting();
        assert!(!health.is_ready());
        health.capture.stand_by();
        health.deliver.up();
        assert!(health.is_ready());
        health
            .deliver
            .down(trouble("db.internal:5432 is unreachable"));
        assert!(!health.is_ready());
        let told = health.told();
        let down = &told["deliver"];
        assert_eq!(
            (&down["state"], &down["moves"]),
            (&json!("stopped"), &json!(false))
        );
        assert_eq!(down["reason"], "db.internal:5432 is unreachable");
        assert_eq!(down["then"], "it is tried again");
        assert!(down["since"].is_string(), "{down}");
    }

    #[test]
    fn a_stream_that_is_silent_for_long_is_active_and_not_ready() {
        let health = Health::default();
        health.capture.streams(pulse(15));
        assert!(health.is_ready());
        health.capture.streams(pulse(16));
        let told = health.told();
        assert!(!health.is_ready());
        assert_eq!(told["capture"]["state"], "active");
        let silent = told["capture"]["reason"].as_str().unwrap();
        assert!(silent.contains("16 s"), "{silent}");
    }

    #[test]
    fn what_does_not_get_on_is_told_until_it_does() {
        let health = Health::default();
        health.capture.troubled(trouble("of nobody"));
        assert_eq!(health.told()["capture"], json!({"state": "off"}));
        health.capture.streams(pulse(0));
        health.capture.troubled(trouble("a lock"));
        // The next stream is no better as long as nothing gets through it.
        health.capture.down(trouble("a lock"));
        health.capture.streams(pulse(0));
        let told = health.told();
        assert_eq!(told["capture"]["reason"], "a lock");
        assert!(!health.is_ready());
        health.capture.moves();
        assert!(health.is_ready());
    }

    #[test]
    fn what_is_tried_again_and_again_keeps_the_time_of_its_beginning() {
        let component = Component::default();
        component.down(trouble("once"));
        let since = |component: &Component| component.told("tidings").unwrap().2;
        let began = since(&component);
        component.down(trouble("twice"));
        assert_eq!(since(&component), began);
        component.up();
        component.down(trouble("again"));
        assert!(since(&component) >= began);
    }
}
