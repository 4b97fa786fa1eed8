//! The HTTP side of the sidecar: `/healthz`, `/readyz` and `/metrics`.
//!
//! It reads what the loops say of themselves ([`Health`]); it never asks the database.

mod health;
mod server;

pub use health::{Component, Health, State};
pub use server::{Error, Server};
