//! A subscriber: takes notifications on 127.0.0.1 and verifies every signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Sender;
use tokio_util::task::AbortOnDropHandle;
use webhook::Secret;

use super::event::Event;
use super::sentence::Sentence;

/// Open as long as the value lives.
pub struct Receiver {
    address: SocketAddr,
    secret: Secret,
    _server: AbortOnDropHandle<()>,
}

struct Desk {
    secret: Secret,
    events: Sender<Event>,
}

impl Receiver {
    pub async fn open(events: Sender<Event>) -> anyhow::Result<Self> {
        let secret = Secret::generate()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("a port for the webhook receiver")?;
        let address = listener.local_addr().context("the receiver's address")?;
        let desk = Desk {
            secret: secret.clone(),
            events,
        };
        let router = Router::new()
            .route("/hooks", post(receive))
            .with_state(Arc::new(desk));
        // Else an answer may wait for an acknowledgement, and the demo would time that.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            // It only ends with its task: a broken connection is not its error.
            let _ = axum::serve(listener, router).await;
        });
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

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    let keys = [desk.secret.clone().into()];
    let now = Timestamp::now();
    let verified = webhook::verify(&keys, id, timestamp, signature, &body, now);
    let (event, status) = match verified {
        Ok(()) => {
            // Whatever is no notification matches no row, and is counted as unexpected.
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let action_id = id.unwrap_or_default().to_owned();
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
    match desk.events.send(event).await {
        Ok(()) => status,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
