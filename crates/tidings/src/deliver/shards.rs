//! The shards of endpoints that this process owns, and its share of them. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use activity::Seq;
use store::delivery::{Settlement, Shard, Taken};
use store::endpoints::SHARDS;

/// The position of a shard that settles nothing of its own is stored once it is this old…
const POSITION_PERIOD: Duration = Duration::from_secs(5);
/// …or this many actions behind.
const POSITION_LAG: i64 = 10_000;

/// The shards that this process owns, as the database has them, and those that it is giving up.
#[derive(Debug, Default)]
pub struct Owned {
    shards: HashMap<i16, OwnShard>,
    leaving: HashMap<i16, Leaving>,
    /// Attempts under way, or over and not yet committed.
    unsettled: HashMap<i16, usize>,
}

#[derive(Clone, Copy, Debug)]
pub struct OwnShard {
    pub shard: Shard,
    /// Until its endpoints are known its position stays.
    pub known: bool,
    /// What its last owner may have under way is over by then: lanes that keep an order wait for it.
    pub quiet_from: Option<Instant>,
    stored_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Leaving {
    shard: Shard,
    since: Instant,
    ordered: bool,
}

/// Shards to give up, and whether in good order.
#[derive(Debug, PartialEq, Eq)]
pub struct Departure {
    pub shards: Vec<Shard>,
    pub in_good_order: bool,
}

/// How many shards are each one's of so many processes.
pub fn fair_share(members: usize) -> usize {
    (SHARDS as usize).div_ceil(members.max(1))
}

impl Owned {
    /// Shards of an owner that gave no notice are quiet only after `unquiet`.
    pub fn take(&mut self, taken: Vec<Taken>, now: Instant, unquiet: Duration) {
        for Taken { shard, released } in taken {
            let own = OwnShard {
                shard,
                known: false,
                quiet_from: (!released).then_some(now + unquiet),
                stored_at: now,
            };
            self.shards.insert(shard.number, own);
        }
    }

    /// Every shard whose lock is held.
    pub fn locked(&self) -> Vec<i16> {
        self.shards
            .keys()
            .chain(self.leaving.keys())
            .copied()
            .collect()
    }

    pub fn numbers(&self) -> Vec<i16> {
        self.shards.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.shards.len()
    }

    pub fn get(&self, number: i16) -> Option<&OwnShard> {
        self.shards.get(&number)
    }

    pub fn all(&self) -> impl Iterator<Item = &OwnShard> {
        self.shards.values()
    }

    /// The shard whose outcomes can still be stored, even where it is being given up.
    pub fn of_outcome(&self, number: i16) -> Option<Shard> {
        let own = self.shards.get(&number).map(|own| own.shard);
        own.or_else(|| self.leaving.get(&number).map(|leaving| leaving.shard))
    }

    /// The endpoints of these are known from now on.
    pub fn known(&mut self, numbers: &[i16]) {
        for number in numbers {
            if let Some(own) = self.shards.get_mut(number) {
                own.known = true;
            }
        }
    }

    /// Whether a shard has become quiet; says so once.
    pub fn become_quiet(&mut self, now: Instant) -> bool {
        let due = |own: &&mut OwnShard| own.quiet_from.is_some_and(|at| at <= now);
        let quiet: Vec<_> = self.shards.values_mut().filter(due).collect();
        let any = !quiet.is_empty();
        quiet.into_iter().for_each(|own| own.quiet_from = None);
        any
    }

    /// Whether a position that moved by itself is worth a write by now.
    pub fn is_stale(own: &OwnShard, seq: Seq, now: Instant) -> bool {
        let lag = seq.get() - own.shard.seq.get();
        lag >= POSITION_LAG
            || lag > 0 && now.saturating_duration_since(own.stored_at) >= POSITION_PERIOD
    }

    pub fn stored(&mut self, settlement: &Settlement, now: Instant) {
        for (shard, _) in &settlement.shards {
            if let Some(own) = self.shards.get_mut(&shard.number) {
                own.shard.seq = own.shard.seq.max(shard.seq);
                own.stored_at = now;
            }
        }
    }

    pub fn begun(&mut self, number: i16) {
        *self.unsettled.entry(number).or_default() += 1;
    }

    /// An attempt is committed, or its outcome is nothing that can be.
    pub fn over(&mut self, number: i16) {
        if let Some(count) = self.unsettled.get_mut(&number) {
            *count = count.saturating_sub(1);
        }
    }

    /// Begins to give up so many shards, those first that have least under way. From here on nothing of
    /// them is begun.
    pub fn leave(&mut self, count: usize, now: Instant) -> Vec<i16> {
        let mut numbers = self.numbers();
        numbers.sort_by_key(|number| (self.under_way(*number), *number));
        numbers.truncate(count);
        for number in &numbers {
            if let Some(own) = self.shards.remove(number) {
                let leaving = Leaving {
                    shard: own.shard,
                    since: now,
                    ordered: false,
                };
                self.leaving.insert(*number, leaving);
            }
        }
        numbers
    }

    /// What of the shards to leave can be given up now: in good order what has nothing under way; what
    /// has had `patience` and still does goes without. Each comes up once.
    pub fn departures(&mut self, now: Instant, patience: Duration) -> Vec<Departure> {
        let (mut idle, mut stuck) = (Vec::new(), Vec::new());
        let unsettled = &self.unsettled;
        for leaving in self.leaving.values_mut().filter(|leaving| !leaving.ordered) {
            let busy = unsettled.get(&leaving.shard.number).is_some_and(|n| *n > 0);
            let late = now.saturating_duration_since(leaving.since) >= patience;
            match (busy, late) {
                (false, _) => idle.push(leaving.shard),
                (true, true) => stuck.push(leaving.shard),
                (true, false) => continue,
            }
            leaving.ordered = true;
        }
        let departures = [(idle, true), (stuck, false)];
        departures
            .into_iter()
            .filter(|(shards, _)| !shards.is_empty())
            .map(|(shards, in_good_order)| Departure {
                shards,
                in_good_order,
            })
            .collect()
    }

    /// Whether a shard that is to be given up now still is ours.
    pub fn is_departing(&self) -> bool {
        self.leaving.values().any(|leaving| leaving.ordered)
    }

    pub fn released(&mut self, shards: &[Shard]) {
        for shard in shards {
            self.leaving.remove(&shard.number);
        }
    }

    fn under_way(&self, number: i16) -> usize {
        self.unsettled.get(&number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(numbers: std::ops::Range<i16>) -> Vec<Taken> {
        let shard = |number| Shard {
            number,
            epoch: 1,
            seq: Seq::ZERO,
        };
        let taken = |number| Taken {
            shard: shard(number),
            released: number % 2 == 0,
        };
        numbers.map(taken).collect()
    }

    fn owned(numbers: std::ops::Range<i16>) -> (Owned, Instant) {
        let (mut owned, now) = (Owned::default(), Instant::now());
        owned.take(taken(numbers), now, Duration::from_secs(20));
        (owned, now)
    }

    #[test]
    fn a_shard_with_attempts_under_way_is_given_up_in_good_order_once_they_are_committed() {
        let (mut owned, now) = owned(0..3);
        owned.begun(0);
        assert_eq!(owned.leave(3, now).len(), 3);
        let patience = Duration::from_secs(20);
        let departures = owned.departures(now, patience);
        assert!(matches!(&departures[..], [d] if d.shards.len() == 2 && d.in_good_order));
        assert_eq!(owned.departures(now, patience), [], "each comes up once");
        assert!(owned.of_outcome(0).is_some() && owned.get(0).is_none());
        owned.over(0);
        let departures = owned.departures(now, patience);
        assert!(matches!(&departures[..], [d] if d.shards.len() == 1 && d.in_good_order));
        owned.released(&departures[0].shards);
        assert_eq!(owned.of_outcome(0), None);
    }

    #[test]
    fn a_shard_whose_attempts_do_not_end_is_given_up_without_order() {
        let (mut owned, now) = owned(0..1);
        owned.begun(0);
        owned.leave(1, now);
        let patience = Duration::from_secs(20);
        assert_eq!(owned.departures(now, patience), []);
        let departures = owned.departures(now + patience, patience);
        assert!(matches!(&departures[..], [d] if !d.in_good_order));
    }

    #[test]
    fn a_shard_is_quiet_at_once_where_its_last_owner_gave_it_up_in_good_order() {
        let (mut owned, now) = owned(0..2);
        assert_eq!(owned.get(0).unwrap().quiet_from, None);
        assert!(owned.get(1).unwrap().quiet_from.is_some());
        assert!(!owned.become_quiet(now));
        let later = now + Duration::from_secs(20);
        assert!(owned.become_quiet(later) && !owned.become_quiet(later));
    }

    #[test]
    fn an_idle_position_is_stored_when_it_is_old_or_far_behind() {
        let (owned, now) = owned(0..1);
        let own = owned.get(0).unwrap();
        assert!(!Owned::is_stale(own, Seq::new(1), now));
        assert!(Owned::is_stale(own, Seq::new(1), now + POSITION_PERIOD));
        assert!(!Owned::is_stale(own, Seq::ZERO, now + POSITION_PERIOD));
        assert!(Owned::is_stale(own, Seq::new(POSITION_LAG), now));
    }

    proptest! {
        /// Whoever comes and goes: given time, every shard is owned, and nobody has more than their share.
        #[test]
        fn processes_that_see_each_other_come_to_fair_shares(
            counts in prop::collection::vec(1_usize..8, 1..6),
        ) {
            let mut holds: Vec<usize> = Vec::new();
            for members in counts {
                // Those that leave give up all.
                holds.resize(members, 0);
                let share = fair_share(members);
                for held in &mut holds {
                    *held = (*held).min(share);
                }
                for place in 0..members {
                    let free = SHARDS as usize - holds.iter().sum::<usize>();
                    holds[place] += free.min(share - holds[place]);
                }
                prop_assert_eq!(holds.iter().sum::<usize>(), SHARDS as usize);
                prop_assert!(holds.iter().all(|held| *held <= share));
            }
        }
    }
}
