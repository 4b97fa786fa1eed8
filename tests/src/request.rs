use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;
use jiff::Timestamp;
use webhook::VerifyError;

/// One request as a [`Receiver`](crate::Receiver) got it.
#[derive(Debug)]
pub struct Request {
    /// When its body was complete.
    pub at: Instant,
    pub time: Timestamp,
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the signature holds, by the receiver's secret.
    pub verified: Result<(), VerifyError>,
    /// Whether it was answered with a 2xx, as far as is known when it arrived.
    pub accepted: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The webhook-id, which is the action's id; empty where there is none.
    pub fn id(&self) -> &str {
        self.header("webhook-id").unwrap_or_default()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body of a notification is JSON")
    }

    /// Of the notification: its action type.
    #[track_caller]
    pub fn action_type(&self) -> String {
        self.json()["type"]
            .as_str()
            .expect("a notification has a type")
            .to_owned()
    }
}
