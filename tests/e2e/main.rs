//! End-to-end tests, on a real Postgres, with the real binary and real subscribers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
