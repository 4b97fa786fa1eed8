//! The socket with its buffers. Cancel safe throughout: what was read or must be written stays here.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use connect::Stream;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::{Frame, STARTUP_BYTES_MAX};
use crate::{Error, Malformed};

/// Room for one read of the socket. Values are slices of such a buffer and keep it alive.
const READ_BYTES: usize = 128 << 10;
/// A read is not worth a system call with less room than this.
const READ_BYTES_MIN: usize = 16 << 10;

pub(crate) struct Wire {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    /// Something was written that may still be in the TLS layer.
    unflushed: bool,
    frame_max: usize,
    received: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unflushed: false,
            frame_max: STARTUP_BYTES_MAX,
            received: 0,
        }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Accepts frames with bodies of up to `bytes` from now on.
    pub(crate) fn accept(&mut self, bytes: usize) {
        self.frame_max = bytes;
    }

    /// Bytes received, after decryption.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// What is to be sent by the next [`Wire::turn`], [`Wire::frame`] or [`Wire::flush`].
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.output.is_empty() || self.unflushed
    }

    /// The next frame that has already arrived whole.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, Malformed> {
        Frame::split(&mut self.input, self.frame_max)
    }

    /// Sends what is to be sent and waits for the next frame.
    pub(crate) async fn frame(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.turn(true).await?;
        }
    }

    /// Sends what is to be sent and, if `reading`, returns once something arrived; else only to
    /// report a broken connection.
    pub(crate) async fn turn(&mut self, reading: bool) -> io::Result<()> {
        poll_fn(|context| self.poll_turn(context, reading)).await
    }

    /// Returns once everything was sent.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context)).await
    }

    /// Ends the session: what is to be sent is sent, then nothing more; what still arrives is
    /// thrown away until the server has closed its side too.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await?;
        loop {
            self.input.clear();
            match self.turn(true).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, reading: bool) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        if !reading {
            return Poll::Pending;
        }
        self.poll_receive(context)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.output);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.output.advance(bytes),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(READ_BYTES);
        }
        let read = pin!(self.stream.read_buf(&mut self.input));
        match ready!(read.poll(context))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            bytes => {
                self.received += bytes as u64;
                Poll::Ready(Ok(()))
            }
        }
    }
}
