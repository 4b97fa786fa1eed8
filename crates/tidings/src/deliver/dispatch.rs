//! The lanes of this process: which there are, which have work, and what they are offered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use store::log::LoggedAction;
use webhook::{Endpoint, Subject};

use super::alarms::Alarms;
use super::lane::{Job, Lane, Terms};
use super::routing::Routing;
use super::standings::Standings;

/// Every lane, and the order in which those with work take turns. Nothing here asks every lane: there
/// may be ten thousand.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: FxHashMap<Arc<str>, Lane>,
    routing: Routing,
    turns: VecDeque<Arc<str>>,
    /// Those in `turns`.
    waiting: FxHashSet<Arc<str>>,
    alarms: Alarms,
    /// Touched since the standings were brought up to date.
    touched: FxHashSet<Arc<str>>,
    standings: Standings,
}

impl Lanes {
    pub fn get(&self, id: &str) -> Option<&Lane> {
        self.lanes.get(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Lane> {
        let (id, _) = self.lanes.get_key_value(id)?;
        self.touched.insert(id.clone());
        self.lanes.get_mut(&*id.clone())
    }

    pub fn insert(&mut self, lane: Lane) {
        let id: Arc<str> = lane.endpoint.id.as_str().into();
        self.routing.insert(&id, &lane.endpoint.filter);
        self.touched.insert(id.clone());
        self.lanes.insert(id, lane);
    }

    /// Brings a lane to the endpoint as it is by now.
    pub fn update(&mut self, endpoint: Arc<Endpoint>, terms: Terms, now: Instant) {
        let id: Arc<str> = endpoint.id.as_str().into();
        self.routing.insert(&id, &endpoint.filter);
        if let Some(lane) = self.get_mut(&id) {
            lane.update(endpoint, terms, now);
        }
        self.wake(&id);
    }

    pub fn remove(&mut self, id: &str) {
        self.lanes.remove(id);
        self.routing.remove(id);
        self.alarms.cancel(id);
        self.touched.remove(id);
        self.standings.remove(id);
    }

    /// How the lanes stand by now.
    pub fn standings(&mut self) -> &mut Standings {
        for id in self.touched.drain() {
            if let Some(lane) = self.lanes.get(&id) {
                self.standings.update(&id, lane);
            }
        }
        &mut self.standings
    }

    /// How they stood when [`Lanes::standings`] was last asked.
    pub fn stood(&self) -> &Standings {
        &self.standings
    }

    /// Offers an action to the lanes that may want it.
    pub fn offer(&mut self, action: &Arc<LoggedAction>, now: Instant) {
        for id in self.routing.candidates(&Subject::from(&action.action)) {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.offer(action, now);
                self.touched.insert(id.clone());
                if lane.has_work() && self.waiting.insert(id.clone()) {
                    self.turns.push_back(id.clone());
                }
            }
        }
    }

    /// Lets lanes go behind whose actions have waited for `patience`.
    pub fn check_age(&mut self, now: Instant, patience: Duration) {
        let holding: Vec<Arc<str>> = self.standings().holding().cloned().collect();
        for id in holding {
            if let Some(lane) = self.get_mut(&id) {
                lane.check_age(now, patience);
            }
        }
    }

    /// Lets a lane take its turn again.
    pub fn wake(&mut self, id: &str) {
        if let Some((id, lane)) = self.lanes.get_key_value(id)
            && lane.has_work()
            && self.waiting.insert(id.clone())
        {
            self.turns.push_back(id.clone());
        }
    }

    /// When lanes may take their turn again that wait for nothing but time.
    pub fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first()
    }

    /// Lets them.
    pub fn ring(&mut self, now: Instant) {
        while let Some(id) = self.alarms.due(now) {
            self.wake(&id);
        }
    }

    /// The next attempt of the lane whose turn it is. Where it is crowded, lanes with attempts under
    /// way wait: hanging endpoints never take every place.
    pub fn next(&mut self, crowded: bool, now: Instant) -> Option<Turn> {
        let mut passed_over = Vec::new();
        let mut turn = None;
        while let Some(id) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else {
                self.waiting.remove(&id);
                continue;
            };
            if crowded && !lane.is_idle() {
                passed_over.push(id);
                continue;
            }
            self.waiting.remove(&id);
            self.touched.insert(id.clone());
            let Some(job) = lane.next(now) else {
                if let Some(at) = lane.next_at(now) {
                    self.alarms.set(id, at);
                }
                continue;
            };
            let (endpoint, generation) = (lane.endpoint.clone(), lane.generation);
            let cut_off = lane.cut_off();
            if lane.has_work() && self.waiting.insert(id.clone()) {
                self.turns.push_back(id);
            }
            turn = Some(Turn {
                endpoint,
                generation,
                cut_off,
                job,
            });
            break;
        }
        self.turns.extend(passed_over);
        turn
    }
}

/// One attempt to make, and whose it is.
pub struct Turn {
    pub endpoint: Arc<Endpoint>,
    pub generation: u64,
    /// Since when every attempt of the lane has met with a fault of our own network.
    pub cut_off: Option<Instant>,
    pub job: Job,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::deliver::lane::Verdict;
    use crate::deliver::lane::tests::{TERMS, action_of, endpoint};
    use store::delivery::AttemptResult;
    use store::endpoints::Rate;

    fn lanes(rate: Option<Rate>) -> Lanes {
        let mut lanes = Lanes::default();
        for (id, project) in [("ep_a", "a"), ("ep_b", "b"), ("ep_all", "")] {
            let mut endpoint = Endpoint::clone(&endpoint());
            endpoint.id = id.to_owned();
            endpoint
                .filter
                .projects
                .extend((!project.is_empty()).then(|| project.to_owned()));
            let (terms, beginning) = (Terms { rate, ..TERMS }, Default::default());
            lanes.insert(Lane::new(Arc::new(endpoint), 0, 0, terms, beginning));
        }
        lanes
    }

    #[test]
    fn only_lanes_that_an_action_may_be_for_are_touched() {
        let (mut lanes, now) = (lanes(None), Instant::now());
        assert_eq!(lanes.standings().take_changed().len(), 3);
        lanes.offer(&action_of("a", 1, 0), now);
        let changed: BTreeSet<Arc<str>> = lanes.standings().take_changed().into_iter().collect();
        assert_eq!(changed, BTreeSet::from(["ep_a".into(), "ep_all".into()]));
        let holding: BTreeSet<Arc<str>> = lanes.standings().holding().cloned().collect();
        assert_eq!(holding, changed);
        let turns: BTreeSet<String> = std::iter::from_fn(|| lanes.next(false, now))
            .map(|turn| turn.endpoint.id.clone())
            .collect();
        assert_eq!(
            turns,
            BTreeSet::from(["ep_a".to_owned(), "ep_all".to_owned()])
        );
    }

    #[test]
    fn a_lane_that_waits_for_its_rate_takes_its_turn_when_its_alarm_rings() {
        let rate = Rate {
            attempts: 1,
            seconds: 5,
        };
        let (mut lanes, now) = (lanes(Some(rate)), Instant::now());
        lanes.offer(&action_of("c", 1, 0), now);
        lanes.offer(&action_of("c", 2, 0), now);
        assert!(lanes.next(false, now).is_some() && lanes.next(false, now).is_none());
        let at = lanes.next_alarm().unwrap();
        assert_eq!(at, now + Duration::from_secs(5));
        lanes.ring(at - Duration::from_millis(1));
        assert!(lanes.next(false, at).is_none(), "nobody woke it");
        lanes.ring(at);
        assert_eq!(
            lanes.next(false, at).map(|turn| turn.endpoint.id.clone()),
            Some("ep_all".into())
        );
        assert_eq!(lanes.next_alarm(), None);
    }

    #[test]
    fn of_a_shard_the_lane_that_has_come_least_far_comes_first() {
        let (mut lanes, now) = (lanes(None), Instant::now());
        lanes.offer(&action_of("c", 1, 0), now);
        lanes.offer(&action_of("b", 5, 0), now);
        lanes.offer(&action_of("a", 7, 0), now);
        let holding = |lanes: &mut Lanes| -> Vec<(i64, String)> {
            let holding = lanes.standings().holding_of(0);
            holding.map(|(at, id)| (at.get(), id.to_string())).collect()
        };
        let of = |at: i64, id: &str| (at, id.to_owned());
        let all = [of(0, "ep_all"), of(4, "ep_b"), of(6, "ep_a")];
        assert_eq!(holding(&mut lanes), all);
        assert_eq!(lanes.standings().queued(), 5);
        let job = lanes
            .get_mut("ep_b")
            .and_then(|lane| lane.next(now))
            .unwrap();
        let delivered = AttemptResult::Delivered;
        let lane = lanes.get_mut("ep_b").unwrap();
        lane.finished(job, delivered, Verdict::Delivered, now, 0.0);
        assert_eq!(holding(&mut lanes), all, "not committed yet");
        lanes.remove("ep_all");
        assert_eq!(holding(&mut lanes), all[1..]);
        assert_eq!(lanes.standings().queued(), 1);
    }

    #[test]
    fn a_removed_lane_leaves_nothing_behind() {
        let (mut lanes, now) = (lanes(None), Instant::now());
        lanes.offer(&action_of("a", 1, 0), now);
        for id in ["ep_a", "ep_b", "ep_all"] {
            lanes.standings();
            lanes.remove(id);
        }
        assert!(lanes.next(false, now).is_none());
        assert!(!lanes.standings().any_at_head());
        assert_eq!(
            lanes.standings().shards().count() + lanes.standings().holding().count(),
            0
        );
    }
}
