//! Every SQL statement of Tidings but the few of the replication session.
//!
//! The sidecar's own tables live in one schema (`tidings` unless named otherwise), made by the
//! files of `migrations/`. A [`Session`] is one connection whose `search_path` is that schema, so
//! statements name those tables plainly, and the worker's tables always with their schema.

pub mod actions_table;
pub mod attempts;
pub mod attributes;
pub mod catalog;
pub mod commit;
pub mod deliveries;
pub mod delivery;
pub mod doctor;
pub mod endpoints;
mod error;
pub mod explanation;
pub mod gaps;
pub mod images;
pub mod log;
mod migrate;
pub mod outbox;
pub mod partitions;
pub mod parts;
pub mod progress;
pub mod quarantine;
pub mod reconcile;
pub mod released;
pub mod replays;
pub mod retention;
pub mod rows;
pub mod runs;
mod session;
pub mod setup;
pub mod snapshot;
pub mod span;
pub mod status;
pub mod verify;

pub use error::{Error, Remedy};
pub use migrate::migrate;
pub use session::{Purpose, Session, quote_identifier, quote_literal};
