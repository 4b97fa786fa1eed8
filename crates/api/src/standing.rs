//! How capture stands, in the same words for whoever asks: `tidings status`, which knows what Postgres
//! says, and `/readyz`, which knows what a process sees. Pure.

use std::time::Duration;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Somebody does the work.
    Active,
    /// Nobody does, or somebody else; whoever waits takes over by itself.
    Standby,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// Whether the work gets on.
    pub moves: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

/// What there is to go by, whoever looked.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub slot: &'a str,
    /// The stream that somebody of ours reads.
    pub stream: Option<Stream>,
    /// Somebody waits to read it.
    pub waits: bool,
    /// What capture said last of why it does not get on.
    pub trouble: Option<&'a str>,
    /// What to say where the slot is not there.
    pub missing: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The server's process of it, where that is known.
    pub pid: Option<i32>,
    /// For how long nothing has been heard. `None`: who reads it has no other session any more.
    pub silent: Option<Duration>,
    /// For how long that means nothing.
    pub patience: Duration,
}

impl Stream {
    fn stands_still(&self) -> bool {
        self.silent.is_none_or(|silent| silent > self.patience)
    }
}

/// The one answer to how capture stands.
pub fn judge(facts: &Facts<'_>) -> Standing {
    let trouble = facts.trouble.map(str::to_owned);
    let (state, moves, reason) = match facts {
        Facts {
            stream: Some(stream),
            ..
        } if stream.stands_still() => (State::Active, false, Some(silence(facts.slot, stream))),
        Facts {
            stream: Some(_), ..
        } => (State::Active, trouble.is_none(), trouble),
        Facts { waits: true, .. } => {
            let waits = || "nobody reads the slot yet: a process that waits takes over".to_owned();
            (State::Standby, false, trouble.or_else(|| Some(waits())))
        }
        Facts { missing, .. } => {
            let unread = "no `tidings run` reads the slot: start it";
            let reason = trouble.unwrap_or_else(|| missing.unwrap_or(unread).to_owned());
            (State::Stopped, false, Some(reason))
        }
    };
    Standing {
        state,
        moves,
        reason,
    }
}

/// For a process that waits for the one that reads: its own state, and whether that one gets on.
pub fn waiting(leader: Standing) -> Standing {
    Standing {
        state: State::Standby,
        ..leader
    }
}

fn silence(slot: &str, stream: &Stream) -> String {
    let process = stream
        .pid
        .map(|pid| format!(" by process {pid} of the server"))
        .unwrap_or_default();
    let what = match stream.silent {
        Some(silent) => format!("nothing has been heard there for {} s", silent.as_secs()),
        None => "nothing is heard there: the sidecar of that stream has left it".to_owned(),
    };
    format!(
        "replication slot {slot} is read{process}, but {what}. The sidecar or the server's process stands still, or \
         the server decodes a large transaction. The server ends a stream whose sidecar is silent after \
         wal_sender_timeout, and a sidecar connects anew by itself"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(silent: u64) -> Option<Stream> {
        Some(Stream {
            pid: Some(7),
            silent: Some(Duration::from_secs(silent)),
            patience: Duration::from_secs(15),
        })
    }

    const NOBODY: Facts<'_> = Facts {
        slot: "tidings",
        stream: None,
        waits: false,
        trouble: None,
        missing: None,
    };

    #[test]
    fn each_situation_has_its_word_and_says_why_nothing_moves() {
        let gone = "replication slot tidings does not exist";
        let left = stream(0).map(|stream| Stream {
            silent: None,
            ..stream
        });
        for (facts, state, moves, says) in [
            (
                Facts {
                    stream: stream(15),
                    ..NOBODY
                },
                State::Active,
                true,
                None,
            ),
            (
                Facts {
                    stream: stream(16),
                    ..NOBODY
                },
                State::Active,
                false,
                Some("process 7"),
            ),
            (
                Facts {
                    stream: stream(0),
                    trouble: Some("a lock"),
                    ..NOBODY
                },
                State::Active,
                false,
                Some("a lock"),
            ),
            (
                Facts {
                    stream: left,
                    ..NOBODY
                },
                State::Active,
                false,
                Some("has left it"),
            ),
            (
                Facts {
                    stream: stream(0),
                    waits: true,
                    ..NOBODY
                },
                State::Active,
                true,
                None,
            ),
            (
                Facts {
                    waits: true,
                    ..NOBODY
                },
                State::Standby,
                false,
                Some("takes over"),
            ),
            (NOBODY, State::Stopped, false, Some("tidings run")),
            (
                Facts {
                    missing: Some(gone),
                    ..NOBODY
                },
                State::Stopped,
                false,
                Some(gone),
            ),
            (
                Facts {
                    missing: Some(gone),
                    trouble: Some("refused"),
                    ..NOBODY
                },
                State::Stopped,
                false,
                Some("refused"),
            ),
        ] {
            let standing = judge(&facts);
            assert_eq!(
                (standing.state, standing.moves),
                (state, moves),
                "{facts:?}"
            );
            let reason = standing.reason.as_deref();
            assert_eq!(
                reason.is_none(),
                moves,
                "what does not move has a reason: {facts:?}"
            );
            assert!(
                says.is_none_or(|text| reason.unwrap().contains(text)),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_process_that_waits_tells_whether_the_other_one_gets_on() {
        for (silent, moves) in [(1, true), (60, false)] {
            let facts = Facts {
                stream: stream(silent),
                waits: true,
                ..NOBODY
            };
            let standing = waiting(judge(&facts));
            assert_eq!((standing.state, standing.moves), (State::Standby, moves));
        }
    }
}
