//! The lanes of this process: which there are, which have work, and what they are offered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use store::log::LoggedAction;
use webhook::Endpoint;

use super::lane::{Job, Lane};

/// Every lane, and the order in which those with work take turns.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<String, Lane>,
    turns: VecDeque<String>,
    waiting: HashSet<String>,
}

impl Lanes {
    pub fn get(&self, id: &str) -> Option<&Lane> {
        self.lanes.get(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Lane> {
        self.lanes.get_mut(id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values()
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.values_mut()
    }

    pub fn at_head(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values().filter(|lane| lane.is_at_head())
    }

    pub fn insert(&mut self, lane: Lane) {
        self.lanes.insert(lane.endpoint.id.clone(), lane);
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.lanes.retain(|id, _| keep(id));
    }

    /// Offers an action to every lane at the head.
    pub fn offer(&mut self, action: &Arc<LoggedAction>, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.offer(action, now);
            wake(&mut self.turns, &mut self.waiting, lane);
        }
    }

    /// Lets a lane take its turn again.
    pub fn wake(&mut self, id: &str) {
        if let Some(lane) = self.lanes.get(id) {
            wake(&mut self.turns, &mut self.waiting, lane);
        }
    }

    /// The next attempt of the lane whose turn it is. Where it is crowded, lanes with attempts under
    /// way wait: hanging endpoints never take every place.
    pub fn next(&mut self, crowded: bool) -> Option<Turn> {
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
            if let Some(job) = lane.next() {
                wake(&mut self.turns, &mut self.waiting, lane);
                let (endpoint, generation) = (lane.endpoint.clone(), lane.generation);
                turn = Some(Turn {
                    endpoint,
                    generation,
                    job,
                });
                break;
            }
        }
        self.turns.extend(passed_over);
        turn
    }
}

fn wake(turns: &mut VecDeque<String>, waiting: &mut HashSet<String>, lane: &Lane) {
    if lane.has_work() && waiting.insert(lane.endpoint.id.clone()) {
        turns.push_back(lane.endpoint.id.clone());
    }
}

/// One attempt to make, and whose it is.
pub struct Turn {
    pub endpoint: Arc<Endpoint>,
    pub generation: u64,
    pub job: Job,
}
