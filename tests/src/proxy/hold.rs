//! Stands still between two messages of a transaction.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::HEADER_BYTES;

/// How the sidecar's driver begins a transaction that writes.
const BEGIN: &str = "START TRANSACTION";
const COMMIT: &str = "COMMIT";

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Sidecar,
    Server,
}

/// A place that a transaction comes by once among a hundred messages, and that decides what is done for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the COMMIT of a transaction that writes.
    Commit,
    /// Before the answer to it: it is done, and the sidecar does not know.
    Committed,
    /// Before a status update that confirms more.
    Confirm,
    /// Once that has passed, before whatever comes next.
    Confirmed,
}

impl Place {
    /// Whether that is where this message was held, in the words of `describe`.
    pub fn is(self, held: &str) -> bool {
        match self {
            Self::Commit => held == "> COMMIT",
            Self::Committed => held == "< COMMIT done",
            Self::Confirm => held == "> confirm",
            Self::Confirmed => held.ends_with(AFTER_CONFIRM),
        }
    }
}

const AFTER_CONFIRM: &str = " after a confirm";

#[derive(Debug)]
pub(super) struct Hold {
    count: Mutex<Count>,
    /// What comes next, while everything is held.
    held: watch::Sender<Option<String>>,
    /// How many messages the transaction that was counted has had.
    counted: watch::Sender<Option<usize>>,
}

/// What is being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Count {
    #[default]
    Nothing,
    /// The messages of the next transaction, up to where it is held; without such an end, to the
    /// beginning of the one after it.
    Ordered(Option<usize>),
    /// To such a place; of the transaction that this connection has begun, where it is in one.
    At { place: Place, of: Option<u64> },
    /// To whatever comes next after a confirm.
    Next,
    Running {
        connection: u64,
        passed: usize,
        end: Option<usize>,
    },
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            count: Mutex::default(),
            held: watch::Sender::new(None),
            counted: watch::Sender::new(None),
        }
    }
}

impl Hold {
    pub(super) async fn after(&self, messages: usize) -> String {
        self.until(Count::Ordered(Some(messages))).await
    }

    pub(super) async fn at(&self, place: Place) -> String {
        self.until(Count::At { place, of: None }).await
    }

    async fn until(&self, count: Count) -> String {
        let mut held = self.held.subscribe();
        *self.lock() = count;
        let next = held.wait_for(Option::is_some).await;
        let next = next.expect("the sender lives as long as the proxy");
        next.clone().unwrap_or_default()
    }

    pub(super) async fn count(&self) -> usize {
        self.counted.send_replace(None);
        let mut counted = self.counted.subscribe();
        *self.lock() = Count::Ordered(None);
        let number = counted.wait_for(Option::is_some).await;
        let number = *number.expect("the sender lives as long as the proxy");
        number.unwrap_or_default()
    }

    pub(super) fn release(&self) {
        *self.lock() = Count::Nothing;
        self.held.send_replace(None);
    }

    /// Returns once this message may go on.
    pub(super) async fn pass(
        &self,
        connection: u64,
        speaker: Speaker,
        frame: &[u8],
        confirms: bool,
    ) {
        let mut held = self.held.subscribe();
        if let Some(behind) = self.reaches(connection, speaker, frame, confirms) {
            let next = describe(speaker, frame) + behind;
            self.held.send_replace(Some(next));
        }
        // The sender lives as long as this does.
        let _ = held.wait_for(Option::is_none).await;
    }

    /// Whether this is the message that is not to pass, and what more is to be said of it.
    fn reaches(
        &self,
        connection: u64,
        speaker: Speaker,
        frame: &[u8],
        confirms: bool,
    ) -> Option<&'static str> {
        let mut count = self.lock();
        let begins = speaker == Speaker::Sidecar && text(frame) == Some(BEGIN);
        let commits = text(frame) == Some(COMMIT);
        match *count {
            Count::Next => {
                *count = Count::Nothing;
                return Some(AFTER_CONFIRM);
            }
            Count::At { place, of } => {
                let is_there = match place {
                    Place::Commit => {
                        speaker == Speaker::Sidecar && commits && of == Some(connection)
                    }
                    Place::Committed => {
                        speaker == Speaker::Server && commits && of == Some(connection)
                    }
                    Place::Confirm | Place::Confirmed => confirms,
                };
                if is_there && place == Place::Confirmed {
                    *count = Count::Next;
                    return None;
                }
                if is_there {
                    *count = Count::Nothing;
                    return Some("");
                }
                if begins {
                    let of = Some(connection);
                    *count = Count::At { place, of };
                }
            }
            Count::Ordered(end) if begins => {
                *count = Count::Running {
                    connection,
                    passed: 0,
                    end,
                };
            }
            Count::Running {
                connection: of,
                passed,
                end: None,
            } if begins && of == connection => {
                *count = Count::Nothing;
                self.counted.send_replace(Some(passed));
                return None;
            }
            Count::Nothing | Count::Ordered(_) | Count::Running { .. } => {}
        }
        let Count::Running {
            connection: of,
            passed,
            end,
        } = &mut *count
        else {
            return None;
        };
        if *of != connection && !confirms {
            return None;
        }
        if *end == Some(*passed) {
            *count = Count::Nothing;
            return Some("");
        }
        *passed += 1;
        None
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().expect("nobody panics while holding it")
    }
}

/// The text of a simple query or of what a command came to.
fn text(frame: &[u8]) -> Option<&str> {
    let (b'Q' | b'C', [text @ .., 0]) = (frame.first()?, frame.get(HEADER_BYTES..)?) else {
        return None;
    };
    std::str::from_utf8(text).ok()
}

/// In the protocol's words, without a value.
fn describe(speaker: Speaker, frame: &[u8]) -> String {
    let tag = frame.first().copied().unwrap_or_default();
    let said = match (speaker, tag) {
        (Speaker::Sidecar, b'Q') => match text(frame) {
            Some(control @ (BEGIN | COMMIT | "ROLLBACK")) => control.to_owned(),
            _ => "Query".to_owned(),
        },
        (Speaker::Sidecar, b'd') => "confirm".to_owned(),
        (Speaker::Sidecar, b'P') => "Parse".to_owned(),
        (Speaker::Sidecar, b'B') => "Bind".to_owned(),
        (Speaker::Sidecar, b'D') => "Describe".to_owned(),
        (Speaker::Sidecar, b'E') => "Execute".to_owned(),
        (Speaker::Sidecar, b'S') => "Sync".to_owned(),
        (Speaker::Sidecar, b'C') => "Close".to_owned(),
        (Speaker::Server, b'C') => {
            let command = text(frame).and_then(|text| text.split(' ').next());
            format!("{} done", command.unwrap_or("a command"))
        }
        (Speaker::Server, b'Z') => "ReadyForQuery".to_owned(),
        (Speaker::Server, b'D') => "DataRow".to_owned(),
        (Speaker::Server, b'1') => "ParseComplete".to_owned(),
        (Speaker::Server, b'2') => "BindComplete".to_owned(),
        (Speaker::Server, b'3') => "CloseComplete".to_owned(),
        (Speaker::Server, b'T') => "RowDescription".to_owned(),
        (Speaker::Server, b't') => "ParameterDescription".to_owned(),
        (Speaker::Server, b'd') => "stream data".to_owned(),
        (_, other) => format!("message {:?}", char::from(other)),
    };
    match speaker {
        Speaker::Sidecar => format!("> {said}"),
        Speaker::Server => format!("< {said}"),
    }
}
