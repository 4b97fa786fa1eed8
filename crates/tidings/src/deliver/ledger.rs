//! What is kept of each endpoint beside its lane: its revision, when it last succeeded, when its next
//! retry is due, and what is being read for it. Also whose turn it is to be read for. Pure.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use activity::Seq;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use store::delivery::{AttemptRecord, AttemptResult};

#[derive(Debug)]
pub struct Account {
    pub shard: i16,
    pub revision: i64,
    /// Since when no attempt has succeeded.
    pub failing_since: Option<Timestamp>,
    /// The earliest time at which a parked delivery that is not in hand may be due.
    due: Option<Timestamp>,
    /// What is being read for it, one thing at a time.
    reading: Option<Errand>,
    last: Errand,
    /// Deliveries that were settled while its parked ones were read: what was read of them is old.
    settled: HashSet<Seq>,
}

/// What may be read for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Behind,
    Due,
    Held,
    Replay,
}

impl Account {
    pub fn new(shard: i16) -> Self {
        Self {
            shard,
            revision: -1,
            failing_since: None,
            due: None,
            reading: None,
            last: Errand::Behind,
            settled: HashSet::new(),
        }
    }

    /// Which of these, as far as they are wanted, is read for it next: they take turns.
    pub fn next(&self, wanted: &[(Errand, bool)]) -> Option<Errand> {
        let last = wanted.iter().position(|(errand, _)| *errand == self.last);
        let turns = wanted.iter().cycle().skip(last.map_or(0, |last| last + 1));
        turns
            .take(wanted.len())
            .find(|(_, wanted)| *wanted && self.reading.is_none())
            .map(|(errand, _)| *errand)
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// An outcome: changes the streak of failures, and says whether it did.
    pub fn count(&mut self, result: AttemptResult, at: Timestamp) -> bool {
        let since = match result {
            AttemptResult::Delivered => None,
            AttemptResult::Parked { .. } | AttemptResult::Dead => {
                Some(self.failing_since.unwrap_or(at))
            }
            AttemptResult::Deferred => self.failing_since,
        };
        std::mem::replace(&mut self.failing_since, since) != since
    }

    /// Whether it has failed for so long without one success that it is to be disabled.
    pub fn has_failed_for(&self, span: Duration, now: Timestamp) -> bool {
        let failed = |since| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        self.failing_since
            .is_some_and(|since| failed(since) >= span)
    }
}

/// Every account, and whose turn it is.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: FxHashMap<String, Account>,
    timers: BTreeSet<(Timestamp, String)>,
    turns: VecDeque<String>,
    waiting: FxHashSet<String>,
}

impl Ledger {
    pub fn get(&self, id: &str) -> Option<&Account> {
        self.accounts.get(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Account> {
        self.accounts.get_mut(id)
    }

    pub fn entry(&mut self, id: &str, new: impl FnOnce() -> Account) -> &mut Account {
        self.accounts.entry(id.to_owned()).or_insert_with(new)
    }

    pub fn remove(&mut self, id: &str) {
        if let Some(due) = self.accounts.remove(id).and_then(|account| account.due) {
            self.timers.remove(&(due, id.to_owned()));
        }
    }

    pub fn ids_of(&self, shards: &[i16]) -> impl Iterator<Item = &String> {
        self.accounts
            .iter()
            .filter(|(_, account)| shards.contains(&account.shard))
            .map(|(id, _)| id)
    }

    pub fn revisions(&self) -> HashMap<String, i64> {
        let revision = |(id, account): (&String, &Account)| (id.clone(), account.revision);
        self.accounts.iter().map(revision).collect()
    }

    /// Whether a delivery of it is parked that is not in hand.
    pub fn has_due(&self, id: &str) -> bool {
        self.get(id).is_some_and(|account| account.due.is_some())
    }

    /// Lets it take its turn to be read for.
    pub fn want(&mut self, id: &str) {
        if self.accounts.contains_key(id) && self.waiting.insert(id.to_owned()) {
            self.turns.push_back(id.to_owned());
        }
    }

    /// Whose turn it is.
    pub fn turn(&mut self) -> Option<String> {
        let id = self.turns.pop_front()?;
        self.waiting.remove(&id);
        Some(id)
    }

    /// A parked delivery may be due then.
    pub fn note_due(&mut self, id: &str, due: Timestamp) {
        let Some(account) = self.accounts.get_mut(id) else {
            return;
        };
        if account.due.is_some_and(|known| known <= due) {
            return;
        }
        if let Some(known) = account.due.replace(due) {
            self.timers.remove(&(known, id.to_owned()));
        }
        self.timers.insert((due, id.to_owned()));
    }

    /// Gives a turn to each whose time has come.
    pub fn wake(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.timers.pop_first() {
            if due > now {
                self.timers.insert((due, id));
                return;
            }
            self.want(&id);
        }
    }

    /// Something is being read for it. What is due is found anew by that.
    pub fn begin(&mut self, id: &str, errand: Errand) {
        let Some(account) = self.accounts.get_mut(id) else {
            return;
        };
        (account.reading, account.last) = (Some(errand), errand);
        if errand == Errand::Due {
            account.settled.clear();
            if let Some(due) = account.due.take() {
                self.timers.remove(&(due, id.to_owned()));
            }
        }
    }

    /// It was read. Comes back with what was settled meanwhile; `None` where nobody waits for it.
    pub fn end(&mut self, id: &str, errand: Errand) -> Option<HashSet<Seq>> {
        let account = self.accounts.get_mut(id)?;
        (account.reading.take()? == errand).then(|| std::mem::take(&mut account.settled))
    }

    /// An attempt is committed.
    pub fn settled(&mut self, record: &AttemptRecord) {
        let id = &record.endpoint_id;
        if let Some(account) = self.accounts.get_mut(id)
            && account.reading == Some(Errand::Due)
        {
            account.settled.insert(record.seq);
        }
        if let AttemptResult::Parked { due } = record.result {
            self.note_due(id, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.entry("a", || Account::new(1));
        ledger.entry("b", || Account::new(2));
        ledger
    }

    #[test]
    fn an_endpoint_takes_its_turn_when_the_earliest_of_its_retries_is_due() {
        let mut ledger = ledger();
        for due in [50, 30, 40] {
            ledger.note_due("a", at(due));
        }
        ledger.note_due("b", at(35));
        ledger.wake(at(29));
        assert_eq!(ledger.turn(), None);
        ledger.wake(at(36));
        assert_eq!(
            [ledger.turn(), ledger.turn(), ledger.turn()],
            [Some("a".into()), Some("b".into()), None]
        );
        assert!(ledger.get("a").unwrap().is_due(at(36)), "until it is read");
        ledger.begin("a", Errand::Due);
        assert!(!ledger.get("a").unwrap().is_due(at(99)));
    }

    #[test]
    fn turns_go_round_and_an_endpoint_waits_for_one_at_most() {
        let mut ledger = ledger();
        ["a", "a", "b", "unknown"]
            .iter()
            .for_each(|id| ledger.want(id));
        assert_eq!(
            [ledger.turn(), ledger.turn(), ledger.turn()],
            [Some("a".into()), Some("b".into()), None]
        );
    }

    #[test]
    fn what_is_read_for_an_endpoint_takes_turns_and_comes_one_at_a_time() {
        let mut ledger = ledger();
        let next = |ledger: &Ledger| {
            let wanted = [
                (Errand::Behind, true),
                (Errand::Due, true),
                (Errand::Held, false),
            ];
            ledger.get("a").unwrap().next(&wanted)
        };
        assert_eq!(next(&ledger), Some(Errand::Due));
        ledger.begin("a", Errand::Due);
        assert_eq!(next(&ledger), None);
        assert!(ledger.end("a", Errand::Due).is_some());
        assert_eq!(ledger.end("a", Errand::Due), None);
        assert_eq!(next(&ledger), Some(Errand::Behind));
        let again = ledger.get("a").unwrap().next(&[(Errand::Due, true)]);
        assert_eq!(again, Some(Errand::Due));
    }

    #[test]
    fn a_streak_of_failures_begins_with_the_first_and_ends_with_a_success() {
        let mut account = Account::new(1);
        let parked = AttemptResult::Parked { due: at(1000) };
        assert!(!account.count(AttemptResult::Delivered, at(1)));
        assert!(account.count(parked, at(2)));
        assert!(!account.count(AttemptResult::Dead, at(3)));
        assert!(!account.count(AttemptResult::Deferred, at(4)));
        let span = Duration::from_secs(10);
        assert!(!account.has_failed_for(span, at(11)) && account.has_failed_for(span, at(12)));
        // A clock that was set back disables nothing.
        assert!(!account.has_failed_for(span, at(-100)));
        assert!(account.count(AttemptResult::Delivered, at(12)));
        assert!(!account.has_failed_for(span, at(99)));
    }
}
