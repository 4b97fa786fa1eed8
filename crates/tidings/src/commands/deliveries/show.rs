use activity::Seq;
use anyhow::anyhow;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::attempts::{self, Attempt};
use store::deliveries::{self, Delivery};
use store::{Session, endpoints, log, span};

use super::id_of;
use super::list::described;
use crate::Failure;
use crate::commands::attempt_log;

/// Every attempt at one action, by endpoint, and what still waits.
pub async fn show(
    session: &Session,
    action: &str,
    endpoint: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let endpoint_id = id_of(session, endpoint).await?;
    let seq = match action.parse() {
        Ok(seq) => Some(Seq::new(seq)),
        Err(_) => span::seq_of(session, action).await?,
    };
    let Some(seq) = seq else {
        return Err(unknown(action));
    };
    let logged = log::of(session, &[seq.get()]).await?.pop();
    let attempts = attempts::of_action(session, seq, endpoint_id.as_deref()).await?;
    let waiting = deliveries::waiting(session, seq, endpoint_id.as_deref()).await?;
    if logged.is_none() && attempts.is_empty() && waiting.is_empty() {
        return Err(unknown(action));
    }
    let names = endpoints::list(session).await?;
    let name = |id: &str| {
        let known = names.iter().find(|endpoint| endpoint.id == id);
        known.map_or_else(|| id.to_owned(), |endpoint| endpoint.name.clone())
    };
    // In the order of their first attempts; those without any come last.
    let mut ids: Vec<&str> = Vec::new();
    let tried = attempts.iter().map(|attempt| attempt.endpoint_id.as_str());
    for id in tried.chain(waiting.iter().map(|delivery| delivery.endpoint_id.as_str())) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let told: Vec<Told<'_>> = ids
        .iter()
        .map(|id| Told {
            endpoint: name(id),
            endpoint_id: id,
            attempts: attempts.iter().filter(|a| a.endpoint_id == *id).collect(),
            waiting: waiting.iter().find(|delivery| delivery.endpoint_id == *id),
        })
        .collect();
    if as_json {
        let told: Vec<Value> = told.iter().map(Told::json).collect();
        let json = json!({
            "seq": seq,
            "action_id": logged.as_ref().map(|logged| logged.id.as_str()),
            "type": logged.as_ref().map(|logged| &logged.action.action_type),
            "details": logged.as_ref().map(|logged| &logged.action.action_details),
            "deliveries": told,
        });
        println!("{json:#}");
        return Ok(());
    }
    match &logged {
        Some(logged) => println!(
            "seq {seq}  {}  {}: {}",
            logged.id.as_str(),
            logged.action.action_type,
            logged.action.action_details.as_deref().unwrap_or("-")
        ),
        None => println!("seq {seq}  (the action is no longer in the log)"),
    }
    if told.is_empty() {
        println!(
            "no attempt was made, or none is kept: see webhooks.attempt_days, and endpoints that are behind"
        );
    }
    for told in &told {
        print!("{}", told.text());
    }
    Ok(())
}

fn unknown(action: &str) -> Failure {
    Failure::Failed(anyhow!(
        "there is no action {action:?}: give its action_id, or its seq as `tidings deliveries list` shows it"
    ))
}

/// What became of the action at one endpoint.
struct Told<'a> {
    endpoint: String,
    endpoint_id: &'a str,
    attempts: Vec<&'a Attempt>,
    waiting: Option<&'a Delivery>,
}

impl Told<'_> {
    /// What it waits for; else what its newest attempt came to.
    fn state(&self) -> &str {
        let newest = self.attempts.last().map(|attempt| attempt.outcome.as_str());
        let waiting = self.waiting.map(|delivery| delivery.state.as_str());
        waiting.or(newest).unwrap_or("-")
    }

    fn due(&self) -> Option<Timestamp> {
        self.waiting.and_then(|delivery| delivery.due_at)
    }

    fn json(&self) -> Value {
        let attempts = self
            .attempts
            .iter()
            .map(|attempt| attempt_log::described(attempt));
        json!({
            "endpoint": self.endpoint, "endpoint_id": self.endpoint_id, "state": self.state(),
            "due_at": self.due().map(|due| due.to_string()),
            "waiting": self.waiting.map(described),
            "attempts": attempts.collect::<Vec<Value>>(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.endpoint, self.state());
        if let Some(due) = self.due() {
            text += &format!(", the next attempt at {due}");
        }
        text.push('\n');
        for attempt in &self.attempts {
            text += &format!("  {}\n", attempt_log::lines(attempt));
        }
        text
    }
}
