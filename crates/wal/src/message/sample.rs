//! Messages as Postgres 15.18 sent them, for the tests beside each decoder.

use bytes::Bytes;

use super::Message;
use crate::Malformed;

/// Bytes written as a hexadecimal number, with spaces where they help.
pub(crate) fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Decodes a captured message, and checks that nothing shorter or longer passes.
pub(super) fn decode(hex: &str) -> Message {
    let bytes = bytes(hex);
    only_whole(&bytes);
    Message::decode(bytes).unwrap()
}

pub(super) fn refused(hex: &str) -> Malformed {
    Message::decode(bytes(hex)).unwrap_err()
}

pub(super) fn only_whole(bytes: &Bytes) {
    for length in 0..bytes.len() {
        assert!(
            Message::decode(bytes.slice(..length)).is_err(),
            "{length} bytes"
        );
    }
    let longer = [bytes, &b"\0"[..]].concat();
    assert!(Message::decode(longer.into()).is_err(), "a byte too many");
}
