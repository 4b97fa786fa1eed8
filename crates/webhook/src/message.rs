use jiff::Timestamp;

use crate::Payload;

/// One request to make.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The notification's identity, the same on every attempt: `webhook-id`.
    pub id: &'a str,
    /// The time of the attempt: `webhook-timestamp`.
    pub at: Timestamp,
    /// The replay that it belongs to: `webhook-replay`.
    pub replay: Option<&'a str>,
    pub payload: Payload,
}
