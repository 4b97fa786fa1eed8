//! Takes notifications over HTTP and verifies their signatures, as a subscriber does.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use webhook::{VerificationKey, VerifyError};

/// More than any notification has; a larger one is answered 413.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A request that came in whole.
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// [`VerifyError::NoSecret`] where nothing was there to verify with.
    pub verified: Result<(), VerifyError>,
}

impl Received {
    /// `None` where the header is missing or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Hands each POST, whatever its path, to `handle` and answers with the status it gives.
///
/// Returns once `stop` is cancelled and what was under way is answered. Dropping it ends it at
/// once.
pub async fn serve<H, F>(
    listener: TcpListener,
    keys: Vec<VerificationKey>,
    stop: CancellationToken,
    handle: H,
) where
    H: Fn(Received) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = StatusCode> + Send,
{
    let keys: Arc<[VerificationKey]> = keys.into();
    let receive = move |headers: HeaderMap, body: Bytes| {
        let verified = verify(&keys, &headers, &body);
        handle(Received {
            headers,
            body,
            verified,
        })
    };
    let router = Router::new()
        .route("/", post(receive.clone()))
        .route("/{*path}", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    // Else an answer may wait for an acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    // A broken connection is not its error.
    let _ = served.await;
}

fn verify(keys: &[VerificationKey], headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    webhook::verify(keys, id, timestamp, signature, body, Timestamp::now())
}
