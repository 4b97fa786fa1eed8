use activity::Seq;
use anyhow::anyhow;
use serde_json::{Value, json};
use store::deliveries::{self, Cursor, Delivery, Query};
use store::endpoints::Filter;
use store::{Session, span};

use super::id_of;
use crate::Failure;
use crate::cli::{DeliveryState, ListDeliveries};

pub async fn list(session: &Session, arguments: &ListDeliveries) -> Result<(), Failure> {
    let endpoint_id = id_of(session, arguments.endpoint.as_deref()).await?;
    let after = arguments.after.as_deref().map(cursor).transpose();
    let after = after.map_err(Failure::Settings)?;
    let states: &[&str] = match arguments.state {
        None => &["parked", "dead", "delivered"],
        Some(DeliveryState::Parked) => &["parked"],
        Some(DeliveryState::Dead) => &["dead"],
        Some(DeliveryState::Delivered) => &["delivered"],
        Some(DeliveryState::Deferred) => &["deferred"],
    };
    let filter = Filter {
        types: arguments.types.clone(),
        projects: arguments.projects.clone(),
        ..Filter::default()
    };
    let mut span = span::between(session, arguments.since, arguments.until).await?;
    if arguments.since.is_none() {
        // A dead letter is kept longer than its action.
        span.first = Seq::new(1);
    }
    let query = Query {
        endpoint_id: endpoint_id.as_deref(),
        states,
        filter: &filter,
        span,
        after: after.as_ref(),
        // One more than a page tells whether there is another.
        limit: arguments.limit + 1,
    };
    let mut found = deliveries::list(session, &query).await?;
    let page = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let more = found.len() > page;
    found.truncate(page);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| cursor_text(&last.cursor()));
    if arguments.json {
        let found: Vec<Value> = found.iter().map(described).collect();
        println!("{:#}", json!({"deliveries": found, "next": next}));
        return Ok(());
    }
    if found.is_empty() {
        println!("no such deliveries");
    }
    for delivery in &found {
        println!("{}", line(delivery));
    }
    if let Some(next) = next {
        println!("more: the same with --after {next}");
    }
    Ok(())
}

/// SEQ.STATE.ENDPOINT: no part holds a dot but the last, which may hold anything.
fn cursor_text(cursor: &Cursor) -> String {
    format!("{}.{}.{}", cursor.seq, cursor.state, cursor.endpoint_id)
}

fn cursor(text: &str) -> anyhow::Result<Cursor> {
    let mut parts = text.splitn(3, '.');
    let seq = parts.next().and_then(|seq| seq.parse().ok());
    match (seq, parts.next(), parts.next()) {
        (Some(seq), Some(state), Some(endpoint_id)) => Ok(Cursor {
            seq: Seq::new(seq),
            state: state.to_owned(),
            endpoint_id: endpoint_id.to_owned(),
        }),
        _ => Err(anyhow!(
            "--after takes the cursor that the page before ended with"
        )),
    }
}

/// In the shape of `--json`.
pub fn described(delivery: &Delivery) -> Value {
    json!({
        "seq": delivery.seq, "action_id": delivery.action_id, "type": delivery.action_type,
        "project_id": delivery.project_id, "endpoint": delivery.endpoint,
        "endpoint_id": delivery.endpoint_id, "state": delivery.state, "attempts": delivery.attempts,
        "due_at": delivery.due_at.map(|due| due.to_string()),
        "attempted_at": delivery.attempted_at.map(|at| at.to_string()),
        "status": delivery.status, "error": delivery.error, "replay": delivery.replay_id,
        "covers": delivery.covers,
    })
}

pub fn line(delivery: &Delivery) -> String {
    let mut line = format!(
        "{:<10} {:<9} {:<20} {}",
        delivery.seq,
        delivery.state,
        delivery.endpoint,
        delivery
            .action_type
            .as_deref()
            .unwrap_or("(no longer in the log)"),
    );
    if let Some(project) = &delivery.project_id {
        line += &format!(" of {project}");
    }
    line += &match (delivery.attempts, delivery.state.as_str()) {
        (attempt, "delivered" | "deferred") => format!(", attempt {attempt}"),
        (1, _) => ", 1 attempt".to_owned(),
        (attempts, _) => format!(", {attempts} attempts"),
    };
    if let Some(at) = delivery.attempted_at {
        line += &format!(" at {}", at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"));
    }
    if let Some(error) = &delivery.error {
        line += &format!(": {error}");
    }
    if let Some(due) = delivery.due_at {
        line += &format!("; due {}", due.strftime("%Y-%m-%dT%H:%M:%SZ"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_is_written(seq in 0..i64::MAX, endpoint_id in "\\PC*") {
            let written = Cursor { seq: Seq::new(seq), state: "dead".to_owned(), endpoint_id };
            prop_assert_eq!(cursor(&cursor_text(&written)).unwrap(), written);
        }

        #[test]
        fn what_is_no_cursor_is_refused(text in "[a-z.]*") {
            prop_assert!(cursor(&text).is_err());
        }
    }
}
