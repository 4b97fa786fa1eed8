//! What this process has committed and confirmed, to judge a server by: a promoted one may lack what was
//! committed at the one before, and a slot may be further than we ever moved it. This outlives connections, and
//! no stream begins by it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use activity::Lsn;
use store::progress::Progress;

/// Where a standby is further behind than so many groups, it is compared like after a restart.
const ENDS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Committed(Mutex<History>);

#[derive(Debug, Default)]
struct History {
    timeline: u32,
    ends: Ends,
    /// The last epoch that was ours.
    epoch: i64,
    /// Up to where the slot can be by our doing; `None` where another process may have moved it since.
    confirmed: Option<Lsn>,
}

/// Where groups of transactions end that are committed, in ascending order; the newest ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(VecDeque<Lsn>);

impl Committed {
    pub(super) fn ends(&self) -> Ends {
        self.lock().ends.clone()
    }

    /// The last one that was ours; 0 where none was.
    pub(super) fn epoch(&self) -> i64 {
        self.lock().epoch
    }

    /// The epoch that was just taken. Gives up to where the slot can be by our doing, if no other process had an
    /// epoch in between.
    pub(super) fn succeed(&self, epoch: i64) -> Option<Lsn> {
        let mut history = self.lock();
        if history.epoch + 1 != epoch {
            history.confirmed = None;
        }
        history.epoch = epoch;
        history.confirmed
    }

    /// A session begins at the end that progress has reached, under this epoch, with the slot where it is
    /// found. What was committed on another timeline is judged by then.
    pub(super) fn begin(&self, timeline: u32, progress: &Progress, confirmed: Lsn) {
        let mut history = self.lock();
        if history.timeline != timeline {
            history.timeline = timeline;
            history.ends = Ends::default();
        }
        history.ends.push(progress.end_lsn);
        history.epoch = progress.epoch;
        history.confirmed = Some(confirmed);
    }

    /// The stream may confirm up to here.
    pub(super) fn confirm(&self, position: Lsn) {
        let mut history = self.lock();
        history.confirmed = history.confirmed.max(Some(position));
    }

    /// Everything up to here is committed.
    pub(super) fn reach(&self, end: Lsn) {
        self.lock().ends.push(end);
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().expect("no holder panics")
    }
}

impl Ends {
    pub fn last(&self) -> Option<Lsn> {
        self.0.back().copied()
    }

    /// Whether any group ends past `from` and not past `until`.
    pub fn any_between(&self, from: Lsn, until: Lsn) -> bool {
        self.0.iter().any(|end| from < *end && *end <= until)
    }

    fn push(&mut self, end: Lsn) {
        // A restored server may be behind itself; what it was ahead of then is no more.
        while self.0.back().is_some_and(|last| *last >= end) {
            self.0.pop_back();
        }
        self.0.push_back(end);
        if self.0.len() > ENDS_MAX {
            self.0.pop_front();
        }
    }
}

impl FromIterator<Lsn> for Ends {
    fn from_iter<I: IntoIterator<Item = Lsn>>(ends: I) -> Self {
        let mut all = Self::default();
        ends.into_iter().for_each(|end| all.push(end));
        all
    }
}

#[cfg(test)]
mod tests {
    use activity::Seq;
    use store::progress::Lineage;

    use super::*;

    fn ends(positions: impl IntoIterator<Item = u64>) -> Ends {
        positions.into_iter().map(Lsn::new).collect()
    }

    #[test]
    fn ends_ascend_and_the_newest_are_kept() {
        assert_eq!(ends([5, 7, 7, 9, 6]), ends([5, 6]));
        let many = ends(1..=ENDS_MAX as u64 + 10);
        assert!(!many.any_between(Lsn::new(0), Lsn::new(10)));
        assert!(many.any_between(Lsn::new(10), Lsn::new(11)));
        assert_eq!(many.last(), Some(Lsn::new(ENDS_MAX as u64 + 10)));
        assert!(!ends([5, 9]).any_between(Lsn::new(5), Lsn::new(8)));
    }

    fn progress(epoch: i64, end: u64) -> Progress {
        Progress {
            epoch,
            slot: "tidings".to_owned(),
            publication: "tidings".to_owned(),
            lineage: Lineage {
                system_id: "7".to_owned(),
                timeline: 1,
                publication_oid: 16400,
            },
            commit_lsn: Lsn::new(end),
            end_lsn: Lsn::new(end),
            confirm_limit: Lsn::new(end),
            seq: Seq::new(1),
            half: None,
        }
    }

    #[test]
    fn a_session_on_another_timeline_begins_anew() {
        let committed = Committed::default();
        committed.begin(1, &progress(1, 5), Lsn::new(5));
        committed.reach(Lsn::new(9));
        committed.begin(1, &progress(2, 9), Lsn::new(5));
        assert_eq!(committed.ends(), ends([5, 9]));
        committed.begin(2, &progress(3, 7), Lsn::new(5));
        assert_eq!(committed.ends(), ends([7]));
    }

    #[test]
    fn what_was_confirmed_is_known_until_another_process_had_an_epoch() {
        let committed = Committed::default();
        assert_eq!((committed.epoch(), committed.succeed(4)), (0, None));
        committed.begin(1, &progress(4, 5), Lsn::new(5));
        committed.confirm(Lsn::new(9));
        committed.confirm(Lsn::new(7));
        assert_eq!(committed.succeed(5), Some(Lsn::new(9)));
        // A session that did not come to begin.
        assert_eq!(committed.succeed(6), Some(Lsn::new(9)));
        assert_eq!(committed.succeed(8), None);
        assert_eq!((committed.succeed(9), committed.epoch()), (None, 9));
    }
}
