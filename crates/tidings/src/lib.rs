//! Tidings, the sidecar: command line, settings, supervision, the capture and deliver loops.
//!
//! `main` parses the command line and hands it to [`commands`]; `run` composes the loops. Capture
//! and delivery share only the database and a wake-up.

#![expect(
    unreachable_pub,
    reason = "a binary: what a module offers the others is pub"
)]

mod backoff;
mod capture;
mod check;
pub mod cli;
pub mod commands;
mod deliver;
mod doctor;
mod failure;
mod finding;
mod init;
mod moment;
mod packs;
mod preview;
mod reload;
mod secrecy;
pub mod settings;
mod standing;
mod telemetry;
mod timetable;
mod words;

pub use failure::Failure;
