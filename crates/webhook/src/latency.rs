//! Where the time of a request goes: name lookup, connection, the wait for a status.
//!
//! The client makes connections out of sight, and may hand a request one that another request made.
//! So each request carries a [`Stopwatch`] that the resolver and the connector find beside them, and
//! what they note counts only if the answer came over that very connection.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Extensions;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tower_layer::Layer;
use tower_service::Service;

/// What the parts of an attempt took. A part is `None` where there was none: a lookup and a connection
/// on one that was open already, a lookup for an address in the URL, whatever comes after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySplit {
    pub dns: Option<Duration>,
    /// TLS included.
    pub connect: Option<Duration>,
    /// From the connection to the status, or until there was an end to waiting for it.
    pub wait: Option<Duration>,
}

tokio::task_local! {
    static STOPWATCH: Arc<Stopwatch>;
}

/// Notes when what began and ended for one request.
#[derive(Default)]
pub(crate) struct Stopwatch(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    connecting: Option<Instant>,
    looking_up: Option<Instant>,
    looked_up: Option<Instant>,
    connected: Option<(Instant, Ends)>,
}

/// The two ends of a connection, which tell it apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}

impl From<&HttpInfo> for Ends {
    fn from(info: &HttpInfo) -> Self {
        Self {
            local: info.local_addr(),
            remote: info.remote_addr(),
        }
    }
}

impl Stopwatch {
    /// Runs a request under this stopwatch.
    pub(crate) async fn scope<F: Future>(self: &Arc<Self>, request: F) -> F::Output {
        STOPWATCH.scope(Arc::clone(self), request).await
    }

    /// The stopwatch of the request that this is polled for.
    pub(crate) fn current() -> Option<Arc<Self>> {
        STOPWATCH.try_with(Arc::clone).ok()
    }

    pub(crate) fn looking_up(&self, now: Instant) {
        self.noted().looking_up = Some(now);
    }

    pub(crate) fn looked_up(&self, now: Instant) {
        self.noted().looked_up = Some(now);
    }

    /// The split of a request that began at `started` and was answered now, over this connection.
    pub(crate) fn answered(
        &self,
        started: Instant,
        over: Option<&HttpInfo>,
        now: Instant,
    ) -> LatencySplit {
        let own = {
            let connected = self.noted().connected;
            connected.is_some_and(|(_, ends)| over.map(Ends::from) == Some(ends))
        };
        if own {
            return self.failed(now);
        }
        LatencySplit {
            wait: Some(now - started),
            ..LatencySplit::default()
        }
    }

    /// The split of a request that failed now.
    pub(crate) fn failed(&self, now: Instant) -> LatencySplit {
        let noted = self.noted();
        let Some(connecting) = noted.connecting else {
            return LatencySplit::default();
        };
        let dns = noted
            .looking_up
            .map(|began| noted.looked_up.unwrap_or(now) - began);
        let looks_up = noted.looking_up.is_some() && noted.looked_up.is_none();
        let connected = noted.connected.map(|(at, _)| at);
        let spent = connected.unwrap_or(now) - connecting;
        LatencySplit {
            dns,
            connect: (!looks_up).then(|| spent.saturating_sub(dns.unwrap_or_default())),
            wait: connected.map(|at| now - at),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().expect("no holder panics")
    }
}

/// Tells the stopwatch of a connection that is made for it, TLS included.
#[derive(Clone, Copy)]
pub(crate) struct TimedConnections;

impl<S> Layer<S> for TimedConnections {
    type Service = Timed<S>;

    fn layer(&self, connector: S) -> Timed<S> {
        Timed(connector)
    }
}

#[derive(Clone)]
pub(crate) struct Timed<S>(S);

impl<S, Destination> Service<Destination> for Timed<S>
where
    S: Service<Destination>,
    S::Response: Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, destination: Destination) -> Self::Future {
        let connecting = self.0.call(destination);
        let Some(stopwatch) = Stopwatch::current() else {
            return Box::pin(connecting);
        };
        stopwatch.noted().connecting = Some(Instant::now());
        Box::pin(async move {
            // The client may go on with it in a task of its own, where the scope is another.
            let connection = stopwatch.scope(connecting).await?;
            let mut extras = Extensions::new();
            connection.connected().get_extras(&mut extras);
            if let Some(info) = extras.get::<HttpInfo>() {
                stopwatch.noted().connected = Some((Instant::now(), info.into()));
            }
            Ok(connection)
        })
    }
}
