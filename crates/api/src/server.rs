use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Health;

/// How often histograms are drained, so that nobody who never scrapes pays with memory.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("api.listen {address} can not be used")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("metrics can not be recorded: {0}")]
    Metrics(String),
    #[error("the API server")]
    Serve(#[source] io::Error),
}

/// A bound listener, not serving yet: a port in use is told before anything else begins.
pub struct Server {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    metrics: PrometheusHandle,
}

impl Server {
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address, source })?;
        let metrics = PrometheusBuilder::new()
            .install_recorder()
            .map_err(|error| Error::Metrics(error.to_string()))?;
        Ok(Self { listener, metrics })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`.
    pub async fn serve(self, health: Arc<Health>, stop: CancellationToken) -> Result<(), Error> {
        let metrics = self.metrics.clone();
        let router = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .with_state(Shared {
                health,
                metrics: self.metrics,
            });
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP_PERIOD).await;
                metrics.run_upkeep();
            }
        };
        let stopped = stop.clone().cancelled_owned();
        let serve = axum::serve(self.listener, router).with_graceful_shutdown(stopped);
        tokio::select! {
            served = serve => served.map_err(Error::Serve),
            () = upkeep => Ok(()),
            // A client that holds its connection open does not hold up the exit.
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(1)).await } => Ok(()),
        }
    }
}

/// Alive: the process answers. What it waits for is in the body.
async fn healthz(State(shared): State<Shared>) -> Response {
    Json(shared.health.told()).into_response()
}

/// Ready: every role of this process gets on, or waits for another process that does.
async fn readyz(State(shared): State<Shared>) -> Response {
    let status = if shared.health.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(shared.health.told())).into_response()
}

async fn render_metrics(State(shared): State<Shared>) -> String {
    shared.metrics.render()
}
