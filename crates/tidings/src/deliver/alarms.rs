//! Which lanes are to be asked again when, at most once each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

#[derive(Debug, Default)]
pub struct Alarms {
    by_time: BTreeSet<(Instant, Arc<str>)>,
    by_lane: FxHashMap<Arc<str>, Instant>,
}

impl Alarms {
    /// Instead of an earlier one of the same lane.
    pub fn set(&mut self, id: Arc<str>, at: Instant) {
        self.cancel(&id);
        self.by_time.insert((at, id.clone()));
        self.by_lane.insert(id, at);
    }

    pub fn cancel(&mut self, id: &str) {
        if let Some((id, at)) = self.by_lane.remove_entry(id) {
            self.by_time.remove(&(at, id));
        }
    }

    pub fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub fn due(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.first()? > now {
            return None;
        }
        let (_, id) = self.by_time.pop_first()?;
        self.by_lane.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_alarm_of_a_lane_counts_and_rings_once() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        alarms.set(a.clone(), at(1));
        alarms.set(b.clone(), at(2));
        alarms.set(a.clone(), at(3));
        assert_eq!(alarms.first(), Some(at(2)));
        assert_eq!(alarms.due(at(1)), None);
        assert_eq!(alarms.due(at(9)), Some(b));
        assert_eq!(alarms.due(at(9)), Some(a.clone()));
        assert_eq!(alarms.due(at(9)), None);
        alarms.set(a, at(1));
        alarms.cancel("a");
        assert_eq!(alarms.first(), None);
    }
}
