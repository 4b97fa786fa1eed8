//! On to the developer's application, as it came.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::{HeaderMap, StatusCode, header};
use reqwest::{Client, Url, redirect};

use crate::commands::receiving::Received;
use crate::failure::chain;

/// Shorter than the sidecar's own patience, so that it hears of it.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Forward {
    client: Client,
    url: Url,
}

/// What the application said.
pub enum Forwarded {
    Answered(StatusCode),
    Silent,
    Failed(String),
}

impl Forwarded {
    /// What whoever sent the notification is told: as a gateway says it where there was no answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Answered(status) => *status,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Forward {
    /// # Errors
    /// Where the text is no URL of http or https.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok();
        let url = parsed
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                anyhow!("--forward-to is no URL: write http://localhost:3000/webhooks")
            })?;
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .context("the HTTP client")?;
        Ok(Self { client, url })
    }

    /// Cancel safe: dropping it aborts the request.
    pub async fn send(&self, received: &Received) -> Forwarded {
        let request = self
            .client
            .post(self.url.clone())
            .headers(passed_on(&received.headers))
            .body(received.body.clone());
        match request.send().await {
            Ok(response) => Forwarded::Answered(response.status()),
            Err(error) if error.is_timeout() => Forwarded::Silent,
            Err(error) => Forwarded::Failed(chain(&error.without_url())),
        }
    }
}

/// Those of the notification, byte for byte; the others belong to the connection it came by.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let ours = headers.iter().filter(|(name, _)| {
        name.as_str().starts_with("webhook-") || **name == header::CONTENT_TYPE
    });
    ours.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_notification_is_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "a"),
            ("webhook-replay", "1"),
            ("content-type", "text/plain"),
            ("host", "127.0.0.1"),
            ("content-length", "3"),
            ("connection", "close"),
            ("cookie", "x"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let passed = passed_on(&headers);
        let mut names: Vec<_> = passed.keys().map(header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "webhook-id", "webhook-replay"]);
    }

    #[test]
    fn a_place_to_forward_to_is_a_url_of_http() {
        for url in ["localhost:3000", "ftp://localhost/", "/hooks", ""] {
            let error = Forward::new(url).err().unwrap().to_string();
            assert!(error.contains("http://localhost:3000"), "{error}");
        }
    }
}
