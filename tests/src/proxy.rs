//! Between sidecar and server: counts what is said, cuts, and spoils what the server says.
//!
//! It understands frames, so the sidecar must connect without TLS: [`Proxy::url`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::unix;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Stage;

/// A tag and a length that counts itself.
const HEADER_BYTES: usize = 5;
/// The tag of CopyData, both ways.
const COPY_DATA: u8 = b'd';

/// How the next change in the stream is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Its last bytes are missing; the frame says so.
    Truncated,
    /// Its frame says that it is longer than any can be.
    Oversized,
    /// It is of a kind that the protocol does not know.
    UnknownTag,
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
    damage: Mutex<Option<Damage>>,
    damaged: AtomicBool,
    /// Connections made under an earlier number are cut.
    generation: watch::Sender<u64>,
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
            damage: Mutex::new(None),
            damaged: AtomicBool::new(false),
            generation: watch::Sender::new(0),
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
        self.state
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Spoils the next change that the server streams.
    pub fn spoil(&self, damage: Damage) {
        self.state.damaged.store(false, Ordering::SeqCst);
        *self.state.damage() = Some(damage);
    }

    /// Whether that has happened.
    pub fn has_spoiled(&self) -> bool {
        self.state.damaged.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl State {
    fn damage(&self) -> MutexGuard<'_, Option<Damage>> {
        self.damage.lock().expect("nobody panics while holding it")
    }

    /// Takes a status update to account.
    fn listen(&self, frame: &[u8]) {
        let [COPY_DATA, _, _, _, _, b'r', body @ ..] = frame else {
            return;
        };
        self.statuses.fetch_add(1, Ordering::SeqCst);
        if let Some(&flushed) = body.get(8..).and_then(|rest| rest.first_chunk::<8>()) {
            self.confirmed
                .fetch_max(u64::from_be_bytes(flushed), Ordering::SeqCst);
        }
    }

    /// Spoils an Insert, where one is to be spoiled.
    fn spoil(&self, frame: &mut Vec<u8>) {
        /// Where XLogData begins its message: after tag, two positions and a time.
        const MESSAGE: usize = HEADER_BYTES + 1 + 3 * 8;
        if !matches!(frame[..], [COPY_DATA, _, _, _, _, b'w', ..])
            || frame.get(MESSAGE) != Some(&b'I')
        {
            return;
        }
        let Some(damage) = self.damage().take() else {
            return;
        };
        match damage {
            Damage::Truncated => {
                frame.truncate(frame.len() - 3);
                let length = u32::try_from(frame.len() - 1).expect("a test's frame is short");
                frame[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
            }
            Damage::Oversized => frame[1..HEADER_BYTES].copy_from_slice(&u32::MAX.to_be_bytes()),
            Damage::UnknownTag => frame[MESSAGE] = b'?',
        }
        self.damaged.store(true, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(carry(client, Arc::clone(&state)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Until either side closes, or the connection is cut.
async fn carry(client: TcpStream, state: Arc<State>) {
    let mut generation = state.generation.subscribe();
    let Ok(server) = UnixStream::connect(&state.socket).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = ask(from_client, to_server, &state) => {}
        _ = answer(from_server, to_client, &state) => {}
        _ = generation.changed() => {}
    }
}

async fn ask(
    mut from: OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    state: &State,
) -> std::io::Result<()> {
    // The startup packet has a length and no tag.
    let length = from.read_u32().await?;
    let mut startup = vec![0; (length as usize).saturating_sub(4)];
    from.read_exact(&mut startup).await?;
    to.write_u32(length).await?;
    to.write_all(&startup).await?;
    loop {
        let frame = frame(&mut from).await?;
        state.listen(&frame);
        to.write_all(&frame).await?;
    }
}

async fn answer(
    mut from: unix::OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
) -> std::io::Result<()> {
    loop {
        let mut frame = frame(&mut from).await?;
        state.spoil(&mut frame);
        to.write_all(&frame).await?;
    }
}

async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame).await?;
    let length = frame[1..].try_into().map_or(0, u32::from_be_bytes);
    frame.resize(1 + (length as usize).max(4), 0);
    from.read_exact(&mut frame[HEADER_BYTES..]).await?;
    Ok(frame)
}
