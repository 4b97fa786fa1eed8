//! What this process has committed, to judge a promoted server by: it may lack what was committed at the one
//! before. This outlives connections, and no stream begins by it.

use std::collections::VecDeque;
use std::sync::Mutex;

use activity::Lsn;

/// Where a standby is further behind than so many groups, it is compared like after a restart.
const ENDS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Committed(Mutex<History>);

#[derive(Debug, Default)]
struct History {
    timeline: u32,
    ends: Ends,
}

/// Where groups of transactions end that are committed, in ascending order; the newest ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(VecDeque<Lsn>);

impl Committed {
    pub(super) fn ends(&self) -> Ends {
        self.0.lock().expect("no holder panics").ends.clone()
    }

    /// A session begins here. What was committed on another timeline is judged by then.
    pub(super) fn begin(&self, timeline: u32, end: Lsn) {
        let mut history = self.0.lock().expect("no holder panics");
        if history.timeline != timeline {
            *history = History {
                timeline,
                ends: Ends::default(),
            };
        }
        history.ends.push(end);
    }

    /// Everything up to here is committed.
    pub(super) fn reach(&self, end: Lsn) {
        self.0.lock().expect("no holder panics").ends.push(end);
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

    #[test]
    fn a_session_on_another_timeline_begins_anew() {
        let committed = Committed::default();
        committed.begin(1, Lsn::new(5));
        committed.reach(Lsn::new(9));
        committed.begin(1, Lsn::new(9));
        assert_eq!(committed.ends(), ends([5, 9]));
        committed.begin(2, Lsn::new(7));
        assert_eq!(committed.ends(), ends([7]));
    }
}
