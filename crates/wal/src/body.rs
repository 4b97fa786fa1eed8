use activity::Lsn;
use bytes::{Buf, Bytes};
use bytestring::ByteString;
use jiff::Timestamp;

use crate::Malformed;

/// Microseconds from 1970 to 2000, where Postgres counts from.
pub(crate) const POSTGRES_EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// Reads a message from its first byte to its last; every read says what it was in if it fails.
///
/// Texts and values are slices of the buffer that the socket was read into.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    message: &'static str,
}

impl Body {
    pub(crate) fn new(bytes: Bytes, message: &'static str) -> Self {
        Self { bytes, message }
    }

    pub(crate) fn named(self, message: &'static str) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.bytes.try_get_u8().map_err(|_| self.truncated())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.bytes.try_get_u16().map_err(|_| self.truncated())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes.try_get_u32().map_err(|_| self.truncated())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.bytes.try_get_i32().map_err(|_| self.truncated())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.bytes.try_get_i64().map_err(|_| self.truncated())
    }

    pub(crate) fn lsn(&mut self) -> Result<Lsn, Malformed> {
        let bytes = self.bytes.try_get_u64().map_err(|_| self.truncated())?;
        Ok(Lsn::new(bytes))
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Malformed> {
        let since_1970 = self.i64()?.checked_add(POSTGRES_EPOCH_MICROSECONDS);
        since_1970
            .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok())
            .ok_or(Malformed::TimeOutOfRange {
                message: self.message,
            })
    }

    pub(crate) fn bytes(&mut self, length: u32) -> Result<Bytes, Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.bytes.len() {
            return Err(self.truncated());
        }
        Ok(self.bytes.split_to(length))
    }

    pub(crate) fn text(&mut self, length: u32) -> Result<ByteString, Malformed> {
        let text = ByteString::try_from(self.bytes(length)?);
        text.map_err(|_| self.not_utf8())
    }

    /// A text that ends with a null byte.
    pub(crate) fn terminated(&mut self) -> Result<ByteString, Malformed> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let text = self.bytes.split_to(end.ok_or_else(|| self.truncated())?);
        self.bytes.advance(1);
        ByteString::try_from(text).map_err(|_| self.not_utf8())
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(Malformed::Trailing {
                message: self.message,
                bytes,
            }),
        }
    }

    pub(crate) fn unknown(&self, what: &'static str, value: impl Into<u32>) -> Malformed {
        Malformed::Unknown {
            message: self.message,
            what,
            value: value.into(),
        }
    }

    fn truncated(&self) -> Malformed {
        Malformed::Truncated {
            message: self.message,
        }
    }

    fn not_utf8(&self) -> Malformed {
        Malformed::NotUtf8 {
            message: self.message,
        }
    }
}
