//! The harness of the end-to-end tests: a worker's database on a real Postgres, the real `tidings`
//! binary, and subscribers that are real HTTP servers.
//!
//! A test is written in the words of this crate and fails by panicking, so nothing here returns an
//! error. Waits are for facts, with one generous deadline: [`eventually`].
//!
//! ```text
//! let mut stage = Stage::start().await;
//! let ops = stage.subscribe("ops").await;
//! let sidecar = stage.run().await;
//! stage.execute("insert into projects …").await;
//! ops.until(1).await;
//! ```

mod program;
mod receiver;
mod request;
mod settings;
mod sidecar;
mod stage;
mod wait;

pub use program::{Outcome, tidings};
pub use receiver::{Behaviour, Receiver};
pub use request::Request;
pub use settings::Settings;
pub use sidecar::Sidecar;
pub use stage::{Action, REFERENCE_TABLES, Stage};
pub use wait::{PATIENCE, eventually};
