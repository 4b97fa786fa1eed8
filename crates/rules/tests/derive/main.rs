//! Rules over changes: what a worker commits, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod filters;
mod first;
mod gaps;
mod groups;
mod lookups;
mod net;
mod packs;
mod reference;
mod retry;
mod transactions;
mod worker;
