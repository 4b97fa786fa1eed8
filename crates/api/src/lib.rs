//! The HTTP side of the sidecar: `/healthz`, `/readyz` and `/metrics`.
//!
//! It reads what the loops say of themselves ([`Health`]); it never asks the database. What is said is
//! decided in [`standing`], which `tidings status` goes by too.

mod health;
mod server;
pub mod standing;

pub use health::{Component, Health, Pulse, Trouble};
pub use server::{Error, Server};
