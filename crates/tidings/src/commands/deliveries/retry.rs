use anyhow::anyhow;
use serde_json::json;
use store::Session;
use store::deliveries::{self, Selection};

use super::id_of;
use crate::Failure;
use crate::cli::Waiting;

/// Makes parked deliveries and dead letters due now. What is due is in the database: it is tried
/// whether or not a sidecar runs at the moment.
pub async fn retry(
    session: &Session,
    seqs: &[i64],
    endpoint: Option<&str>,
    state: Option<Waiting>,
    as_json: bool,
) -> Result<(), Failure> {
    if seqs.is_empty() && endpoint.is_none() && state.is_none() {
        return Err(Failure::Settings(anyhow!(
            "say what is to be tried again: seqs, --endpoint NAME, or --state dead"
        )));
    }
    let endpoint_id = id_of(session, endpoint).await?;
    let states: &[&str] = match state {
        None => &["parked", "dead"],
        Some(Waiting::Parked) => &["parked"],
        Some(Waiting::Dead) => &["dead"],
    };
    let selection = Selection {
        endpoint_id: endpoint_id.as_deref(),
        states,
        seqs,
    };
    let due = deliveries::retry(session, &selection).await?;
    let missing: Vec<String> = seqs
        .iter()
        .filter(|seq| due.binary_search(seq).is_err())
        .map(ToString::to_string)
        .collect();
    match as_json {
        true => println!("{:#}", json!({"due": due.len(), "missing": missing})),
        false if due.is_empty() && !missing.is_empty() => {}
        false if due.len() == 1 => println!("1 delivery is due now"),
        false => println!("{} deliveries are due now", due.len()),
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(anyhow!(
            "neither parked nor dead, or no longer in the log: {}. What was delivered is sent once more \
             by `tidings replay`",
            missing.join(", ")
        ))),
    }
}
