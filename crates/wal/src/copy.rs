//! The messages inside the copy: what the server streams and what it is told
//! ([streaming replication protocol]).
//!
//! [streaming replication protocol]: https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-START-REPLICATION

use activity::Lsn;
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;

use crate::Malformed;
use crate::body::{Body, POSTGRES_EPOCH_MICROSECONDS};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    Data {
        /// Where the record of this message is; zero for a message that only prepares another one.
        start: Lsn,
        wal_end: Lsn,
        message: Bytes,
    },
    Keepalive {
        wal_end: Lsn,
        /// The server wants to hear from us now.
        reply: bool,
    },
}

impl Copy {
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut body = Body::new(bytes, "copy data");
        match body.u8()? {
            b'w' => {
                let mut body = body.named("XLogData");
                let start = body.lsn()?;
                let wal_end = body.lsn()?;
                // The time it was sent; a clock that is off must not stop the stream.
                body.i64()?;
                let message = body.rest();
                Ok(Self::Data {
                    start,
                    wal_end,
                    message,
                })
            }
            b'k' => {
                let mut body = body.named("a keepalive");
                let wal_end = body.lsn()?;
                body.i64()?;
                let reply = match body.u8()? {
                    0 => false,
                    1 => true,
                    other => return Err(body.unknown("the reply flag", other)),
                };
                body.end()?;
                Ok(Self::Keepalive { wal_end, reply })
            }
            tag => Err(body.unknown("the tag", tag)),
        }
    }
}

/// A standby status update: what was received, and what may be forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) written: Lsn,
    /// Flushed and applied alike.
    pub(crate) flushed: Lsn,
    /// Shown by the server as `reply_time`, no more.
    pub(crate) now: Timestamp,
    /// Whether the server is to answer at once.
    pub(crate) reply: bool,
}

impl Status {
    pub(crate) fn encode(&self, output: &mut BytesMut) {
        const LENGTH: u32 = 4 + 1 + 8 + 8 + 8 + 8 + 1;
        output.put_u8(b'd');
        output.put_u32(LENGTH);
        output.put_u8(b'r');
        output.put_u64(self.written.get());
        output.put_u64(self.flushed.get());
        output.put_u64(self.flushed.get());
        output.put_i64(self.now.as_microsecond() - POSTGRES_EPOCH_MICROSECONDS);
        output.put_u8(self.reply.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEEPALIVE: &[u8] = b"k\0\0\0\0\x01\x95\x4e\xd8\0\x02\xf3\x8c\xd5\x50\xd3\xb4\x01";

    #[test]
    fn a_keepalive_carries_the_end_of_the_wal_and_whether_it_wants_an_answer() {
        assert_eq!(
            Copy::decode(Bytes::from_static(KEEPALIVE)),
            Ok(Copy::Keepalive {
                wal_end: Lsn::new(0x195_4ED8),
                reply: true
            })
        );
    }

    #[test]
    fn a_keepalive_cut_anywhere_or_too_long_is_refused() {
        for length in 0..KEEPALIVE.len() {
            assert!(Copy::decode(Bytes::copy_from_slice(&KEEPALIVE[..length])).is_err());
        }
        let longer = [KEEPALIVE, b"\0"].concat();
        assert_eq!(
            Copy::decode(longer.into()),
            Err(Malformed::Trailing {
                message: "a keepalive",
                bytes: 1
            })
        );
    }

    #[test]
    fn a_status_update_has_the_length_it_says() {
        let mut output = BytesMut::new();
        let status = Status {
            written: Lsn::new(9),
            flushed: Lsn::new(7),
            now: "2000-01-01T00:00:01Z".parse().unwrap(),
            reply: true,
        };
        status.encode(&mut output);
        assert_eq!(output.len(), 1 + 38);
        assert_eq!(output[1..5], 38u32.to_be_bytes());
        assert_eq!(output[6..14], 9u64.to_be_bytes());
        assert_eq!(output[14..22], output[22..30]);
        assert_eq!(output[30..38], 1_000_000i64.to_be_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = Copy::decode(bytes.into());
        }
    }
}
