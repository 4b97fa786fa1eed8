//! What is committed together, and what may be confirmed afterwards. Pure.

use activity::{Change, Lsn, Operation, Part, Row, Value};
use wal::Event;

/// Changes that one commit group takes before it stops taking more.
const CHANGES_MAX: usize = 4096;
/// Bytes of values that it takes before it stops taking more.
const BYTES_MAX: usize = 16 << 20;

/// Events of the stream, gathered for one commit.
#[derive(Debug, Default)]
pub struct Group {
    pub parts: Vec<Part>,
    /// The highest point without actions past the last part.
    mark: Option<Lsn>,
    changes: usize,
    bytes: usize,
}

impl Group {
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Part(part) => {
                // A mark before a transaction says less than its end does.
                self.mark = None;
                self.changes += part.changes.len().max(1);
                self.bytes += part.changes.iter().map(bytes).sum::<usize>();
                self.parts.push(part);
            }
            Event::Mark(lsn) => self.mark = Some(lsn),
        }
    }

    /// Leaves out the parts from this one on, and what came after them.
    pub fn cut(&mut self, place: usize) {
        self.parts.truncate(place);
        self.mark = None;
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.mark.is_none()
    }

    pub fn is_full(&self) -> bool {
        self.changes >= CHANGES_MAX || self.bytes >= BYTES_MAX
    }

    pub fn changes(&self) -> usize {
        self.changes
    }

    /// What may be confirmed once the group is committed; `None` where that is nothing new, as while
    /// a large transaction is half done.
    pub fn confirmable(&self) -> Option<Lsn> {
        let whole = self.parts.iter().rev().find_map(|part| part.end);
        match self.parts.last() {
            Some(last) if last.end.is_none() => whole,
            Some(_) | None => self.mark.or(whole),
        }
    }
}

/// What the values of a change hold.
fn bytes(change: &Change) -> usize {
    let row = |row: &Row| row.values.iter().map(value_bytes).sum::<usize>();
    match &change.operation {
        Operation::Insert { new } => row(new),
        Operation::Update { old, new } => row(new) + old.as_ref().map_or(0, |old| row(old.row())),
        Operation::Delete { old } => row(old.row()),
        Operation::Truncate { .. } => 0,
        Operation::Message { content, .. } => content.len(),
    }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Unchanged => 0,
        Value::Text(text) => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::{Begin, Xid};
    use jiff::Timestamp;

    fn part(end: Option<u64>) -> Event {
        let begin = Begin {
            commit_lsn: Lsn::new(1),
            commit_time: Timestamp::UNIX_EPOCH,
            xid: Xid(3),
        };
        Event::Part(Part {
            begin,
            changes: Vec::new(),
            first: true,
            end: end.map(Lsn::new),
        })
    }

    fn confirmable(events: Vec<Event>) -> Option<u64> {
        let mut group = Group::default();
        events.into_iter().for_each(|event| group.push(event));
        group.confirmable().map(Lsn::get)
    }

    #[test]
    fn the_highest_end_or_mark_is_confirmable() {
        assert_eq!(confirmable(vec![]), None);
        assert_eq!(confirmable(vec![Event::Mark(Lsn::new(5))]), Some(5));
        assert_eq!(confirmable(vec![part(Some(7))]), Some(7));
        assert_eq!(
            confirmable(vec![Event::Mark(Lsn::new(5)), part(Some(7))]),
            Some(7)
        );
        assert_eq!(
            confirmable(vec![part(Some(7)), Event::Mark(Lsn::new(9))]),
            Some(9)
        );
    }

    #[test]
    fn a_half_done_transaction_holds_everything_after_it() {
        assert_eq!(confirmable(vec![part(None)]), None);
        assert_eq!(confirmable(vec![part(Some(7)), part(None)]), Some(7));
        assert_eq!(
            confirmable(vec![Event::Mark(Lsn::new(5)), part(None)]),
            None
        );
    }
}
