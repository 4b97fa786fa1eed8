//! A private, throw-away Postgres server for the demo, the tests and the benches.
//!
//! [`Binaries`] are found, never fetched (`make postgres` installs them where there are none). A
//! [`Server`] starts from a cached cluster in well under a second and lives in a directory of its
//! own. Both are gone when the value is dropped, and also when the process that owns it is killed:
//! see `guardian.rs`. Nothing outside that directory and the cache is touched; under root the server
//! runs as an unprivileged user.
//!
//! Every call blocks, for milliseconds as a rule, and may be made from async code as well.

mod account;
mod binaries;
mod builder;
mod cluster;
mod conf;
mod error;
mod guardian;
mod home;
mod places;
mod postmaster;
mod server;
mod session;
mod standby;

pub use binaries::{Binaries, Version};
pub use builder::{Auth, Builder};
pub use error::Error;
pub use postmaster::StopMode;
pub use server::Server;
