//! `tidings doctor`: everything that capture stands on, looked at once.
//!
//! [`Patient`] gathers facts, by the run role and, where one is named, by the administrator for what only
//! that one sees. What facts mean is decided by pure functions, one file for each family. Nothing is
//! changed; the probe's message and temporary slot are gone when it ends.

mod check;
mod clock;
mod connection;
mod failover;
mod hosts;
mod patient;
mod probe;
mod publication;
mod retained_wal;
mod role;
mod server;
mod setup;
mod slot;

pub use check::{Check, Status};
use patient::Patient;

use crate::Failure;
use crate::settings::Settings;

/// All checks, in the order in which they are told: from the connection to what it is for.
const NAMES: [&str; 30] = [
    "connection",
    "hosts",
    "admin_connection",
    "server",
    "encoding",
    "tls",
    "replication",
    "pooler",
    "wal_level",
    "slots_left",
    "senders_left",
    "connections_left",
    "server_settings",
    "disk",
    "clock",
    "setup",
    "role",
    "grants",
    "rules",
    "actions_table",
    "publication",
    "replica_identity",
    "own_tables",
    "slot",
    "retained_wal",
    "orphan_slots",
    "idle_slots",
    "open_transactions",
    "lineage",
    "failover",
];

/// Looks at everything. What could not be looked at is among the checks, with the reason.
pub async fn examine(settings: &Settings, wants_probe: bool) -> Result<Vec<Check>, Failure> {
    let (mut checks, why) = match Patient::meet(settings).await? {
        Ok(patient) => (
            patient.examine(wants_probe).await,
            "it could not be looked at",
        ),
        Err(unreachable) => (vec![*unreachable], "there is no connection"),
    };
    let mut told = Vec::new();
    let probe = wants_probe.then_some("probe");
    for name in NAMES.into_iter().chain(probe) {
        let at = checks.iter().position(|check| check.name == name);
        told.push(match at {
            Some(at) => checks.swap_remove(at),
            None => Check::skipped(name, why),
        });
    }
    debug_assert!(checks.is_empty(), "every check has its place: {checks:?}");
    Ok(told)
}
