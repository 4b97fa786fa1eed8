//! How the lanes stand, as far as others need to know without asking each: which wait for something,
//! which have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use activity::Seq;
use rustc_hash::{FxHashMap, FxHashSet};

use super::lane::Lane;

#[derive(Debug, Default)]
pub struct Standings {
    by_lane: FxHashMap<Arc<str>, Standing>,
    /// Lanes that take what the dispatcher offers.
    at_head: usize,
    /// The same by shard, of those for which the shard's progress waits.
    counting: FxHashMap<i16, usize>,
    /// Of those, by shard, the ones with something unsettled: first the one that has come least far.
    holding: FxHashMap<i16, BTreeSet<(Seq, Arc<str>)>>,
    /// Lanes that ask for the log.
    reading: FxHashSet<Arc<str>>,
    /// First attempts that wait in all lanes.
    queued: usize,
    changed: FxHashSet<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    shard: i16,
    at_head: bool,
    counts: bool,
    /// Up to where it has settled everything, where something waits for it.
    holds_at: Option<Seq>,
    reads: bool,
    queued: usize,
}

impl Standings {
    pub(super) fn update(&mut self, id: &Arc<str>, lane: &Lane) {
        let counts = lane.counts_for_shard();
        let standing = Standing {
            shard: lane.shard,
            at_head: lane.is_at_head(),
            counts,
            holds_at: (counts && lane.has_unsettled())
                .then(|| lane.settled_to(Seq::new(i64::MAX), &[])),
            reads: lane.wants_log().is_some() || lane.wants_held().is_some(),
            queued: lane.queued(),
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

    /// How many first attempts wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// How many lanes read for themselves.
    pub fn behind(&self) -> usize {
        self.by_lane.len() - self.at_head
    }

    /// The shards whose progress follows the head, but for the lanes [`Standings::holding`] it.
    pub fn shards(&self) -> impl Iterator<Item = i16> {
        self.counting.keys().copied()
    }

    /// The lanes at the head for whose actions their shard's progress waits.
    pub fn holding(&self) -> impl Iterator<Item = &Arc<str>> {
        self.holding.values().flatten().map(|(_, id)| id)
    }

    /// Those of a shard, with up to where each has settled everything; that which has come least far
    /// comes first.
    pub fn holding_of(&self, shard: i16) -> impl Iterator<Item = &(Seq, Arc<str>)> {
        self.holding.get(&shard).into_iter().flatten()
    }

    /// The lanes that ask for the log.
    pub fn reading(&self) -> impl Iterator<Item = &Arc<str>> {
        self.reading.iter()
    }

    /// The lanes of which there may be something new to store, once.
    pub fn take_changed(&mut self) -> FxHashSet<Arc<str>> {
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
        self.queued += now.queued;
        self.queued -= before.queued;
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
        if (before.shard, before.holds_at) != (now.shard, now.holds_at) {
            if let Some(at) = before.holds_at
                && let Some(holding) = self.holding.get_mut(&before.shard)
            {
                holding.remove(&(at, id.clone()));
            }
            if let Some(at) = now.holds_at {
                let holding = self.holding.entry(now.shard).or_default();
                holding.insert((at, id.clone()));
            }
        }
        match now.reads {
            true => self.reading.insert(id.clone()),
            false => self.reading.remove(id),
        };
    }
}
