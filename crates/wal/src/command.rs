//! Commands of a replication session and their answers.

use postgres_protocol::message::frontend;

use crate::body::Body;
use crate::frame::ANSWER_BYTES_MAX;
use crate::response::ServerError;
use crate::wire::Wire;
use crate::{Error, Malformed};

/// The values of one row as text; `None` is null.
pub(crate) type Row = Vec<Option<String>>;

/// Runs a command to its end and returns the rows of all its results.
pub(crate) async fn query(wire: &mut Wire, sql: &str) -> Result<Vec<Row>, Error> {
    send(wire, sql)?;
    let (mut rows, mut bytes, mut failure) = (Vec::new(), 0, None);
    loop {
        let frame = wire.frame().await?;
        match frame.tag {
            b'D' => {
                bytes += frame.body.len();
                if bytes > ANSWER_BYTES_MAX {
                    return Err(Malformed::AnswerTooLong(ANSWER_BYTES_MAX).into());
                }
                rows.push(row(frame.body("a row"))?);
            }
            b'E' => failure = Some(ServerError::decode(frame.body("an error"))?),
            b'Z' => return failure.map_or(Ok(rows), |error| Err(error.into())),
            b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
            _ => return Err(frame.unexpected("in the answer to a command").into()),
        }
    }
}

/// Runs `START_REPLICATION` and returns once the server has begun to stream.
pub(crate) async fn start_replication(wire: &mut Wire, command: &str) -> Result<(), Error> {
    send(wire, command)?;
    loop {
        let frame = wire.frame().await?;
        match frame.tag {
            b'W' => return Ok(()),
            b'E' => return Err(ServerError::decode(frame.body("an error"))?.into()),
            b'N' | b'S' => {}
            _ => return Err(frame.unexpected("before the stream").into()),
        }
    }
}

fn send(wire: &mut Wire, command: &str) -> Result<(), Error> {
    frontend::query(command, wire.output())
        .map_err(|_| Error::Unsupported("a name or a command holds a null byte".to_owned()))
}

fn row(mut body: Body) -> Result<Row, Malformed> {
    let count = usize::from(body.u16()?);
    let mut row = Vec::with_capacity(count.min(body.remaining()));
    for _ in 0..count {
        let length = body.i32()?;
        row.push(match u32::try_from(length) {
            Ok(length) => Some(body.text(length)?.to_string()),
            // Any negative length is null.
            Err(_) => None,
        });
    }
    body.end()?;
    Ok(row)
}

/// An identifier as commands read it, whatever is in it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as commands read it, whatever is in it; replication commands know no escapes but `''`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_row_is_read_with_its_nulls() {
        let bytes = b"\0\x02\0\0\0\x02ab\xff\xff\xff\xff";
        let body = |bytes: &'static [u8]| Body::new(Bytes::from_static(bytes), "a row");
        assert_eq!(row(body(bytes)), Ok(vec![Some("ab".to_owned()), None]));
        for length in 0..bytes.len() {
            assert!(row(body(&bytes[..length])).is_err());
        }
    }

    #[test]
    fn names_can_not_leave_their_quotes() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("a'b"), "'a''b'");
    }
}
