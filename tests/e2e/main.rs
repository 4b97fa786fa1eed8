//! End-to-end tests, on a real Postgres, with the real binary and real subscribers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions_table;
mod columns;
mod crashes;
mod endpoints;
mod explain;
mod guard;
mod harness;
mod identity;
mod idle;
mod images;
mod init;
mod large;
mod lookups;
mod malformed;
mod operation;
mod packs;
mod partitions;
mod publication;
mod quarantine;
mod reload;
mod rules_check;
mod rules_test;
mod secrecy;
mod sentences;
mod settings;
mod setup;
mod slot;
mod stalls;
mod standby;
mod subscribers;
mod takeover;
mod transactions;
mod uninstall;
mod verifiers;
mod worker_table;
