use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Audit, Sidecar, Stage};

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

    pub(super) fn fault(&mut self, fault: impl Into<String>) {
        self.audit.faults.push(fault.into());
    }

    /// What the product promises of each recovery.
    pub(super) fn promise(&mut self, what: &str, promised: Duration) {
        for took in self.recoveries.clone() {
            self.promise_of(what, took, promised);
        }
    }

    /// What the product promises of this. In `make test`, where the machine does other things too and nothing is
    /// built for speed, twice that is let pass.
    pub(super) fn promise_of(&mut self, what: &str, took: Duration, promised: Duration) {
        let most = promised * if cfg!(debug_assertions) { 2 } else { 1 };
        if took > most {
            self.fault(format!(
                "{what} took {took:?}, and {promised:?} is promised"
            ));
        }
    }

    /// The process that lived through it all does live, and nothing in it panicked.
    pub(crate) fn outlived(&mut self, sidecar: &mut Sidecar) {
        if !sidecar.is_running() {
            self.audit.faults.push("the sidecar has ended".to_owned());
        }
        if sidecar.log().contains("panicked") {
            self.audit
                .faults
                .push("its log tells of a panic".to_owned());
        }
    }

    /// Whoever looks into a round that is not clean finds its settings and logs.
    pub(crate) fn keep(&mut self, stage: &mut Stage) {
        if !self.is_clean() {
            let kept = stage.keep();
            self.fault(format!("settings and logs are kept in {}", kept.display()));
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
        let promised = Duration::from_secs(if cfg!(debug_assertions) { 1 } else { 2 });
        sum.promise("a recovery", promised);
        assert_eq!(sum.audit.faults.len(), 1, "only 3 s is too much");
        let mut lost = Tally::default();
        lost.audit.lost = 1;
        assert!(!lost.is_clean());
        sum.add(Tally::failed("no server\nbacktrace"));
        assert_eq!(sum.audit.faults[1], "not through: no server");
    }
}
