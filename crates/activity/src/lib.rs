//! The words of Tidings as types.
//!
//! What the worker committed ([`Part`] of a transaction, [`Change`], [`Row`]) goes in at one end of
//! the data path; what people read ([`Action`]) comes out at the other. This crate holds only those
//! words: no I/O, no clock, no async.

mod action;
mod action_id;
mod key;
mod lsn;
mod relation;
mod row;
mod seq;
mod transaction;

pub use action::{Action, Actor, Event, Found, NOTICES, Origin, PROJECT_ID_BYTES_MAX, Source};
pub use action_id::{ActionId, Identity, InvalidActionId, Unstreamed};
pub use key::Key;
pub use lsn::{InvalidLsn, Lsn};
pub use relation::{Column, Relation, ReplicaIdentity, TableName};
pub use row::{Row, Value};
pub use seq::Seq;
pub use transaction::{Begin, Change, OldRow, Operation, Part, Position, Xid};
