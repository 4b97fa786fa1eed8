use activity::Lsn;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tests::Stage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::NAME;

/// A replication session that says what a test wants said: crate `wal` answers as it should, so it can not
/// show what comes of other answers.
pub(super) struct Socket {
    stream: UnixStream,
    input: BytesMut,
}

#[derive(Debug)]
pub(super) enum Heard {
    Keepalive { wal_end: Lsn },
    Message { tag: char, wal_end: Lsn },
}

impl Heard {
    pub(super) fn wal_end(&self) -> Lsn {
        match self {
            Self::Keepalive { wal_end } | Self::Message { wal_end, .. } => *wal_end,
        }
    }
}

impl Socket {
    /// Reads the slot from where it stands.
    pub(super) async fn stream(stage: &Stage) -> Self {
        let path = format!(".s.PGSQL.{}", stage.server.port());
        let path = stage.server.socket_dir().join(path);
        let mut socket = Self {
            stream: UnixStream::connect(path).await.unwrap(),
            input: BytesMut::new(),
        };
        const STARTUP: &[u8] =
            b"\0\x03\0\0user\0postgres\0database\0app\0replication\0database\0\0";
        socket.say(None, STARTUP).await;
        socket.until(b'Z').await;
        let start = format!(
            "START_REPLICATION SLOT {NAME} LOGICAL 0/0 (proto_version '1', publication_names '{NAME}')\0"
        );
        socket.say(Some(b'Q'), start.as_bytes()).await;
        socket.until(b'W').await;
        socket
    }

    /// The next thing that the server says in the stream.
    pub(super) async fn hear(&mut self) -> Heard {
        let (_, mut body) = self.until(b'd').await;
        match body.get_u8() {
            b'k' => Heard::Keepalive {
                wal_end: Lsn::new(body.get_u64()),
            },
            b'w' => {
                body.advance(8);
                let wal_end = Lsn::new(body.get_u64());
                body.advance(8);
                let tag = char::from(body.get_u8());
                Heard::Message { tag, wal_end }
            }
            other => panic!("{other}"),
        }
    }

    /// A standby status update that asks for no answer.
    pub(super) async fn status(&mut self, written: Lsn, flushed: Lsn) {
        let mut body = BytesMut::new();
        body.put_u8(b'r');
        for lsn in [written, flushed, flushed] {
            body.put_u64(lsn.get());
        }
        body.put_i64(0);
        body.put_u8(0);
        self.say(Some(b'd'), &body).await;
    }

    async fn say(&mut self, tag: Option<u8>, body: &[u8]) {
        let mut frame = BytesMut::new();
        if let Some(tag) = tag {
            frame.put_u8(tag);
        }
        frame.put_u32(u32::try_from(body.len()).unwrap() + 4);
        frame.put_slice(body);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame of this kind. Cancel safe.
    async fn until(&mut self, wanted: u8) -> (u8, Bytes) {
        loop {
            let (tag, body) = self.frame().await;
            assert!(tag != b'E', "{}", String::from_utf8_lossy(&body));
            if tag == wanted {
                return (tag, body);
            }
        }
    }

    async fn frame(&mut self) -> (u8, Bytes) {
        loop {
            if let Some(head) = self.input.first_chunk::<5>() {
                let [tag, length @ ..] = *head;
                let whole = 1 + u32::from_be_bytes(length) as usize;
                if self.input.len() >= whole {
                    let mut frame = self.input.split_to(whole).freeze();
                    frame.advance(5);
                    return (tag, frame);
                }
            }
            let read = self.stream.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "the server has closed the session");
        }
    }
}
