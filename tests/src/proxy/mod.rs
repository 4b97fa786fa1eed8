//! Between sidecar and server: counts what is said, delays it, holds it at a chosen message, spoils it,
//! and ends connections in every way that a network knows.
//!
//! It understands frames, so the sidecar must connect without TLS: [`Proxy::url`].

mod carrier;
mod damage;
mod hold;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::damage::Damage;
use self::damage::Spoiler;
use self::hold::Hold;
pub use self::hold::Place;
use crate::{Random, Stage};

/// A tag and a length that counts itself.
const HEADER_BYTES: usize = 5;
/// The tag of CopyData, both ways.
const COPY_DATA: u8 = b'd';

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Both sides see it closed.
    Cut,
    /// The sidecar is told that nothing more comes; what it says still arrives.
    ServerHasEnded,
    /// The server is told that nothing more comes; what it says still arrives.
    SidecarHasEnded,
    /// Nothing arrives any more on either side, and neither is told: the network between them is gone.
    Silence,
}

/// Open as long as the value lives.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    socket: PathBuf,
    /// Standby status updates so far.
    statuses: AtomicU64,
    /// The highest position that a status update confirmed.
    confirmed: AtomicU64,
    spoiler: Spoiler,
    hold: Hold,
    /// What each message waits at most, and what draws how long it is.
    delay: Mutex<Option<(Duration, Random)>>,
    /// What becomes of the connections made before it was last sent.
    fate: watch::Sender<Fate>,
    /// What carried a connection has panicked.
    panicked: AtomicBool,
}

impl Proxy {
    /// To this server, on a port of its own.
    pub async fn open(stage: &Stage) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let server = &stage.server;
        let state = Arc::new(State {
            socket: server
                .socket_dir()
                .join(format!(".s.PGSQL.{}", server.port())),
            statuses: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            spoiler: Spoiler::default(),
            hold: Hold::default(),
            delay: Mutex::default(),
            fate: watch::Sender::new(Fate::Cut),
            panicked: AtomicBool::new(false),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            port: address.port(),
            state,
            acceptor,
        }
    }

    /// The worker's database through the proxy, as the sidecar's role.
    pub fn url(&self) -> String {
        format!(
            "postgres://tidings@127.0.0.1:{}/app?sslmode=disable",
            self.port
        )
    }

    /// Standby status updates that the sidecar has sent so far.
    pub fn statuses(&self) -> u64 {
        self.state.statuses.load(Ordering::SeqCst)
    }

    /// The highest position that the sidecar has confirmed, as a number.
    pub fn confirmed(&self) -> u64 {
        self.state.confirmed.load(Ordering::SeqCst)
    }

    /// Closes every connection; new ones are let through.
    pub fn cut(&self) {
        self.end(Fate::Cut);
    }

    /// Ends every connection in this way; new ones are let through.
    pub fn end(&self, fate: Fate) {
        self.state.fate.send_replace(fate);
        self.state.hold.release();
    }

    /// From here on each message waits for some time up to this.
    pub fn delay(&self, most: Duration, random: &mut Random) {
        *self.state.delay() = Some((most, random.fork()));
    }

    /// Waits until the sidecar begins a transaction of its own, lets this many messages of it pass, to and
    /// fro, and then holds everything on every connection. Says what would have come next. What is held
    /// goes with the connections at [`Self::end`].
    ///
    /// A status update that confirms more than the last one counts as such a message too.
    pub async fn hold_after(&self, messages: usize) -> String {
        self.state.hold.after(messages).await
    }

    /// Waits until the sidecar comes by such a place, and holds everything there. Says what would have come next.
    pub async fn hold_at(&self, place: Place) -> String {
        self.state.hold.at(place).await
    }

    /// Counts the messages of one such transaction: from its beginning to that of the next.
    pub async fn count_messages(&self) -> usize {
        self.state.hold.count().await
    }

    /// Spoils the next change that the server streams.
    pub fn spoil(&self, damage: Damage) {
        self.state.spoiler.order(damage);
    }

    /// Whether that has happened.
    pub fn has_spoiled(&self) -> bool {
        self.state.spoiler.is_done()
    }
}

impl Drop for Proxy {
    /// A test whose harness has failed has shown nothing.
    fn drop(&mut self) {
        self.acceptor.abort();
        let panicked = self.state.panicked.load(Ordering::SeqCst);
        assert!(!panicked || thread::panicking(), "the proxy panicked");
    }
}

impl State {
    fn delay(&self) -> MutexGuard<'_, Option<(Duration, Random)>> {
        self.delay.lock().expect("nobody panics while holding it")
    }

    /// How long the next message waits.
    fn pause(&self) -> Option<Duration> {
        let mut delay = self.delay();
        let (most, random) = delay.as_mut()?;
        Some(*most * random.below(1000) as u32 / 1000)
    }

    /// Takes a status update to account. Says whether it confirms more than any before.
    fn listen(&self, frame: &[u8]) -> bool {
        let [COPY_DATA, _, _, _, _, b'r', body @ ..] = frame else {
            return false;
        };
        self.statuses.fetch_add(1, Ordering::SeqCst);
        let flushed = body.get(8..).and_then(|rest| rest.first_chunk::<8>());
        flushed.is_some_and(|&flushed| {
            let flushed = u64::from_be_bytes(flushed);
            self.confirmed.fetch_max(flushed, Ordering::SeqCst) < flushed
        })
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                number += 1;
                connections.spawn(carrier::carry(number, client, Arc::clone(&state)));
            }
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    state.panicked.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}
