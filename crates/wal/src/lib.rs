//! Reads what the worker committed from Postgres' write-ahead log.
//!
//! A [`Connection`] speaks the replication protocol as far as commands go; [`Connection::stream`]
//! turns it into a [`Stream`], which gives committed transactions ([`Event::Part`]) and points
//! without actions ([`Event::Mark`]) in commit order, and confirms what its owner has made durable.
//!
//! What must hold: a rolled-back transaction leaves no trace; nothing is confirmed that the owner
//! did not ask to confirm and whose gate this connection has not shown; input that is not understood
//! ends the stream with an error that names it, and never panics; no value appears in an error.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod assembly;
mod authentication;
mod body;
mod command;
mod connection;
mod copy;
mod error;
mod event;
mod frame;
mod gate;
mod malformed;
mod message;
mod pace;
mod progress;
mod relations;
mod replay;
mod response;
mod silence;
mod startup;
mod stream;
mod timeline;
mod wire;

pub use assembly::{Limits, Resume};
pub use connection::{Connection, SystemIdentity};
pub use error::Error;
pub use event::{Confirm, Ended, Event, Reason};
pub use malformed::Malformed;
pub use pace::spacing;
pub use progress::Progress;
#[doc(hidden)]
pub use replay::replay;
pub use response::ServerError;
pub use stream::{Start, Stream};
pub use timeline::TimelineHistory;
