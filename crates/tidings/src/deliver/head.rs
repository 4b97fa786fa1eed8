//! How far the dispatcher has read the log, and the last actions that it offered. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use activity::Seq;
use store::log::LoggedAction;

/// Actions that are kept after they were offered: a lane that has read up to one of them rejoins
/// from memory, however fast the log grows.
const RECENT_MAX: usize = 512;

#[derive(Debug, Default)]
pub struct Head {
    /// The last action that was offered to the lanes at the head.
    pub seq: Seq,
    /// Up to `seq`, without gaps.
    recent: VecDeque<Arc<LoggedAction>>,
}

impl Head {
    /// Goes on from another place.
    pub fn begin(&mut self, seq: Seq) {
        self.recent.clear();
        self.seq = seq;
    }

    pub fn pass(&mut self, action: Arc<LoggedAction>) {
        self.seq = action.seq;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(action);
    }

    /// Every action after this up to the head; `None` where not all of them are kept.
    pub fn since(&self, after: Seq) -> Option<Vec<Arc<LoggedAction>>> {
        let kept_after = self
            .recent
            .front()
            .map_or(self.seq, |first| first.seq.previous());
        (after >= kept_after).then(|| {
            let newer = self.recent.iter().filter(|action| action.seq > after);
            newer.cloned().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::lane::tests::action;

    #[test]
    fn what_was_offered_last_is_at_hand_without_a_gap() {
        let mut head = Head::default();
        head.begin(Seq::new(10));
        assert_eq!(head.since(Seq::new(10)).map(|newer| newer.len()), Some(0));
        assert!(head.since(Seq::new(9)).is_none());
        let last = 10 + RECENT_MAX as i64 + 5;
        (11..=last).for_each(|seq| head.pass(action(seq)));
        assert_eq!(head.seq, Seq::new(last));
        assert!(
            head.since(Seq::new(14)).is_none(),
            "the first five are gone"
        );
        let newer = head.since(Seq::new(15)).unwrap();
        assert_eq!(newer.len(), RECENT_MAX);
        assert_eq!(newer.first().map(|action| action.seq), Some(Seq::new(16)));
        head.begin(Seq::new(3));
        assert!(
            head.since(Seq::new(last))
                .is_some_and(|newer| newer.is_empty())
        );
        assert!(head.since(Seq::new(2)).is_none());
    }
}
