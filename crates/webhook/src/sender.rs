use std::time::{Duration, Instant};

use ipnet::IpNet;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use rustls::RootCertStore;
use tokio::time::timeout;

use crate::outcome::{Failure, excerpt};
use crate::{Attempt, Endpoint, Error, FailureKind, Guard, Message, Outcome, RetryAfter, Scheme};
use crate::{client, sign};

#[cfg(test)]
mod tests;

/// How much of an answer's body is read, in bytes. What is longer is cut, and its connection with it.
pub const RESPONSE_BYTES_MAX: u32 = 16 << 10;

/// What a [`Sender`] goes by.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// For a whole attempt: lookup, connection, TLS, status and body.
    pub timeout: Duration,
    /// Exempt from the guard; plain http goes only there.
    pub allow_networks: Vec<IpNet>,
    /// `tidings/VERSION`.
    pub user_agent: String,
}

/// Sends notifications. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Sender {
    guard: Guard,
    https: Client,
    http: Client,
    timeout: Duration,
}

impl Sender {
    /// Trusts the certificates that the system trusts at this moment.
    ///
    /// # Errors
    /// [`Error::Client`] where the settings make no client, e.g. a user agent that no header holds.
    pub fn new(settings: &SenderSettings) -> Result<Self, Error> {
        Self::trusting(client::system_roots(), settings)
    }

    fn trusting(roots: RootCertStore, settings: &SenderSettings) -> Result<Self, Error> {
        let guard = Guard::new(settings.allow_networks.as_slice());
        let tls = client::tls(roots)?;
        Ok(Self {
            https: client::client(Scheme::Https, &guard, tls.clone(), settings)?,
            http: client::client(Scheme::Http, &guard, tls, settings)?,
            guard,
            timeout: settings.timeout,
        })
    }

    /// Makes one attempt, signed by every key of the endpoint that has not expired.
    ///
    /// Once a status has arrived it counts: the body is read for its excerpt only, within what is
    /// left of the timeout and up to [`RESPONSE_BYTES_MAX`].
    ///
    /// Cancel safe: dropping the future aborts the request. The subscriber may have it by then.
    pub async fn send(&self, endpoint: &Endpoint, message: Message<'_>) -> Attempt {
        let started = Instant::now();
        match self.answer(endpoint, message).await {
            Ok(response) => {
                let address = response.remote_addr();
                let left = self.timeout.saturating_sub(started.elapsed());
                let outcome = outcome(response, left).await;
                Attempt {
                    outcome,
                    latency: started.elapsed(),
                    address,
                }
            }
            Err(failure) => Attempt {
                outcome: failure.into(),
                latency: started.elapsed(),
                address: None,
            },
        }
    }

    /// Sends the request and waits for the status.
    async fn answer(&self, endpoint: &Endpoint, message: Message<'_>) -> Result<Response, Failure> {
        let url = &endpoint.url;
        // The client resolves names only: an address in the URL never reaches the resolver.
        if let Some(address) = url.address() {
            self.guard.check(url.scheme(), address)?;
        }
        let Message {
            id,
            at,
            replay,
            payload,
        } = message;
        let keys = endpoint.credentials.keys(at);
        if keys.is_empty() {
            return Err(Failure {
                kind: FailureKind::Request,
                detail: "the endpoint has no secret to sign with".to_owned(),
            });
        }
        let client = match url.scheme() {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
        };
        let seconds = at.as_second();
        let mut request = client
            .post(url.url().clone())
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", sign(&keys, id, seconds, &payload.body))
            .header(CONTENT_TYPE, HeaderValue::from_static(payload.content_type))
            .body(payload.body);
        if let Some(replay) = replay {
            request = request.header("webhook-replay", replay);
        }
        match timeout(self.timeout, request.send()).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(Failure {
                kind: FailureKind::Timeout,
                detail: format!("no answer within {:?}", self.timeout),
            }),
        }
    }
}

async fn outcome(response: Response, left: Duration) -> Outcome {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| RetryAfter::parse(value.to_str().ok()?));
    Outcome::Answered {
        status,
        excerpt: excerpt(&beginning(response, left).await),
        retry_after,
    }
}

/// What arrives of the body until its end, its limit, the time's end or a fault.
async fn beginning(mut response: Response, left: Duration) -> Vec<u8> {
    let limit = RESPONSE_BYTES_MAX as usize;
    let mut body = Vec::new();
    let reading = async {
        while body.len() < limit {
            let Ok(Some(chunk)) = response.chunk().await else {
                return;
            };
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    };
    // A body that is cut by the time still has a beginning.
    let _ = timeout(left, reading).await;
    body
}
