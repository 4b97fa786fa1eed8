use anyhow::Context as _;
use jiff::Timestamp;
use webhook::{Attempt, Endpoint, Message, Payload, Sender};

use crate::Failure;
use crate::settings::Settings;

/// Sends one request as the deliver loop would: same guard, credentials and limits of time.
pub async fn send(
    settings: &Settings,
    endpoint: &Endpoint,
    id: &str,
    at: Timestamp,
    payload: Payload,
) -> Result<Attempt, Failure> {
    let sender = Sender::new(&settings.webhooks.sender())
        .context("webhooks")
        .map_err(Failure::Settings)?;
    let message = Message {
        id,
        at,
        replay: None,
        payload,
    };
    Ok(sender.send(endpoint, message).await)
}
