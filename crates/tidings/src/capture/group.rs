//! What is committed together, and what may be confirmed afterwards. Pure.

use std::sync::atomic::{AtomicUsize, Ordering};

use activity::{Change, Lsn, Operation, Part, Row, Value};
use wal::Event;

/// Changes that one commit group takes before it stops taking more.
const CHANGES_MAX: usize = 4096;
/// The same after a group of which too many rows were refused to find them in time.
const CHANGES_FEW: usize = 64;
/// Bytes of values that it takes before it stops taking more.
const BYTES_MAX: usize = 16 << 20;

/// How many changes a group may have by now; outlives sessions.
#[derive(Debug)]
pub struct GroupSize(AtomicUsize);

impl Default for GroupSize {
    fn default() -> Self {
        Self(AtomicUsize::new(CHANGES_MAX))
    }
}

impl GroupSize {
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A group was too large to find its rows at fault in time.
    pub fn shrink(&self) {
        self.0.store(CHANGES_FEW, Ordering::Relaxed);
    }

    /// A group without any is in.
    pub fn grow(&self) {
        let twice = self.get().saturating_mul(2).min(CHANGES_MAX);
        self.0.store(twice, Ordering::Relaxed);
    }
}

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

    pub fn is_full(&self, size: &GroupSize) -> bool {
        self.changes >= size.get() || self.bytes >= BYTES_MAX
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
    fn groups_are_small_after_one_that_was_too_large_and_grow_again() {
        let size = GroupSize::default();
        size.grow();
        assert_eq!(size.get(), CHANGES_MAX);
        size.shrink();
        let sizes: Vec<usize> = std::iter::repeat_with(|| {
            size.grow();
            size.get()
        })
        .take(7)
        .collect();
        assert_eq!(sizes, [128, 256, 512, 1024, 2048, 4096, 4096]);
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
