//! A subscriber: an HTTP server on 127.0.0.1 that remembers every request, unless it is to count them
//! alone, and behaves as told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Response, header, server::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use webhook::Secret;

use crate::{Request, eventually};

const BODY_BYTES_MAX: usize = 16 << 20;

/// What a receiver does with the requests to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status and no body.
    Status(u16),
    /// Answers with this status, a while after the request.
    Slow(u16, Duration),
    /// Answers with this status and this Retry-After.
    RetryAfter(u16, String),
    /// Answers with this status where the body has this text, else 200.
    Pick(String, u16),
    /// Answers with this status to one request in so many, else 200.
    OneIn(usize, u16),
    /// Answers 302 to this place.
    Redirect(String),
    /// Reads the request and never answers.
    Hang,
    /// Answers 200 and a body that has no end.
    Endless,
    /// Has closed its port and every connection; see [`Receiver::refuse`].
    Refuse,
}

/// Open as long as the value lives.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    secret: Secret,
    behaviour: Mutex<Behaviour>,
    keeps: bool,
    requests: Mutex<Vec<Arc<Request>>>,
    requested: AtomicUsize,
    /// Requests whose signature did not hold.
    forged: AtomicUsize,
    /// What answered requests has panicked.
    panicked: AtomicBool,
}

impl Receiver {
    /// A receiver that answers 200, with a secret of its own.
    pub async fn open() -> Self {
        Self::start(true).await
    }

    /// The same, but it only counts: for more requests than memory has room for.
    pub async fn counting() -> Self {
        Self::start(false).await
    }

    async fn start(keeps: bool) -> Self {
        let secret = Secret::generate().expect("the system has randomness");
        let behaviour = Mutex::new(Behaviour::Status(200));
        let state = Arc::new(State {
            secret,
            behaviour,
            keeps,
            requests: Mutex::default(),
            requested: AtomicUsize::new(0),
            forged: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let server = Some(tokio::spawn(serve(listener, Arc::clone(&state))));
        Self {
            address,
            state,
            server,
        }
    }

    /// Where notifications are to go.
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub fn secret(&self) -> &Secret {
        &self.state.secret
    }

    /// From now on, also on connections that are open.
    pub async fn behave(&mut self, behaviour: Behaviour) {
        let refuse = behaviour == Behaviour::Refuse;
        *lock(&self.state.behaviour) = behaviour;
        match &self.server {
            Some(server) if refuse => {
                server.abort();
                if let Some(server) = self.server.take() {
                    // Its end is the end of the port and of every connection.
                    let _ = server.await;
                }
            }
            None if !refuse => {
                let listener = TcpListener::bind(self.address).await;
                let listener = listener.expect("the port is still free");
                self.server = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
            }
            Some(_) | None => {}
        }
    }

    /// Closes the port and every connection, until it is told to behave otherwise.
    pub async fn refuse(&mut self) {
        self.behave(Behaviour::Refuse).await;
    }

    /// How many requests arrived so far, whatever was answered.
    pub fn requested(&self) -> usize {
        self.state.requested.load(Ordering::Relaxed)
    }

    /// Everything received so far, in order.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        assert!(self.state.keeps, "a receiver that counts keeps no request");
        lock(&self.state.requests).clone()
    }

    /// How many requests were accepted so far, the same action again included.
    pub(crate) fn accepted_count(&self) -> usize {
        let requests = lock(&self.state.requests);
        requests.iter().filter(|request| request.accepted).count()
    }

    /// How often each webhook-id was accepted.
    pub fn accepted(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for request in self.requests().iter().filter(|request| request.accepted) {
            *ids.entry(request.id().to_owned()).or_default() += 1;
        }
        ids
    }

    /// Waits until this many different notifications were accepted.
    pub async fn until(&self, count: usize) {
        let fact = format!("{} accepted {count} notifications", self.url());
        eventually(&fact, async || self.accepted().len() >= count).await;
    }

    /// Waits until this many requests arrived, whatever was answered.
    pub async fn until_requested(&self, count: usize) {
        let fact = format!("{} got {count} requests", self.url());
        eventually(&fact, async || self.requested() >= count).await;
    }

    /// Panics unless every request so far was signed with the receiver's secret.
    #[track_caller]
    pub fn assert_verified(&self) {
        for request in lock(&self.state.requests).iter() {
            assert_eq!(request.verified, Ok(()), "webhook-id {}", request.id());
        }
        assert_eq!(self.state.forged.load(Ordering::Relaxed), 0);
    }
}

impl Drop for Receiver {
    /// A test whose harness has failed has shown nothing.
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
        let panicked = self.state.panicked.load(Ordering::SeqCst);
        assert!(!panicked || thread::panicking(), "a receiver panicked");
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                connections.spawn(async move {
                    // Clients come and go as they like.
                    let _ = connection.await;
                });
            }
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    state.panicked.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    request: hyper::Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, hyper::http::Error> {
    let behaviour = lock(&state.behaviour).clone();
    let behaviour = behaviour.to(state.requested.load(Ordering::Relaxed));
    let accepted = record(request, &state, &behaviour).await;
    let empty = || Empty::new().boxed_unsync();
    match behaviour {
        Behaviour::Status(code) | Behaviour::OneIn(_, code) => {
            Response::builder().status(code).body(empty())
        }
        Behaviour::Pick(_, _) if accepted => Response::builder().body(empty()),
        Behaviour::Pick(_, code) => Response::builder().status(code).body(empty()),
        Behaviour::Slow(code, delay) => {
            tokio::time::sleep(delay).await;
            Response::builder().status(code).body(empty())
        }
        Behaviour::RetryAfter(code, value) => {
            let response = Response::builder()
                .status(code)
                .header(header::RETRY_AFTER, value);
            response.body(empty())
        }
        Behaviour::Redirect(place) => Response::builder()
            .status(302)
            .header(header::LOCATION, place)
            .body(empty()),
        Behaviour::Endless => Response::builder().body(endless()),
        Behaviour::Hang | Behaviour::Refuse => std::future::pending().await,
    }
}

impl Behaviour {
    /// What it means for the request of this number.
    fn to(self, number: usize) -> Self {
        match self {
            Self::OneIn(many, _) if !number.is_multiple_of(many) => Self::Status(200),
            Self::OneIn(_, code) => Self::Status(code),
            other => other,
        }
    }

    /// Whether it answers 2xx to this body.
    fn accepts(&self, body: &[u8]) -> bool {
        match self {
            Self::Status(code)
            | Self::OneIn(_, code)
            | Self::Slow(code, _)
            | Self::RetryAfter(code, _) => (200..300).contains(code),
            Self::Pick(text, _) => !String::from_utf8_lossy(body).contains(text),
            Self::Endless => true,
            Self::Redirect(_) | Self::Hang | Self::Refuse => false,
        }
    }
}

/// Keeps the request, and says whether it is accepted; one that breaks off before its end leaves no
/// trace.
async fn record(request: hyper::Request<Incoming>, state: &State, behaviour: &Behaviour) -> bool {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return false;
    };
    let body = body.to_bytes();
    let accepted = behaviour.accepts(&body);
    let header = |name: &str| head.headers.get(name)?.to_str().ok();
    let keys = [state.secret.clone().into()];
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    let time = Timestamp::now();
    let verified = webhook::verify(&keys, id, timestamp, signature, &body, time);
    if verified.is_err() {
        state.forged.fetch_add(1, Ordering::Relaxed);
    }
    if !state.keeps {
        state.requested.fetch_add(1, Ordering::Relaxed);
        return accepted;
    }
    let request = Request {
        at: Instant::now(),
        time,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
        verified,
        accepted,
    };
    lock(&state.requests).push(Arc::new(request));
    state.requested.fetch_add(1, Ordering::Relaxed);
    accepted
}

fn endless() -> Body {
    const CHUNK: Bytes = Bytes::from_static(&[b'x'; 1 << 16]);
    let chunks = stream::repeat_with(|| Ok(Frame::data(CHUNK)));
    StreamBody::new(chunks).boxed_unsync()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
