use anyhow::anyhow;
use jiff::Timestamp;
use serde_json::json;
use store::endpoints::StoredEndpoint;
use webhook::{Attempt, LatencySplit, Outcome};

use super::find;
use super::send::send;
use crate::cli::TestEndpoint;
use crate::commands::set_up_session;
use crate::settings::Settings;
use crate::{Failure, deliver};

/// Sends one example as the deliver loop would: same guard, credentials, format and limits of time.
pub async fn test(settings: &Settings, arguments: &TestEndpoint) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let stored = find(&session, &arguments.endpoint).await?;
    let unusable = |error: webhook::Error| Failure::Settings(error.into());
    let endpoint = deliver::sendable(&stored, &settings.webhooks).map_err(unusable)?;
    let action_type = match &arguments.action_type {
        Some(action_type) => action_type.clone(),
        None => wanted(&stored),
    };
    let now = Timestamp::now();
    let sample = webhook::sample(&action_type, now);
    let payload = endpoint
        .format
        .render(&sample.notification())
        .map_err(unusable)?;
    let attempt = send(settings, &endpoint, &sample.id, now, payload).await?;
    tell(&stored, &action_type, &sample.id, &attempt, arguments.json);
    match &attempt.outcome {
        Outcome::Answered {
            status: 200..=299, ..
        } => Ok(()),
        Outcome::Answered { status, .. } => Err(Failure::Failed(anyhow!(
            "endpoint {} answered {status}: only a 2xx counts as delivered",
            stored.name
        ))),
        Outcome::Failed { kind, detail } => Err(Failure::Failed(anyhow!(
            "endpoint {} gave no answer: {kind}: {detail}",
            stored.name
        ))),
    }
}

/// A type that the endpoint asks for.
fn wanted(stored: &StoredEndpoint) -> String {
    let first = stored.filter.types.first().map(String::as_str);
    let beginning = first.unwrap_or_default().trim_end_matches(['*', '_']);
    match beginning.is_empty() {
        true => "project_created".to_owned(),
        false => beginning.to_owned(),
    }
}

fn tell(stored: &StoredEndpoint, action_type: &str, id: &str, attempt: &Attempt, as_json: bool) {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    let LatencySplit { dns, connect, wait } = attempt.split.unwrap_or_default();
    let (excerpt, error) = match &attempt.outcome {
        Outcome::Answered { excerpt, .. } => (excerpt.as_str(), None),
        Outcome::Failed { kind, detail } => ("", Some(format!("{kind}: {detail}"))),
    };
    let status = attempt.outcome.status();
    if as_json {
        println!(
            "{:#}",
            json!({
                "endpoint": stored.name, "type": action_type, "webhook_id": id, "status": status,
                "latency_ms": ms(attempt.latency), "dns_ms": dns.map(ms),
                "connect_ms": connect.map(ms), "wait_ms": wait.map(ms),
                "address": attempt.address.map(|address| address.to_string()),
                "excerpt": excerpt, "error": error,
            })
        );
        return;
    }
    println!("sent     {action_type} as {id}");
    if let Some(address) = attempt.address {
        println!("to       {address}");
    }
    if let Some(status) = status {
        println!("status   {status}");
    }
    let parts = [("dns", dns), ("connect", connect), ("wait", wait)];
    let parts = parts
        .iter()
        .filter_map(|(part, took)| Some(format!("{part} {:.1}", ms((*took)?))));
    let parts: Vec<String> = parts.collect();
    let parts = match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    };
    println!("latency  {:.1} ms{parts}", ms(attempt.latency));
    if !excerpt.is_empty() {
        println!("answer   {excerpt}");
    }
}
