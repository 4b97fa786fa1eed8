//! One Postgres URL for every connection.
//!
//! A URL goes in ([`Target::parse`]); out comes a SQL session ([`client`]) or, for the replication
//! client, an encrypted or plain [`Stream`] on which the startup message is the next thing to send
//! ([`Target::dial`]). Both kinds share the hosts, the socket options, the TLS rules and the session
//! settings, so a URL that works for one works for the other. TLS uses the ring provider, given
//! explicitly: nothing here depends on a process-wide default.

mod client;
mod dial;
mod endpoint_binding;
mod error;
mod host;
mod identity;
mod parameters;
mod session;
mod socket;
mod stream;
mod survey;
mod target;
mod timelines;
mod tls;
mod url;
mod verifier;

pub use client::{Client, client};
pub use dial::Dial;
pub use error::Error;
pub use host::{Address, Host};
pub use identity::Identity;
pub use parameters::{ChannelBinding, SessionAttrs};
pub use stream::{Encryption, Stream};
pub use survey::survey;
pub use target::Target;
pub use timelines::Timelines;
pub use tls::SslMode;
pub use tokio_postgres::error::SqlState;
