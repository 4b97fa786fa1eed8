//! What `doctor` asks of the server: facts alone, each read without waiting for a lock of the worker's.
//!
//! Nothing here decides whether a fact is good. Every statement runs as the least-privileged role; what
//! that role may not see is left out or `None`.

mod clock;
mod connection;
mod publications;
mod role;
mod schema;
mod server;
mod setting;
mod slots;
mod standing;
mod wal_directory;

pub use clock::clock;
pub use connection::{Kept, kept};
pub use publications::{OwnTable, Through, other_schemas, other_tables, own_tables};
pub use role::{Powers, powers, unwritable};
pub use schema::{Migrations, migrations};
pub use server::{Server, server};
pub use setting::{Settings, settings};
pub use slots::{Slot, slots};
pub use standing::{Standing, standing};
pub use wal_directory::wal_directory;

use crate::{Error, Session};

/// Sends a logical message as a transaction of its own.
pub async fn emit(session: &Session, prefix: &str, content: &str) -> Result<(), Error> {
    session
        .execute(
            "select pg_logical_emit_message(true, $1, $2::text)",
            &[&prefix, &content],
        )
        .await?;
    Ok(())
}

/// Ends a session of our own role. False where it has ended already.
pub async fn terminate(session: &Session, pid: i32) -> Result<bool, Error> {
    let row = session
        .query_one("select pg_terminate_backend($1)", &[&pid])
        .await?;
    Ok(row.get(0))
}
