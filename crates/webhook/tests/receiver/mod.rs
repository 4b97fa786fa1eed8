//! A subscriber on loopback that answers with given bytes, however wrong they are as HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

#[derive(Clone, Copy)]
enum After {
    /// Take the next request of the connection; close it where the answer was no whole one.
    Serve,
    /// Keep the connection open and silent.
    Hold,
    /// Repeat these bytes for as long as they are taken.
    Stream(&'static [u8]),
    /// Send a byte every now and then.
    Drip,
}

/// Something that a receiver noticed.
enum Seen {
    Request(Request),
    /// The sender hung up, after this many streamed bytes.
    Closed(usize),
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Mutex<mpsc::UnboundedReceiver<Seen>>,
    accepting: JoinHandle<()>,
}

pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Receiver {
    pub(crate) async fn answering(answer: impl AsRef<[u8]>) -> Self {
        Self::start(answer, After::Serve).await
    }

    pub(crate) async fn dripping(answer: &str) -> Self {
        Self::start(answer, After::Drip).await
    }

    pub(crate) async fn holding(answer: &str) -> Self {
        Self::start(answer, After::Hold).await
    }

    pub(crate) async fn streaming(answer: &str, rest: &'static [u8]) -> Self {
        Self::start(answer, After::Stream(rest)).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) async fn request(&self) -> Request {
        loop {
            if let Seen::Request(request) = self.next().await {
                return request;
            }
        }
    }

    pub(crate) async fn closed(&self) {
        self.streamed().await;
    }

    /// The bytes streamed until the sender hung up.
    pub(crate) async fn streamed(&self) -> usize {
        loop {
            if let Seen::Closed(bytes) = self.next().await {
                return bytes;
            }
        }
    }

    async fn next(&self) -> Seen {
        self.seen
            .lock()
            .await
            .recv()
            .await
            .expect("the receiver runs")
    }

    async fn start(answer: impl AsRef<[u8]>, after: After) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (tell, seen) = mpsc::unbounded_channel();
        let (count, answer) = (Arc::clone(&connections), answer.as_ref().to_vec());
        let accepting = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, answer.clone(), after, tell.clone()));
            }
        });
        Self {
            address,
            connections,
            seen: Mutex::new(seen),
            accepting,
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An address that nobody listens on.
pub(crate) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn serve(
    socket: TcpStream,
    answer: Vec<u8>,
    after: After,
    tell: mpsc::UnboundedSender<Seen>,
) {
    let mut socket = BufReader::new(socket);
    let mut streamed = 0;
    while let Some(request) = read(&mut socket).await {
        let _ = tell.send(Seen::Request(request));
        if socket.write_all(&answer).await.is_err() {
            break;
        }
        match after {
            After::Serve if is_whole(&answer) => {}
            After::Serve => break,
            After::Hold => {
                let _ = socket.read(&mut [0]).await;
                break;
            }
            After::Drip => {
                // The pause is the behaviour: less than any limit on silence, so that only the whole
                // request's time ends it.
                while socket.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                break;
            }
            After::Stream(bytes) => {
                let bytes = bytes.repeat(512);
                while socket.write_all(&bytes).await.is_ok() {
                    streamed += bytes.len();
                }
                break;
            }
        }
    }
    let _ = tell.send(Seen::Closed(streamed));
}

/// Whether a sender can tell where the answer ends without the connection's end.
fn is_whole(answer: &[u8]) -> bool {
    let end = b"\r\n\r\n";
    let Some(place) = answer.windows(end.len()).position(|it| it == end) else {
        return false;
    };
    let (head, body) = answer.split_at(place + end.len());
    let head = String::from_utf8_lossy(head);
    let length = head.split("content-length: ").nth(1).unwrap_or("0");
    let length = length
        .split("\r\n")
        .next()
        .and_then(|length| length.parse().ok());
    length == Some(body.len())
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let request = Request {
        line: lines.into_iter().next()?,
        headers,
        body: Vec::new(),
    };
    let length: usize = request.header("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Request { body, ..request })
}
