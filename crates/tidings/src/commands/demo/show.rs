use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::event::{Event, Recorded};
use super::ledger::{Ledger, Totals};
use super::screen::Screen;

/// How long nothing must come any more before the story counts as settled.
const QUIET: Duration = Duration::from_millis(200);

/// Keeps the ledger and the screen.
pub struct Show {
    pub screen: Screen<io::Stdout>,
    ledger: Ledger,
    events: Receiver<Event>,
}

impl Show {
    pub fn new(screen: Screen<io::Stdout>, events: Receiver<Event>) -> Self {
        Self {
            screen,
            ledger: Ledger::default(),
            events,
        }
    }

    /// Tells what happens until this other thing is done.
    pub async fn tell_until<T>(&mut self, done: impl Future<Output = T>) -> io::Result<T> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.tell(event)?,
                done = &mut done => return Ok(done),
            }
        }
    }

    /// Tells what still comes until everything expected is there and no more comes, or `enough`.
    pub async fn settle(&mut self, enough: impl Future<Output = ()>) -> io::Result<()> {
        tokio::pin!(enough);
        loop {
            tokio::select! {
                biased;
                () = &mut enough => return Ok(()),
                event = tokio::time::timeout(QUIET, self.events.recv()) => match event {
                    Ok(Some(event)) => self.tell(event)?,
                    Ok(None) => return Ok(()),
                    Err(_) if self.ledger.is_settled() => return Ok(()),
                    Err(_) => {}
                }
            }
        }
    }

    /// Takes the table as it is in the end, and counts.
    pub fn close(&mut self, rows: Vec<Recorded>) -> io::Result<Totals> {
        for row in rows {
            self.tell(Event::Recorded(row))?;
        }
        Ok(self.ledger.totals())
    }

    fn tell(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Committed {
                at,
                words,
                expected,
            } => {
                self.ledger.committed(at, expected);
                self.screen.committed(at, &words)
            }
            Event::RolledBack { at, words } => {
                self.ledger.rolled_back();
                self.screen.rolled_back(at, &words)
            }
            Event::Recorded(Recorded {
                at,
                action_id,
                sentence,
            }) => {
                let facts = self.ledger.recorded(at, &action_id, sentence);
                facts.iter().try_for_each(|fact| self.screen.fact(fact))
            }
            Event::Notified {
                at,
                action_id,
                sentence,
            } => {
                let fact = self.ledger.notified(at, &action_id, sentence);
                fact.iter().try_for_each(|fact| self.screen.fact(fact))
            }
            Event::Refused { at, reason } => {
                self.ledger.refused();
                self.screen.refused(at, &reason.to_string())
            }
        }
    }
}
