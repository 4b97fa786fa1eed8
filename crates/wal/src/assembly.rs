//! Turns messages into committed transactions. Pure: no socket, no clock.
//!
//! The server streams a transaction only after its commit, whole, in commit order. Here it gets its
//! rows' tables and addresses, is cut where it is too large, and loses what was committed on our
//! side before.

use activity::{Begin, Change, Lsn, Operation, Part, Position, Xid};
use jiff::Timestamp;

use crate::message::{Commit, Logical, Message};
use crate::relations::Relations;
use crate::{Event, Malformed};

/// Messages outside of any transaction are heard under this prefix alone.
const PREFIX: &str = "tidings";

/// A part is cut at whichever of these is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub changes: usize,
    /// Of messages as received.
    pub bytes: usize,
}

/// What was committed on our side before this connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The last transaction that is complete: it and those before it are skipped.
    pub commit_lsn: Lsn,
    /// A transaction of which a piece is done: where it commits, and the last change that is done.
    pub half: Option<(Lsn, Position)>,
}

#[derive(Debug)]
pub(crate) struct Assembler {
    relations: Relations,
    limits: Limits,
    resume: Resume,
    open: Option<Open>,
}

/// A transaction of which Commit has not been seen.
#[derive(Debug)]
struct Open {
    begin: Begin,
    skip: Skip,
    first: bool,
    changes: Vec<Change>,
    bytes: usize,
    /// The address of the last change, whether skipped or not.
    last: Option<Position>,
}

#[derive(Debug)]
enum Skip {
    Nothing,
    Through(Position),
    Everything,
}

impl Assembler {
    pub(crate) fn new(limits: Limits, resume: Resume) -> Self {
        Self {
            relations: Relations::default(),
            limits,
            resume,
            open: None,
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next message, found at `start` in the WAL and `bytes` long.
    pub(crate) fn push(
        &mut self,
        start: Lsn,
        bytes: usize,
        message: Message,
    ) -> Result<Option<Event>, Malformed> {
        match message {
            Message::Begin(begin) => self.begin(begin).map(|()| None),
            Message::Commit(commit) => self.commit(commit).map(Some),
            Message::Relation(relation) => {
                self.relations.describe(relation);
                Ok(None)
            }
            Message::Origin | Message::Type => Ok(None),
            Message::Logical(logical) => self.logical(start, bytes, &logical),
            Message::Insert(insert) => {
                let new = self.relations.row(insert.relation, insert.new)?;
                self.row_change("Insert", start, bytes, Operation::Insert { new })
            }
            Message::Update(update) => {
                let old = update.old;
                let old = old.map(|old| self.relations.old_row(update.relation, old));
                let old = old.transpose()?;
                let new = self.relations.row(update.relation, update.new)?;
                self.row_change("Update", start, bytes, Operation::Update { old, new })
            }
            Message::Delete(delete) => {
                let old = self.relations.old_row(delete.relation, delete.old)?;
                self.row_change("Delete", start, bytes, Operation::Delete { old })
            }
            Message::Truncate(truncate) => {
                let relations = truncate.relations.into_iter();
                let relations = relations.map(|oid| self.relations.get(oid));
                let relations = relations.collect::<Result<_, _>>()?;
                self.row_change("Truncate", start, bytes, Operation::Truncate { relations })
            }
        }
    }

    fn begin(&mut self, begin: Begin) -> Result<(), Malformed> {
        if self.open.is_some() {
            return Err(Malformed::NestedBegin);
        }
        let skip = self.skip(begin.commit_lsn)?;
        self.open = Some(Open {
            begin,
            first: !matches!(skip, Skip::Through(_)),
            skip,
            changes: Vec::new(),
            bytes: 0,
            last: None,
        });
        Ok(())
    }

    fn skip(&mut self, commit_lsn: Lsn) -> Result<Skip, Malformed> {
        if commit_lsn <= self.resume.commit_lsn {
            return Ok(Skip::Everything);
        }
        match self.resume.half {
            Some((half, position)) if commit_lsn == half => {
                self.resume.half = None;
                Ok(Skip::Through(position))
            }
            Some((half, _)) if half < commit_lsn && half > self.resume.commit_lsn => {
                let next = commit_lsn;
                Err(Malformed::HalfDoneMissing { half, next })
            }
            _ => Ok(Skip::Nothing),
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<Event, Malformed> {
        let message = "Commit";
        let open = self.open.take();
        let open = open.ok_or(Malformed::OutsideTransaction { message })?;
        if open.begin.commit_lsn != commit.commit_lsn {
            return Err(Malformed::CommitMismatch {
                begin: open.begin.commit_lsn,
                commit: commit.commit_lsn,
            });
        }
        Ok(if open.first && open.changes.is_empty() {
            Event::Mark(commit.end_lsn)
        } else {
            Event::Part(Part {
                begin: open.begin,
                changes: open.changes,
                first: open.first,
                end: Some(commit.end_lsn),
            })
        })
    }

    fn logical(
        &mut self,
        end: Lsn,
        bytes: usize,
        logical: &Logical,
    ) -> Result<Option<Event>, Malformed> {
        // A message is found at the end of its record, where the next change's record may begin.
        // Its address is the last byte of its own, so that each change has an address of its own.
        let lsn = Lsn::new(end.get().saturating_sub(1));
        let position = Position { lsn, index: 0 };
        let operation = Operation::Message {
            prefix: logical.prefix.to_string(),
            content: logical.content.to_vec(),
        };
        if logical.transactional {
            return self.change("Message", position, bytes, operation);
        }
        if logical.prefix != PREFIX {
            return Ok(None);
        }
        let change = Change {
            position,
            operation,
        };
        self.announcement(change, end).map(Some)
    }

    /// A message that belongs to no transaction is like one of its own, which commits in the last byte of
    /// its record: where that ends, the commit record of the next one may begin.
    fn announcement(&mut self, change: Change, end: Lsn) -> Result<Event, Malformed> {
        if let Some(open) = &self.open {
            let commit = open.begin.commit_lsn;
            return Err(Malformed::MessageInside { commit });
        }
        let commit_lsn = change.position.lsn;
        Ok(match self.skip(commit_lsn)? {
            Skip::Everything | Skip::Through(_) => Event::Mark(end),
            Skip::Nothing => Event::Part(Part {
                begin: Begin {
                    commit_lsn,
                    // The WAL tells neither; an address alone tells messages apart.
                    commit_time: Timestamp::UNIX_EPOCH,
                    xid: Xid(0),
                },
                changes: vec![change],
                first: true,
                end: Some(end),
            }),
        })
    }

    fn row_change(
        &mut self,
        message: &'static str,
        lsn: Lsn,
        bytes: usize,
        operation: Operation,
    ) -> Result<Option<Event>, Malformed> {
        let last = self.open.as_ref().and_then(|open| open.last);
        let index = match last {
            Some(last) if last.lsn == lsn => last.index.saturating_add(1),
            _ => 0,
        };
        self.change(message, Position { lsn, index }, bytes, operation)
    }

    fn change(
        &mut self,
        message: &'static str,
        position: Position,
        bytes: usize,
        operation: Operation,
    ) -> Result<Option<Event>, Malformed> {
        let open = self.open.as_mut();
        let open = open.ok_or(Malformed::OutsideTransaction { message })?;
        open.last = Some(position);
        let done = match open.skip {
            Skip::Nothing => false,
            Skip::Through(last) => position <= last,
            Skip::Everything => true,
        };
        if done {
            return Ok(None);
        }
        open.changes.push(Change {
            position,
            operation,
        });
        open.bytes = open.bytes.saturating_add(bytes);
        let full = open.changes.len() >= self.limits.changes || open.bytes >= self.limits.bytes;
        Ok(full.then(|| Event::Part(open.cut())))
    }
}

impl Open {
    fn cut(&mut self) -> Part {
        self.bytes = 0;
        Part {
            begin: self.begin,
            changes: std::mem::take(&mut self.changes),
            first: std::mem::replace(&mut self.first, false),
            end: None,
        }
    }
}

#[cfg(test)]
mod tests;
