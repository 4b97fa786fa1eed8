//! Tables compared with images, chunk by chunk, beside the stream.
//!
//! [`reader`] reads chunks of rows in short transactions of its own. The writer applies a chunk between
//! two commit groups, once the stream has shown everything that the chunk's snapshot may have seen.
//! [`merge`] then decides, for each key, whether the stream is newer, and what differs. Images,
//! actions and the cursor commit together, so a crash repeats nothing.

mod apply;
mod chunk;
mod merge;
mod reader;
mod tell;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

pub use apply::{is_wanted, needed};
pub use chunk::{Chunk, Reply};
pub use merge::{Compared, Found, compare, differing};
pub use reader::Reader;
pub use tell::{Synthetic, Teller};

use super::Fault;
use super::writer::Writer;

/// How often it is looked whether something was asked for.
const PERIOD: Duration = Duration::from_millis(700);

/// The writer's end: what is taken up goes to the reader, and chunks come back.
pub struct Desk {
    open: watch::Sender<BTreeSet<i32>>,
    chunks: mpsc::Receiver<Chunk>,
    /// A chunk that waits for the stream.
    held: Option<Chunk>,
    period: Interval,
}

/// What there is to do.
pub enum Due {
    /// Look whether something was asked for.
    Look,
    /// Hold this until it can be applied.
    Hold(Box<Chunk>),
}

/// Both ends, one chunk apart at most.
pub fn desk<'a>(context: &'a super::Context) -> (Desk, Reader<'a>) {
    let (open, opened) = watch::channel(BTreeSet::new());
    let (sender, chunks) = mpsc::channel(1);
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let desk = Desk {
        open,
        chunks,
        held: None,
        period,
    };
    (desk, Reader::new(context, opened, sender))
}

impl Desk {
    /// Cancel safe.
    pub async fn due(&mut self) -> Due {
        tokio::select! {
            _ = self.period.tick() => Due::Look,
            Some(chunk) = self.chunks.recv(), if self.held.is_none() => Due::Hold(Box::new(chunk)),
        }
    }

    /// Does what is due: one small query, or nothing at all.
    pub async fn tend(&mut self, due: Due, writer: &mut Writer<'_>) -> Result<(), Fault> {
        match due {
            Due::Look => self.look(writer).await,
            Due::Hold(chunk) => {
                self.held = Some(*chunk);
                Ok(())
            }
        }
    }

    /// Whether a chunk waits no more.
    pub fn can_apply(&self, writer: &Writer<'_>) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|chunk| writer.has_passed(chunk.lsn))
    }

    /// Applies the chunk that is held.
    pub async fn apply(&mut self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        let Some(chunk) = self.held.take() else {
            return Ok(());
        };
        let reply = writer.apply(&chunk).await?;
        if chunk.next.finished && reply == Reply::Applied {
            self.look(writer).await?;
        }
        // A reader that is gone asks again when it is back.
        let _ = chunk.reply.send(reply);
        Ok(())
    }

    async fn look(&self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        let open = writer.take_up().await?;
        let was_busy = !self.open.borrow().is_empty();
        if was_busy && open.is_empty() {
            tracing::info!(
                "every table is compared with its images, and nothing more was asked for"
            );
        }
        self.open.send_if_modified(|known| {
            let differs = *known != open;
            *known = open;
            differs
        });
        Ok(())
    }
}
