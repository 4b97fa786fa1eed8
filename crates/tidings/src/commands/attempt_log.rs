//! Attempts as they are shown.

use serde_json::{Value, json};
use store::attempts::{Attempt, Latency};

/// In the shape of `--json`.
pub fn described(attempt: &Attempt) -> Value {
    let Latency {
        total,
        dns,
        connect,
        wait,
    } = attempt.latency;
    json!({
        "at": attempt.at.to_string(), "seq": attempt.seq, "attempt": attempt.number,
        "outcome": attempt.outcome, "status": attempt.status, "latency_ms": total, "dns_ms": dns,
        "connect_ms": connect, "wait_ms": wait, "address": attempt.address,
        "error": attempt.error, "error_kind": attempt.error_kind, "excerpt": attempt.excerpt,
        "replay": attempt.replay_id, "covers": attempt.covers,
    })
}

/// One line, and the beginning of the answer below it where there is one.
pub fn lines(attempt: &Attempt) -> String {
    let what = match (&attempt.error, attempt.status) {
        (Some(error), _) => error.clone(),
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "-".to_owned(),
    };
    let Latency {
        total,
        dns,
        connect,
        wait,
    } = attempt.latency;
    let parts = [("dns", dns), ("connect", connect), ("wait", wait)];
    let parts = parts
        .iter()
        .filter_map(|(part, took)| Some(format!("{part} {:.1}", (*took)?)));
    let parts: Vec<String> = parts.collect();
    let mut line = format!(
        "{}  attempt {:<3} {:<9} {what}, {total:.1} ms",
        attempt.at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"),
        attempt.number,
        attempt.outcome
    );
    if !parts.is_empty() {
        line += &format!(" ({})", parts.join(", "));
    }
    if let Some(address) = &attempt.address {
        line += &format!(", {address}");
    }
    if let Some(replay) = &attempt.replay_id {
        line += &format!(", replay {replay}");
    }
    if let Some(covers) = &attempt.covers {
        line += &format!(", a digest of {} actions", covers.len());
    }
    if let Some(excerpt) = &attempt.excerpt {
        line += &format!("\n    {excerpt}");
    }
    line
}
