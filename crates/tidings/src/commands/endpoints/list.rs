use serde_json::Value;
use store::endpoints;

use super::described::{described, wishes};
use crate::Failure;
use crate::commands::set_up_session;
use crate::settings::Settings;

pub async fn list(settings: &Settings, json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let stored = endpoints::list(&session).await?;
    if json {
        let list: Vec<Value> = stored.iter().map(described).collect();
        println!("{:#}", Value::from(list));
        return Ok(());
    }
    if stored.is_empty() {
        println!("no endpoints: add one with `tidings endpoints add --name NAME --url URL`");
    }
    for endpoint in &stored {
        let state = endpoint.state.as_str();
        println!(
            "{:<20} {:<9} {}  ({})",
            endpoint.name, state, endpoint.url, endpoint.id
        );
        if let Some(reason) = &endpoint.state_reason {
            println!("{:<20} {reason}", "");
        }
        if let Some(since) = endpoint.failing_since {
            println!("{:<20} failing since {since}", "");
        }
        for (word, value) in wishes(endpoint) {
            println!("{:<20} {word}: {value}", "");
        }
    }
    Ok(())
}
