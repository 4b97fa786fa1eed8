//! The client against a server that plays a script: what real ones do rarely, or only when attacked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use activity::Lsn;
use bytes::{Buf, BufMut, BytesMut};
use connect::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wal::{Confirm, Connection, Ended, Error, Event, Limits, Malformed, Reason, Resume, Start};

/// Long enough that only a test which means to runs into it.
const PATIENCE: Duration = Duration::from_secs(20);
const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const TABLE: &[u8] = b"R\0\0\x40\x07public\0items\0d\0\x01\x01id\0\0\0\0\x19\xff\xff\xff\xff";
const INSERT: &[u8] = b"I\0\0\x40\x07N\0\x01t\0\0\0\x01a";

/// The server's side of one connection.
struct Server {
    socket: TcpStream,
    input: BytesMut,
}

/// A status update as the server reads it.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    written: Lsn,
    flushed: Lsn,
}

impl Status {
    const BYTES: usize = 4 * 8;
}

impl Server {
    async fn accept(listener: TcpListener) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        let input = BytesMut::new();
        let mut server = Self { socket, input };
        let length = server.bytes(4).await.get_u32();
        server.bytes(length as usize - 4).await;
        server
    }

    async fn bytes(&mut self, count: usize) -> BytesMut {
        while self.input.len() < count {
            let read = self.socket.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "the client hung up");
        }
        self.input.split_to(count)
    }

    async fn frame(&mut self) -> (u8, BytesMut) {
        let mut header = self.bytes(5).await;
        let (tag, length) = (header.get_u8(), header.get_u32());
        (tag, self.bytes(length as usize - 4).await)
    }

    async fn status(&mut self) -> Status {
        self.question().await.0
    }

    /// A status update, and whether it asks for an answer.
    async fn question(&mut self) -> (Status, bool) {
        let (tag, mut body) = self.frame().await;
        assert_eq!((tag, body.get_u8()), (b'd', b'r'));
        let asks = body[Status::BYTES] == 1;
        let status = Status {
            written: Lsn::new(body.get_u64()),
            flushed: Lsn::new(body.get_u64()),
        };
        (status, asks)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Lets the client in and answers what it asks until it wants to stream.
    async fn begin(&mut self, sender_timeout: &str) {
        self.send(AUTHENTICATION_OK).await;
        self.send(&frame(b'K', &[0; 8])).await;
        self.send(&frame(b'Z', b"I")).await;
        loop {
            let (tag, body) = self.frame().await;
            assert_eq!(tag, b'Q');
            let command = String::from_utf8(body.to_vec()).unwrap();
            let answer = match command.trim_end_matches('\0') {
                connect::Identity::QUERY => "it does not tell",
                "SHOW server_version_num" => "150018",
                "select pg_backend_pid()" => "7",
                "SHOW wal_sender_timeout" => sender_timeout,
                start => {
                    assert_eq!(
                        start,
                        "START_REPLICATION SLOT \"s\" LOGICAL 0/0 (proto_version '1', \
                         publication_names '\"p\"', messages 'true')"
                    );
                    return self.send(&frame(b'W', &[0, 0, 0])).await;
                }
            };
            let mut row = BytesMut::new();
            row.put_u16(1);
            row.put_u32(answer.len() as u32);
            row.put(answer.as_bytes());
            self.send(&frame(b'D', &row)).await;
            self.send(&frame(b'Z', b"I")).await;
        }
    }

    async fn keepalive(&mut self, wal_end: u64, reply: bool) {
        let mut body = BytesMut::from(&b"k"[..]);
        body.put_u64(wal_end);
        body.put_i64(0);
        body.put_u8(reply.into());
        self.send(&frame(b'd', &body)).await;
    }

    /// A transaction of one row that commits at `at` and ends 8 bytes later.
    async fn transaction(&mut self, at: u64) {
        let mut begin = BytesMut::from(&b"B"[..]);
        begin.put_u64(at);
        begin.put_i64(0);
        begin.put_u32(1);
        let mut commit = BytesMut::from(&b"C\0"[..]);
        commit.put_u64(at);
        commit.put_u64(at + 8);
        commit.put_i64(0);
        let messages = [
            (at - 1, &begin[..]),
            (0, TABLE),
            (at - 1, INSERT),
            (at + 8, &commit),
        ];
        for (lsn, message) in messages {
            self.send(&data(lsn, message)).await;
        }
    }
}

fn frame(tag: u8, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u8(tag);
    frame.put_u32(body.len() as u32 + 4);
    frame.put(body);
    frame
}

fn data(lsn: u64, message: &[u8]) -> BytesMut {
    let mut body = BytesMut::from(&b"w"[..]);
    body.put_u64(lsn);
    body.put_u64(lsn);
    body.put_i64(0);
    body.put(message);
    frame(b'd', &body)
}

/// The client's side, streaming.
struct Client {
    run: JoinHandle<Result<Ended, Error>>,
    events: mpsc::Receiver<Event>,
    confirms: watch::Sender<Confirm>,
    stop: CancellationToken,
}

impl Client {
    async fn event(&mut self) -> Event {
        let event = timeout(Duration::from_secs(5), self.events.recv()).await;
        event.unwrap().unwrap()
    }

    fn confirm(&self, position: u64, gate: u64) {
        let (position, gate) = (Lsn::new(position), Lsn::new(gate));
        self.confirms.send_replace(Confirm { position, gate });
    }

    async fn ended(self) -> Result<Ended, Error> {
        let ended = timeout(Duration::from_secs(5), self.run).await;
        ended.unwrap().unwrap()
    }

    async fn failed(self) -> Error {
        self.ended().await.unwrap_err()
    }
}

async fn listen() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://u:pw@127.0.0.1:{port}/d?sslmode=disable&connect_timeout=5");
    (listener, Target::parse(&url).unwrap())
}

/// A server and a client that streams from it, with room for `capacity` events.
async fn streaming(sender_timeout: &str, capacity: usize) -> (Server, Client) {
    let (listener, target) = listen().await;
    let sender_timeout = sender_timeout.to_owned();
    let server = tokio::spawn(async move {
        let mut server = Server::accept(listener).await;
        server.begin(&sender_timeout).await;
        server
    });
    let start = Start {
        slot: "s".to_owned(),
        publication: "p".to_owned(),
        from: Lsn::ZERO,
        resume: Resume::default(),
        patience: 1,
        limits: Limits {
            changes: 100,
            bytes: 1 << 20,
        },
    };
    let connection = Connection::open(&target).await.unwrap();
    let stream = connection.stream(&start).await.unwrap();
    let (sender, events) = mpsc::channel(capacity);
    let (confirms, confirmed) = watch::channel(Confirm::default());
    let stop = CancellationToken::new();
    let run = tokio::spawn(stream.run(sender, confirmed, stop.clone()));
    let client = Client {
        run,
        events,
        confirms,
        stop,
    };
    (server.await.unwrap(), client)
}

/// What comes of opening a session with a server that says this first.
async fn opening(script: &[u8]) -> Error {
    let (listener, target) = listen().await;
    let script = script.to_vec();
    let server = tokio::spawn(async move {
        let mut server = Server::accept(listener).await;
        server.send(&script).await;
        server
    });
    let error = Connection::open(&target).await.err().unwrap();
    let _ = server.await.unwrap();
    error
}

#[tokio::test]
async fn a_position_is_confirmed_once_its_gate_is_shown() {
    let (mut server, mut client) = streaming("1min", 8).await;
    server.transaction(100).await;
    assert!(matches!(client.event().await, Event::Part(part) if part.end == Some(Lsn::new(108))));
    client.confirm(108, 200);
    server.keepalive(199, true).await;
    let waiting = Status {
        written: Lsn::new(199),
        flushed: Lsn::ZERO,
    };
    assert_eq!(server.status().await, waiting);
    server.keepalive(200, false).await;
    let confirmed = Status {
        written: Lsn::new(200),
        flushed: Lsn::new(108),
    };
    assert_eq!(server.status().await, confirmed);
}

#[tokio::test]
async fn a_keepalive_that_wants_no_answer_gets_none() {
    let (mut server, mut client) = streaming("1min", 8).await;
    server.keepalive(50, false).await;
    assert_eq!(client.event().await, Event::Mark(Lsn::new(50)));
    let answer = timeout(Duration::from_millis(600), server.status()).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_asked_and_then_given_up() {
    let (mut server, client) = streaming("600ms", 8).await;
    while !server.question().await.1 {}
    let given_up = timeout(PATIENCE, client.run).await.unwrap().unwrap();
    assert!(matches!(given_up, Err(Error::Silent(_))), "{given_up:?}");
}

#[tokio::test]
async fn a_server_that_answers_when_it_is_asked_is_kept() {
    let (mut server, client) = streaming("600ms", 8).await;
    let mut answered = 0;
    while answered < 8 {
        if server.question().await.1 {
            server.keepalive(50, false).await;
            answered += 1;
        }
    }
    assert!(!client.run.is_finished());
}

#[tokio::test]
async fn a_torrent_of_questions_and_confirms_gets_fewer_than_ten_answers_a_second() {
    let (mut server, client) = streaming("1min", 8).await;
    let begun = Instant::now();
    let mut answers = 0;
    for at in 1.. {
        server.keepalive(at, true).await;
        client.confirm(at, at);
        if timeout(Duration::from_millis(2), server.status())
            .await
            .is_ok()
        {
            answers += 1;
        }
        if begun.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!(
        answers > 0 && f64::from(answers) < 10.0 * seconds,
        "{answers} in {seconds} s"
    );
}

#[tokio::test]
async fn a_full_channel_stops_reading_but_not_the_status_updates() {
    let (mut server, mut client) = streaming("600ms", 1).await;
    let mut sent = 0;
    // Until neither the channel, nor our buffers, nor the kernel's take any more.
    let filling = async {
        loop {
            server.transaction(100 + sent * 10).await;
            sent += 1;
        }
    };
    assert!(timeout(Duration::from_secs(2), filling).await.is_err());
    let begun = Instant::now();
    for _ in 0..5 {
        server.status().await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3));
    for place in 0..sent {
        assert!(matches!(client.event().await, Event::Part(part)
            if part.begin.commit_lsn == Lsn::new(100 + place * 10)));
    }
}

#[tokio::test]
async fn marks_are_merged_while_the_receiver_is_busy() {
    let (mut server, mut client) = streaming("1min", 1).await;
    server.transaction(100).await;
    for wal_end in 200..300 {
        server.keepalive(wal_end, false).await;
    }
    server.keepalive(300, true).await;
    server.status().await;
    assert!(matches!(client.event().await, Event::Part(_)));
    assert_eq!(client.event().await, Event::Mark(Lsn::new(300)));
    server.transaction(400).await;
    assert!(matches!(client.event().await, Event::Part(_)));
}

#[tokio::test]
async fn a_stop_tells_the_server_the_last_position_and_says_goodbye() {
    let (mut server, mut client) = streaming("1min", 8).await;
    server.transaction(100).await;
    client.event().await;
    client.confirm(108, 108);
    client.stop.cancel();
    let mut last = server.status().await;
    let tag = loop {
        let (tag, mut body) = server.frame().await;
        if tag != b'd' {
            break tag;
        }
        body.advance(1);
        let (written, flushed) = (Lsn::new(body.get_u64()), Lsn::new(body.get_u64()));
        last = Status { written, flushed };
    };
    assert_eq!((tag, last.flushed), (b'X', Lsn::new(108)));
    drop(server);
    let ended = Ended {
        confirmed: Lsn::new(108),
        reason: Reason::Stopped,
    };
    assert_eq!(client.ended().await.unwrap(), ended);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_the_stream() {
    let (server, mut client) = streaming("1min", 8).await;
    client.events.close();
    drop(server);
    assert_eq!(client.ended().await.unwrap().reason, Reason::Abandoned);
}

#[tokio::test]
async fn a_publication_that_the_server_passes_over_ends_the_stream() {
    let (mut server, client) = streaming("1min", 8).await;
    let notice = b"SWARNING\0VWARNING\0C55000\0Mskipped loading publication \"p\"\0\0";
    server.send(&frame(b'N', notice)).await;
    let error = client.failed().await;
    assert_eq!(error.code(), Some("42704"));
    assert!(matches!(error, Error::Publication(_)));
}

#[tokio::test]
async fn a_publication_that_is_not_there_is_told_from_other_errors() {
    for (code, gone) in [("42704", true), ("57P01", false)] {
        let (mut server, client) = streaming("1min", 8).await;
        let error = format!("SERROR\0VERROR\0C{code}\0Mno\0\0");
        server.send(&frame(b'E', error.as_bytes())).await;
        let error = client.failed().await;
        assert_eq!(error.code(), Some(code));
        assert_eq!(matches!(error, Error::Publication(_)), gone);
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_closed_and_one_that_breaks_is_lost() {
    let (mut server, client) = streaming("1min", 8).await;
    server.send(&frame(b'c', b"")).await;
    assert!(matches!(client.failed().await, Error::Closed));
    let (server, client) = streaming("1min", 8).await;
    drop(server);
    assert!(matches!(client.failed().await, Error::Lost(_)));
}

#[tokio::test]
async fn what_is_not_understood_ends_the_stream_by_name() {
    let scripts = [
        (b"d\x7f\xff\xff\xff".to_vec(), "2147483647 bytes"),
        (b"d\0\0\0\0".to_vec(), "less than its own header"),
        (frame(b'Q', b"").to_vec(), "unexpected 'Q' frame"),
        (frame(b'd', b"z").to_vec(), "the tag 122"),
        (data(1, b"S").to_vec(), "the tag 83"),
        (data(1, INSERT).to_vec(), "table 16391"),
        (data(1, b"B\0").to_vec(), "Begin is cut short"),
    ];
    for (script, name) in scripts {
        let (mut server, client) = streaming("1min", 8).await;
        server.send(&script).await;
        match client.failed().await {
            Error::Malformed(malformed) => {
                assert!(malformed.to_string().contains(name), "{malformed}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_password_is_never_sent_in_clear_text_without_tls() {
    let error = opening(&frame(b'R', b"\0\0\0\x03")).await;
    assert!(matches!(&error, Error::Authentication(why) if why.contains("clear text")));
}

#[tokio::test]
async fn a_server_that_skips_its_own_proof_is_refused() {
    let mut script = frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    script.put(AUTHENTICATION_OK);
    assert!(matches!(opening(&script).await, Error::Authentication(_)));
}

#[tokio::test]
async fn a_stranger_can_not_make_us_wait_for_a_huge_frame() {
    let error = opening(b"R\x00\x20\x00\x00").await;
    assert!(matches!(
        error,
        Error::Malformed(Malformed::FrameTooLong { tag: 'R', .. })
    ));
    let error = opening(b"HTTP/1.1 400 Bad Request\r\n").await;
    assert!(matches!(error, Error::Malformed(_)));
}

#[tokio::test]
async fn a_server_that_starts_up_says_so() {
    let error = frame(b'E', b"SFATAL\0VFATAL\0C57P03\0Mstarting up\0\0");
    assert_eq!(opening(&error).await.code(), Some("57P03"));
}
