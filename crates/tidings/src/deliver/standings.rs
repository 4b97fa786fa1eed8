//! How the lanes stand, as far as others need to know without asking each: which wait for something,
//! which have changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lane::Lane;

#[derive(Debug, Default)]
pub struct Standings {
    by_lane: HashMap<Arc<str>, Standing>,
    /// Lanes that take what the dispatcher offers.
    at_head: usize,
    /// The same by shard, of those for which the shard's progress waits.
    counting: HashMap<i16, usize>,
    /// Of those, the ones with something unsettled.
    holding: HashSet<Arc<str>>,
    /// Lanes that ask for the log.
    reading: HashSet<Arc<str>>,
    changed: HashSet<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    shard: i16,
    at_head: bool,
    counts: bool,
    holds: bool,
    reads: bool,
}

impl Standings {
    pub(super) fn update(&mut self, id: &Arc<str>, lane: &Lane) {
        let counts = lane.counts_for_shard();
        let standing = Standing {
            shard: lane.shard,
            at_head: lane.is_at_head(),
            counts,
            holds: counts && lane.has_unsettled(),
            reads: lane.wants_log().is_some() || lane.wants_held().is_some(),
        };
        self.changed.insert(id.clone());
        self.replace(id, Some(standing));
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some((id, _)) = self.by_lane.get_key_value(id) {
            let id = id.clone();
            self.changed.remove(&id);
            self.replace(&id, None);
        }
    }

    /// Whether any lane takes what the dispatcher offers.
    pub fn any_at_head(&self) -> bool {
        self.at_head > 0
    }

    /// The shards whose progress follows the head, but for the lanes [`Standings::holding`] it.
    pub fn shards(&self) -> impl Iterator<Item = i16> {
        self.counting.keys().copied()
    }

    /// The lanes at the head for whose actions their shard's progress waits.
    pub fn holding(&self) -> impl Iterator<Item = &Arc<str>> {
        self.holding.iter()
    }

    /// The lanes that ask for the log.
    pub fn reading(&self) -> impl Iterator<Item = &Arc<str>> {
        self.reading.iter()
    }

    /// The lanes of which there may be something new to store, once.
    pub fn take_changed(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.changed)
    }

    /// There will be more to store of this lane, though nothing happens to it.
    pub fn keep_changed(&mut self, id: Arc<str>) {
        self.changed.insert(id);
    }

    fn replace(&mut self, id: &Arc<str>, standing: Option<Standing>) {
        let before = match standing {
            Some(standing) => self.by_lane.insert(id.clone(), standing),
            None => self.by_lane.remove(id),
        };
        let (before, now) = (before.unwrap_or_default(), standing.unwrap_or_default());
        self.at_head += usize::from(now.at_head);
        self.at_head -= usize::from(before.at_head);
        if now.counts {
            *self.counting.entry(now.shard).or_default() += 1;
        }
        if before.counts
            && let Some(count) = self.counting.get_mut(&before.shard)
        {
            *count -= 1;
            if *count == 0 {
                self.counting.remove(&before.shard);
            }
        }
        keep(&mut self.holding, id, now.holds);
        keep(&mut self.reading, id, now.reads);
    }
}

fn keep(set: &mut HashSet<Arc<str>>, id: &Arc<str>, is_in: bool) {
    if is_in {
        set.insert(id.clone());
    } else {
        set.remove(id);
    }
}
