use bytes::BytesMut;

use crate::assembly::Assembler;
use crate::copy::Copy;
use crate::frame::{Frame, STREAM_BYTES_MAX};
use crate::message::Message;
use crate::{Error, Event, Limits, Resume};

/// Decodes and assembles recorded frames as a stream does, without a socket: for fuzzing and benches.
///
/// Returns how many changes came out; bytes of an incomplete last frame are ignored.
///
/// # Errors
/// As a stream would end with, where the frames are not understood.
pub fn replay(frames: &[u8], limits: Limits, resume: Resume) -> Result<usize, Error> {
    let mut input = BytesMut::from(frames);
    let mut assembler = Assembler::new(limits, resume);
    let mut changes = 0;
    while let Some(frame) = Frame::split(&mut input, STREAM_BYTES_MAX)? {
        if frame.tag != b'd' {
            return Err(frame.unexpected("in the stream").into());
        }
        if let Copy::Data { start, message, .. } = Copy::decode(frame.body)? {
            let bytes = message.len();
            let event = assembler.push(start, bytes, Message::decode(message)?)?;
            if let Some(Event::Part(part)) = event {
                changes += part.changes.len();
            }
        }
    }
    Ok(changes)
}
