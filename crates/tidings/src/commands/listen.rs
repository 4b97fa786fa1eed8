//! `tidings listen`: a developer's own subscriber, which prints, verifies and forwards.
//!
//! It needs neither settings nor a database. What it shows goes to standard output, a line for each
//! notification; how to point a sidecar at it goes to standard error.

mod forward;
mod notice;

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use webhook::{VerificationKey, VerifyError};

use super::receiving::{self, Received};
use super::signals::Signals;
use crate::Failure;
use crate::cli::Listen;
use forward::Forward;
use notice::Notice;

/// Notices that may wait to be printed; then whoever has one waits.
const NOTICES_MAX: usize = 64;
/// How long what is under way may take at the end.
const END_MAX: Duration = Duration::from_secs(15);

pub async fn listen(arguments: &Listen) -> Result<(), Failure> {
    let signals = Signals::listen().context("signals")?;
    let secrets = secrets(&arguments.secret)?;
    let forward = arguments.forward_to.as_deref().map(Forward::new);
    let forward = forward.transpose().map_err(Failure::Settings)?;
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", arguments.listen))?;
    let address = listener.local_addr().context("the address")?;
    eprintln!("{}", introduction(address, !secrets.is_empty(), arguments));

    let (sender, mut notices) = mpsc::channel(NOTICES_MAX);
    let desk = Arc::new(Desk {
        forward,
        forward_status: arguments.forward_status,
        notices: sender,
    });
    let stop = CancellationToken::new();
    let server = receiving::serve(listener, secrets, stop.clone(), move |received| {
        take(desk.clone(), received)
    });
    let server = AbortOnDropHandle::new(tokio::spawn(server));
    let mut left = arguments.count;
    while left != Some(0) {
        let notice = tokio::select! {
            biased;
            () = signals.stop.cancelled() => break,
            notice = notices.recv() => notice,
        };
        let Some(notice) = notice else { break };
        let line = match arguments.json {
            true => notice.json(),
            false => notice.line(),
        };
        // A reader that has gone away is an end like any other.
        if writeln!(io::stdout(), "{line}").is_err() {
            break;
        }
        left = left.map(|left| left.saturating_sub(1));
    }
    // Whoever waits to tell something more is answered 503.
    drop(notices);
    stop.cancel();
    tokio::select! {
        biased;
        () = signals.hurry.cancelled() => {}
        // Each way it ends.
        _ = tokio::time::timeout(END_MAX, server) => {}
    }
    Ok(())
}

fn secrets(texts: &[String]) -> Result<Vec<VerificationKey>, Failure> {
    let parsed = texts.iter().map(|text| text.trim().parse());
    let parsed: Result<Vec<VerificationKey>, webhook::Error> = parsed.collect();
    parsed.map_err(|error| Failure::Settings(anyhow!(error).context("--secret")))
}

/// What every request needs.
struct Desk {
    forward: Option<Forward>,
    forward_status: bool,
    notices: Sender<Notice>,
}

/// What fails verification goes no further.
async fn take(desk: Arc<Desk>, received: Received) -> StatusCode {
    let at = Timestamp::now();
    let good = matches!(received.verified, Ok(()) | Err(VerifyError::NoSecret));
    let forwarded = match &desk.forward {
        Some(forward) if good => Some(forward.send(&received).await),
        Some(_) | None => None,
    };
    let status = match &forwarded {
        _ if !good => StatusCode::UNAUTHORIZED,
        Some(forwarded) if desk.forward_status => forwarded.status(),
        Some(_) | None => StatusCode::NO_CONTENT,
    };
    let notice = Notice {
        at,
        received,
        forwarded,
        answered: status,
    };
    match desk.notices.send(notice).await {
        Ok(()) => status,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn introduction(address: SocketAddr, verifies: bool, arguments: &Listen) -> String {
    let network = match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => "127.0.0.0/8".to_owned(),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => "::1/128".to_owned(),
        IpAddr::V4(ip) => format!("{ip}/32"),
        IpAddr::V6(ip) => format!("{ip}/128"),
    };
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("127.0.0.1:{}", address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("[::1]:{}", address.port()),
        _ => address.to_string(),
    };
    let does = match &arguments.forward_to {
        Some(url) => format!("forwarding to {url}"),
        None => "answering 204".to_owned(),
    };
    let verifies = match verifies {
        true => "Signatures are verified.",
        false => "Signatures are not verified: --secret whsec_… does that.",
    };
    format!(
        "listening on http://{host}/ and {does}; Ctrl-C ends it. {verifies}\n\
         A sidecar sends here once its settings allow the network:\n\
         \x20   [webhooks]\n\
         \x20   allow_networks = [\"{network}\"]\n\
         and it has the endpoint, whose secret is printed then:\n\
         \x20   tidings endpoints add --name dev --url http://{host}/"
    )
}
