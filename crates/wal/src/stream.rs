//! The loop that owns the socket. It decides nothing itself: what bytes mean is decided in
//! [`Assembler`], what may be confirmed in [`Gate`], when to speak in [`Pace`].

use std::sync::Arc;
use std::time::Duration;

use activity::{Lsn, Part};
use jiff::Timestamp;
use postgres_protocol::message::frontend;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::assembly::Assembler;
use crate::copy::{Copy, Status};
use crate::frame::Frame;
use crate::gate::Gate;
use crate::message::Message;
use crate::pace::Pace;
use crate::response::ServerError;
use crate::silence::Silence;
use crate::wire::Wire;
use crate::{Confirm, Ended, Error, Event, Limits, Malformed, Progress, Reason, Resume};

/// How long the server may take to close its side once we have closed ours.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What to stream and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub slot: String,
    pub publication: String,
    /// Transactions whose commit record begins before this are not sent. A position that the slot
    /// has passed already is forwarded by the server without a word.
    pub from: Lsn,
    pub resume: Resume,
    pub limits: Limits,
    /// How many times as long as usual the server may say nothing, from 1. Usual is `wal_sender_timeout`,
    /// 30 s at most.
    pub patience: u32,
}

/// A session that streams. Dropping it closes the connection at once.
pub struct Stream {
    wire: Wire,
    assembler: Assembler,
    gate: Gate,
    pace: Pace,
    silence: Silence,
    /// Bytes received when the silence was last broken.
    heard: u64,
    /// The highest end of the WAL that this connection has shown.
    wal_end: Lsn,
    /// The next event, while the channel is full.
    out: Option<Event>,
    /// The latest mark, until a part makes it superfluous.
    mark: Option<Lsn>,
    /// The highest mark or end so far.
    given: Lsn,
    progress: Arc<Progress>,
}

impl Stream {
    pub(crate) fn new(
        wire: Wire,
        sender_timeout: Option<Duration>,
        start: &Start,
        progress: Arc<Progress>,
    ) -> Self {
        let now = Instant::now();
        let pace = Pace::new(sender_timeout, now);
        Self {
            silence: Silence::new(pace.silence(), start.patience, now),
            heard: wire.received(),
            pace,
            wire,
            assembler: Assembler::new(start.limits, start.resume),
            gate: Gate::default(),
            wal_end: Lsn::ZERO,
            out: None,
            mark: None,
            given: Lsn::ZERO,
            progress,
        }
    }

    /// How far the stream is, readable while it runs.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Streams until told to stop, the receiver is gone, or something fails.
    ///
    /// While the channel is full the socket is not read, and the server is kept informed all the same.
    /// On a stop the server is told the last position that may be confirmed, and the connection is
    /// closed when this returns. Dropping the future closes it at once.
    pub async fn run(
        mut self,
        events: mpsc::Sender<Event>,
        mut confirms: watch::Receiver<Confirm>,
        stop: CancellationToken,
    ) -> Result<Ended, Error> {
        self.gate.push(*confirms.borrow_and_update());
        let mut confirms_open = true;
        let reason = loop {
            match self.pump(&events) {
                Ok(()) => {}
                Err(Halt::Abandoned) => break Reason::Abandoned,
                Err(Halt::Failed(error)) => return Err(error),
            }
            let confirmable = self.gate.confirmable(self.wal_end);
            let due = self.pace.due(confirmable);
            let waiting = self.out.is_some() || self.mark.is_some();
            let reading = self.out.is_none();
            self.listen(reading);
            tokio::select! {
                biased;
                () = stop.cancelled() => break Reason::Stopped,
                () = events.closed() => break Reason::Abandoned,
                () = sleep_until(due) => self.report(confirmable),
                () = sleep_until(self.silence.ends()) => {
                    return Err(Error::Silent(self.silence.length()));
                }
                changed = confirms.changed(), if confirms_open => match changed {
                    Ok(()) => self.gate.push(*confirms.borrow_and_update()),
                    Err(_) => confirms_open = false,
                },
                permit = events.reserve(), if waiting => match permit {
                    Ok(permit) => if let Some(event) = self.take_event() {
                        permit.send(event);
                    },
                    Err(_) => break Reason::Abandoned,
                },
                result = self.wire.turn(reading) => result?,
            }
        };
        self.gate.push(*confirms.borrow());
        self.leave(reason).await
    }

    /// Whoever does not read hears nothing either.
    fn listen(&mut self, reading: bool) {
        let heard = self.wire.received();
        if heard != std::mem::replace(&mut self.heard, heard) || !reading {
            self.silence.broken(Instant::now());
            self.progress.hear();
        }
    }

    /// Decodes what has arrived, as far as the channel takes what comes of it.
    fn pump(&mut self, events: &mpsc::Sender<Event>) -> Result<(), Halt> {
        while self.out.is_none() {
            let Some(frame) = self.wire.buffered()? else {
                break;
            };
            if let Some(part) = self.frame(frame)? {
                self.given = self.given.max(part.end.unwrap_or_default());
                self.mark = None;
                self.out = Some(Event::Part(part));
                self.offer(events)?;
            }
        }
        self.progress.receive(self.wire.received());
        self.offer(events)
    }

    fn offer(&mut self, events: &mpsc::Sender<Event>) -> Result<(), Halt> {
        let Some(event) = self.take_event() else {
            return Ok(());
        };
        match events.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(Event::Mark(mark))) => self.mark = Some(mark),
            Err(TrySendError::Full(part)) => self.out = Some(part),
            Err(TrySendError::Closed(_)) => return Err(Halt::Abandoned),
        }
        Ok(())
    }

    fn take_event(&mut self) -> Option<Event> {
        self.out
            .take()
            .or_else(|| self.mark.take().map(Event::Mark))
    }

    /// A part, if the frame completes one; a mark is kept in `mark`.
    fn frame(&mut self, frame: Frame) -> Result<Option<Part>, Error> {
        match frame.tag {
            b'd' => Ok(self.copy(Copy::decode(frame.body)?)?),
            b'N' => self.notice(frame).map(|()| None),
            b'S' => Ok(None),
            b'E' => Err(refusal(frame)?),
            b'c' | b'C' => Err(Error::Closed),
            _ => Err(frame.unexpected("in the stream").into()),
        }
    }

    fn copy(&mut self, copy: Copy) -> Result<Option<Part>, Malformed> {
        match copy {
            Copy::Keepalive { wal_end, reply } => {
                self.show(wal_end);
                if reply {
                    self.pace.ask();
                }
                if !self.assembler.in_transaction() {
                    self.mark(wal_end);
                }
                Ok(None)
            }
            Copy::Data {
                start,
                wal_end,
                message,
            } => {
                self.show(wal_end);
                let bytes = message.len();
                let message = Message::decode(message)?;
                match self.assembler.push(start, bytes, message)? {
                    Some(Event::Mark(mark)) => {
                        self.mark(mark);
                        Ok(None)
                    }
                    Some(Event::Part(part)) => Ok(Some(part)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Keeps the latest mark; one that says nothing new is none.
    fn mark(&mut self, mark: Lsn) {
        if mark > self.given {
            self.given = mark;
            self.mark = Some(mark);
        }
    }

    fn show(&mut self, wal_end: Lsn) {
        self.wal_end = self.wal_end.max(wal_end);
        self.progress.show(wal_end);
    }

    /// Postgres 18 warns, and delivers nothing, where earlier versions fail.
    fn notice(&self, frame: Frame) -> Result<(), Error> {
        let notice = ServerError::decode(frame.body("a notice"))?;
        if notice.code == "55000" {
            return Err(Error::Publication(Box::new(notice)));
        }
        tracing::warn!(
            severity = notice.severity,
            code = notice.code,
            "notice in the replication stream"
        );
        Ok(())
    }

    /// Tells the server where we are, unless it has not even taken what it was told before.
    fn report(&mut self, confirmable: Lsn) {
        let now = Instant::now();
        if self.wire.is_sending() {
            return self.pace.postpone(now);
        }
        self.write_status(confirmable);
        self.pace.sent(confirmable, now);
    }

    fn write_status(&mut self, confirmable: Lsn) {
        let status = Status {
            written: self.wal_end,
            flushed: confirmable,
            now: Timestamp::now(),
            reply: self.silence.asks(Instant::now()),
        };
        status.encode(self.wire.output());
        self.progress.confirm(confirmable);
    }

    /// Sends the last position and closes. A server that is gone already took what it took.
    async fn leave(mut self, reason: Reason) -> Result<Ended, Error> {
        let confirmed = self.gate.confirmable(self.wal_end);
        self.write_status(confirmed);
        frontend::terminate(self.wire.output());
        let _ = timeout(GOODBYE_MAX, self.wire.close()).await;
        Ok(Ended { confirmed, reason })
    }
}

/// Why decoding does not go on.
enum Halt {
    Abandoned,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The error of a stream that had begun. The slot was there, so what is missing is the publication.
fn refusal(frame: Frame) -> Result<Error, Malformed> {
    let error = Box::new(ServerError::decode(frame.body("an error"))?);
    Ok(match error.code.as_str() {
        "42704" => Error::Publication(error),
        _ => Error::Server(error),
    })
}
