//! A subscriber: takes notifications on 127.0.0.1 and verifies every signature.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context as _;
use axum::http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use webhook::Secret;

use super::event::Event;
use super::sentence::Sentence;
use crate::commands::receiving::{self, Received};

/// Open as long as the value lives.
pub struct Receiver {
    address: SocketAddr,
    secret: Secret,
    _server: AbortOnDropHandle<()>,
}

impl Receiver {
    pub async fn open(events: Sender<Event>) -> anyhow::Result<Self> {
        let secret = Secret::generate()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("a port for the webhook receiver")?;
        let address = listener.local_addr().context("the receiver's address")?;
        let keys = vec![secret.clone().into()];
        // It ends with its task.
        let stop = CancellationToken::new();
        let server = tokio::spawn(receiving::serve(listener, keys, stop, move |received| {
            tell(received, events.clone())
        }));
        Ok(Self {
            address,
            secret,
            _server: AbortOnDropHandle::new(server),
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

async fn tell(received: Received, events: Sender<Event>) -> StatusCode {
    let at = Instant::now();
    let (event, status) = match received.verified {
        Ok(()) => {
            // Whatever is no notification matches no row, and is counted as unexpected.
            let body = serde_json::from_slice(&received.body).unwrap_or(Value::Null);
            let action_id = received.header("webhook-id").unwrap_or_default().to_owned();
            let sentence = Sentence::of_notification(&body);
            let event = Event::Notified {
                at,
                action_id,
                sentence,
            };
            (event, StatusCode::OK)
        }
        Err(reason) => (Event::Refused { at, reason }, StatusCode::UNAUTHORIZED),
    };
    match events.send(event).await {
        Ok(()) => status,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
