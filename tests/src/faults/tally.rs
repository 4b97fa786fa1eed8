use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Audit, Sidecar};

/// What the rounds of a scenario came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: usize,
    pub audit: Audit,
    /// What came and went where nobody could see it.
    pub unobserved: usize,
    pub recoveries: Vec<Duration>,
    pub peak_bytes: Option<u64>,
    /// What was hit how often, where that is the seed's choice.
    pub hits: BTreeMap<String, usize>,
}

impl Tally {
    /// One more run is over, and took this long to recover.
    pub(super) fn recovered(&mut self, took: Duration) {
        self.runs += 1;
        self.recoveries.push(took);
    }

    pub(super) fn hit(&mut self, what: impl Into<String>) {
        *self.hits.entry(what.into()).or_default() += 1;
    }

    /// What the product promises of each recovery, at twice its value: the machine does other things too.
    pub(super) fn promise(&mut self, what: &str, promised: Duration) {
        let late = self.recoveries.iter().filter(|took| **took > 2 * promised);
        let late = late.map(|took| format!("{what} took {took:?}, and {promised:?} is promised"));
        self.audit.faults.extend(late);
    }

    /// The process that lived through it all does live, and nothing in it panicked.
    pub(super) fn outlived(&mut self, sidecar: &mut Sidecar) {
        if !sidecar.is_running() {
            self.audit.faults.push("the sidecar has ended".to_owned());
        }
        if sidecar.log().contains("panicked") {
            self.audit
                .faults
                .push("its log tells of a panic".to_owned());
        }
    }

    /// Of a round that did not come to its end.
    pub fn failed(why: &str) -> Self {
        let mut tally = Self::default();
        let why = why.lines().next().unwrap_or_default();
        tally.audit.faults.push(format!("not through: {why}"));
        tally
    }

    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.unobserved += other.unobserved;
        self.recoveries.extend(other.recoveries);
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        for (what, times) in other.hits {
            *self.hits.entry(what).or_default() += times;
        }
        self.audit.add(other.audit);
    }

    /// Nothing is lost or there twice, and all else is as it must be.
    pub fn is_clean(&self) -> bool {
        let Audit {
            lost,
            duplicated,
            deliveries_lost,
            faults,
            ..
        } = &self.audit;
        lost + duplicated + deliveries_lost == 0 && faults.is_empty()
    }

    /// The recovery that this share of all was through by; `None` where none was timed.
    pub fn recovery(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let last = sorted.len().checked_sub(1)?;
        sorted.get(last * percent / 100).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_keeps_every_fault_and_the_worst_of_each() {
        let mut sum = Tally::default();
        assert!(sum.is_clean() && sum.recovery(50).is_none());
        for seconds in [3, 1, 2] {
            let mut round = Tally::default();
            round.recovered(Duration::from_secs(seconds));
            round.hit("COMMIT");
            sum.add(round);
        }
        assert_eq!((sum.runs, sum.hits["COMMIT"]), (3, 3));
        assert_eq!(sum.recovery(50), Some(Duration::from_secs(2)));
        assert_eq!(sum.recovery(100), Some(Duration::from_secs(3)));
        sum.promise("a recovery", Duration::from_secs(1));
        assert_eq!(sum.audit.faults.len(), 1, "3 s is more than twice 1 s");
        let mut lost = Tally::default();
        lost.audit.lost = 1;
        assert!(!lost.is_clean());
        sum.add(Tally::failed("no server\nbacktrace"));
        assert_eq!(sum.audit.faults[1], "not through: no server");
    }
}
