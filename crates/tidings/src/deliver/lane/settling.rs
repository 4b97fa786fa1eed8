//! How far a lane has come, and what of that must be stored.

use activity::Seq;
use store::delivery::{AttemptRecord, AttemptResult, CursorMove, HeldMove};

use super::{Lane, Reading};

/// A digest's cursor is stored with its attempts, and when it has come this far without any.
const CURSOR_STEP: i64 = 1000;

impl Lane {
    /// Whether its shard's progress waits for it. A lane of digests keeps a cursor of its own: what it
    /// gathers may be older than a restart should go back for all.
    pub fn counts_for_shard(&self) -> bool {
        self.is_at_head() && self.terms.digest.is_none()
    }

    /// Whether anything keeps [`Lane::settled_to`] from following the head.
    pub fn has_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// The attempt is committed.
    pub fn settled(&mut self, record: &AttemptRecord) {
        if record.result == AttemptResult::Deferred {
            return;
        }
        if record.attempt > 1 {
            self.retrying.remove(&record.seq);
        } else if record.replay_id.is_some() {
            self.replaying.remove(&record.seq);
        } else if self.unsettled.contains_key(&record.seq) {
            self.first_settled(record.seq);
            record
                .covers
                .iter()
                .for_each(|seq| self.first_settled(*seq));
            self.prune();
        } else {
            self.holds.settled(record.seq);
            record
                .covers
                .iter()
                .for_each(|seq| self.holds.settled(*seq));
        }
    }

    /// Everything up to here is settled once the first attempts in `over`, in ascending order, are committed too. `head`
    /// is the last action that the dispatcher has offered.
    pub fn settled_to(&self, head: Seq, over: &[Seq]) -> Seq {
        let oldest = self
            .unsettled
            .keys()
            .find(|seq| over.binary_search(seq).is_err());
        let to = match (oldest, self.reading) {
            (Some(oldest), Reading::Head) => oldest.previous(),
            (Some(oldest), Reading::Own { read_to }) => oldest.previous().min(read_to),
            (None, Reading::Own { read_to }) => read_to,
            (None, Reading::Head) => head.max(self.skip_to),
        };
        // A restart must find a digest that was sent whole, after where it begins.
        let spans = self.spans.iter().rev();
        spans.fold(to, |to, (first, last)| {
            if (*first..*last).contains(&to) {
                first.previous()
            } else {
                to
            }
        })
    }

    /// What the next settlement must store of this lane. `shard_seq` is what it stores of the shard:
    /// a lane counts as rejoined only once it has settled as much.
    pub fn cursor_move(&self, head: Seq, shard_seq: Seq, over: &[Seq]) -> Option<CursorMove> {
        let cursor = self.settled_to(head, over);
        let behind = match self.reading {
            Reading::Own { .. } => true,
            Reading::Head if self.terms.digest.is_some() => true,
            Reading::Head => self.stored_behind && cursor < shard_seq,
        };
        let step = if self.is_at_head() && over.is_empty() && self.terms.digest.is_some() {
            CURSOR_STEP
        } else {
            1
        };
        let further = cursor.get() >= self.stored_cursor.get().saturating_add(step);
        let moved = behind != self.stored_behind || (behind && further);
        moved.then(|| CursorMove {
            endpoint_id: self.endpoint.id.clone(),
            cursor,
            behind,
        })
    }

    pub fn cursor_stored(&mut self, moved: &CursorMove) {
        self.stored_cursor = self.stored_cursor.max(moved.cursor);
        self.stored_behind = moved.behind;
    }

    /// What the next settlement must store of its holds.
    pub fn held_moves(&self, over: &[Seq]) -> Vec<HeldMove> {
        self.holds.moves(&self.endpoint.id, over)
    }

    pub fn held_stored(&mut self, moved: &HeldMove) {
        self.holds.stored(moved);
    }

    /// Whether something of it is not stored as it is, whatever may happen next.
    pub fn is_astray(&self) -> bool {
        self.is_at_head() && self.stored_behind && self.terms.digest.is_none()
    }

    fn first_settled(&mut self, seq: Seq) {
        self.unsettled.remove(&seq);
        self.settled_ahead.insert(seq);
    }

    /// Forgets what was settled before everything that may be read once more.
    pub(super) fn prune(&mut self) {
        let oldest = self.unsettled.first_key_value().map(|(seq, _)| *seq);
        let passed = match (oldest, self.reading) {
            (Some(oldest), Reading::Own { read_to }) => oldest.min(read_to.next()),
            (Some(oldest), Reading::Head) => oldest,
            (None, Reading::Own { read_to }) => read_to.next(),
            // What comes later may be of the beginning.
            (None, Reading::Head) => self.newest.next(),
        };
        while self.settled_ahead.first().is_some_and(|seq| *seq < passed) {
            self.settled_ahead.pop_first();
        }
        self.spans.retain(|_, last| *last >= passed);
    }
}
