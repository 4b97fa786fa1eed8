use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::HttpInfo;
use ipnet::IpNet;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Request, Response};
use rustls::RootCertStore;
use tokio::time::timeout;

use crate::clients::Clients;
use crate::failure::Failure;
use crate::latency::Stopwatch;
use crate::outcome::excerpt;
use crate::resolver::Lookups;
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
    /// Outside of `allow_networks` no other port is sent to; empty for any.
    pub ports: Vec<u16>,
    /// Empty for both.
    pub schemes: Vec<Scheme>,
    /// Connections that are kept open to one host while nothing is sent: as many as there may be requests
    /// under way, or each would open one of its own.
    pub idle_connections: usize,
    /// `tidings/VERSION`.
    pub user_agent: String,
}

impl SenderSettings {
    /// The guard of these settings, which a URL can be held against beforehand.
    pub fn guard(&self) -> Guard {
        Guard::new(self.allow_networks.as_slice())
            .with_ports(self.ports.as_slice())
            .with_schemes(self.schemes.as_slice())
    }
}

/// Sends notifications. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Sender {
    guard: Guard,
    clients: Arc<Clients>,
    timeout: Duration,
}

impl Sender {
    /// Trusts the certificates that the system trusts at this moment.
    ///
    /// # Errors
    /// [`Error::Client`] where the settings make no client, e.g. a user agent that no header holds.
    pub fn new(settings: &SenderSettings) -> Result<Self, Error> {
        Self::trusting(client::system_roots(), Lookups::by_system(), settings)
    }

    fn trusting(
        roots: RootCertStore,
        lookups: Lookups,
        settings: &SenderSettings,
    ) -> Result<Self, Error> {
        let guard = settings.guard();
        let clients = Clients::new(guard.clone(), roots, lookups, settings)?;
        Ok(Self {
            guard,
            clients: Arc::new(clients),
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
        let stopwatch = Arc::new(Stopwatch::default());
        match self.answer(endpoint, message, &stopwatch).await {
            Ok(response) => {
                let address = response.remote_addr();
                let over = response.extensions().get::<HttpInfo>();
                let split = stopwatch.answered(started, over, Instant::now());
                let left = self.timeout.saturating_sub(started.elapsed());
                let outcome = outcome(response, left).await;
                Attempt {
                    outcome,
                    latency: started.elapsed(),
                    split: Some(split),
                    address,
                }
            }
            Err(failure) => {
                let split = match failure.kind {
                    FailureKind::RefusedByGuard | FailureKind::Request => None,
                    _ => Some(stopwatch.failed(Instant::now())),
                };
                Attempt {
                    outcome: failure.into(),
                    latency: started.elapsed(),
                    split,
                    address: None,
                }
            }
        }
    }

    /// Sends the request and waits for the status.
    async fn answer(
        &self,
        endpoint: &Endpoint,
        message: Message<'_>,
        stopwatch: &Arc<Stopwatch>,
    ) -> Result<Response, Failure> {
        // The client resolves names only: an address in the URL never reaches the resolver.
        let passage = self.guard.passage(&endpoint.url)?;
        let certificate = endpoint.credentials.client_certificate();
        let client = self.clients.of(passage, certificate, Instant::now())?;
        let request = request(endpoint, message, &client)?;
        let sending = stopwatch.scope(client.execute(request));
        match timeout(self.timeout, sending).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(Failure {
                kind: FailureKind::Timeout,
                detail: format!("no answer within {:?}", self.timeout),
            }),
        }
    }
}

fn request(
    endpoint: &Endpoint,
    message: Message<'_>,
    client: &reqwest::Client,
) -> Result<Request, Failure> {
    let Message {
        id,
        at,
        replay,
        payload,
    } = message;
    let credentials = &endpoint.credentials;
    let keys = credentials.keys(at);
    if keys.is_empty() {
        return Err(Failure {
            kind: FailureKind::Request,
            detail: "the endpoint has no secret to sign with".to_owned(),
        });
    }
    let seconds = at.as_second();
    let mut request = client
        .post(endpoint.url.url().clone())
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", sign(&keys, id, seconds, &payload.body))
        .header(CONTENT_TYPE, HeaderValue::from_static(payload.content_type))
        .body(payload.body);
    if let Some(replay) = replay {
        request = request.header("webhook-replay", replay);
    }
    if let Some(authorization) = credentials.authorization() {
        request = request.header(AUTHORIZATION, authorization.header());
    }
    // None of them is one of those above: their names are reserved.
    for (name, value) in credentials.headers().values() {
        request = request.header(name, value);
    }
    Ok(request.build()?)
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
