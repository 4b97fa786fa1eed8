//! Cuts the server's bytes into frames: a tag, a length, a body.

use bytes::{Buf, Bytes, BytesMut};

use crate::Malformed;
use crate::body::Body;

/// The tag, and a length that counts itself but not the tag.
const HEADER_BYTES: usize = 5;
const LENGTH_BYTES: u32 = 4;

/// While the server has not shown who it is.
pub(crate) const STARTUP_BYTES_MAX: usize = 64 << 10;
/// In answers to commands.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// In the stream: the largest value is 1 GiB, and Postgres builds no larger message.
pub(crate) const STREAM_BYTES_MAX: usize = (1 << 30) + (64 << 10);

pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

impl Frame {
    /// Takes the first frame from `input`; `None` where more bytes are needed.
    ///
    /// # Errors
    /// A length above `max`, or below what a length can be.
    pub(crate) fn split(input: &mut BytesMut, max: usize) -> Result<Option<Self>, Malformed> {
        let Some(&[tag, a, b, c, d]) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_be_bytes([a, b, c, d]);
        let Some(body) = bytes.checked_sub(LENGTH_BYTES) else {
            let tag = char::from(tag);
            return Err(Malformed::FrameTooShort { tag, bytes });
        };
        let body = usize::try_from(body).unwrap_or(usize::MAX);
        if body > max {
            let tag = char::from(tag);
            return Err(Malformed::FrameTooLong { tag, bytes, max });
        }
        if input.len() - HEADER_BYTES < body {
            return Ok(None);
        }
        input.advance(HEADER_BYTES);
        let body = input.split_to(body).freeze();
        Ok(Some(Self { tag, body }))
    }

    pub(crate) fn body(self, message: &'static str) -> Body {
        Body::new(self.body, message)
    }

    pub(crate) fn unexpected(&self, during: &'static str) -> Malformed {
        let tag = char::from(self.tag);
        Malformed::UnexpectedFrame { tag, during }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], max: usize) -> Result<Option<(u8, Vec<u8>)>, Malformed> {
        let mut input = BytesMut::from(bytes);
        let frame = Frame::split(&mut input, max)?;
        Ok(frame.map(|frame| (frame.tag, frame.body.to_vec())))
    }

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let bytes = b"Z\0\0\0\x05I";
        assert_eq!(split(bytes, 16), Ok(Some((b'Z', b"I".to_vec()))));
        for length in 0..bytes.len() {
            assert_eq!(split(&bytes[..length], 16), Ok(None));
        }
    }

    #[test]
    fn a_length_that_can_not_be_is_refused_by_name() {
        assert_eq!(
            split(b"d\xff\xff\xff\xff", STREAM_BYTES_MAX),
            Err(Malformed::FrameTooLong {
                tag: 'd',
                bytes: u32::MAX,
                max: STREAM_BYTES_MAX
            })
        );
        assert_eq!(
            split(b"d\0\0\0\x03", 16),
            Err(Malformed::FrameTooShort { tag: 'd', bytes: 3 })
        );
        assert!(split(b"R\0\0\0\x15", 16).is_err());
        assert_eq!(split(b"R\0\0\0\x14", 16), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_give_frames_or_an_error(bytes: Vec<u8>) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::split(&mut input, 1000) {}
        }
    }
}
