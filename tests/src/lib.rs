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

mod audit;
mod disk;
mod faults;
mod growth;
mod images;
mod load;
mod program;
mod proxy;
mod quiet;
mod random;
mod receiver;
mod request;
mod settings;
mod shards;
mod sidecar;
mod stage;
mod standby;
mod trial;
mod wait;
mod world;

pub use audit::{Audit, Subscriber, unexplained_repeats};
pub use disk::{Filled, SmallDisk};
pub use faults::{SCENARIOS, Scenario, Tally};
pub use growth::{Grown, Growth};
pub use images::images_that_differ;
pub use load::{Load, Pace};
pub use program::{Outcome, Program, tidings};
pub use proxy::{Damage, Fate, Place, Proxy};
pub use random::Random;
pub use receiver::{Behaviour, Receiver};
pub use request::Request;
pub use settings::Settings;
pub use shards::UNOWNED_MAX;
pub use sidecar::Sidecar;
pub use stage::{Action, REFERENCE_TABLES, Stage, commits_wait_for};
pub use standby::{Fallen, Standby};
pub use trial::Trial;
pub use wait::{PATIENCE, eventually};
pub use world::{Expected, large_transaction};
