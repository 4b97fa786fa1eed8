//! Gathers what must be committed together: attempts, cursors, shards.

use std::collections::HashMap;
use std::time::Instant;

use activity::Seq;
use rustc_hash::FxHashMap;
use store::delivery::{AttemptRecord, AttemptResult, CursorMove, Settlement, Shard};

use super::attempt::Done;
use super::dispatch::Lanes;
use super::replays::Replays;
use super::roster::Resting;
use super::shards::Owned;

/// An attempt that is over, and the shard of its endpoint.
pub struct Outcome {
    pub shard: i16,
    pub done: Done,
}

/// Where everything stands that moves cursors and shards.
pub struct Books<'a> {
    pub lanes: &'a mut Lanes,
    pub replays: &'a mut Replays,
    pub resting: &'a HashMap<String, Resting>,
    pub owned: &'a Owned,
    /// The last action that was offered to the lanes at the head.
    pub head: Seq,
    pub now: Instant,
}

impl Books<'_> {
    /// What the attempts that are over, and the lanes as they stand, come to. Progress passes an action
    /// only together with its attempt. Only shards that this is of, or whose position has become old, are
    /// written.
    pub fn settlement(mut self, outcomes: Vec<Outcome>) -> Settlement {
        let mut settlement = Settlement::default();
        let mut delivered: FxHashMap<i16, i64> = FxHashMap::default();
        // These are over once this settlement commits, so progress may pass them in it.
        let mut over = Over::default();
        for Outcome { shard, done } in outcomes {
            let record = done.record;
            over.add(&record);
            let count = delivered.entry(shard).or_default();
            *count += i64::from(record.result == AttemptResult::Delivered);
            if done.disable {
                let reason = "the endpoint answered 410 Gone".to_owned();
                let gone = (record.endpoint_id.clone(), reason);
                settlement.disabled.push(gone);
            }
            settlement.attempts.push(record);
        }
        let over = over.in_order();
        let settled = self.settled(&over);
        self.move_lanes(&settled, &over, &mut settlement, &mut delivered);
        self.move_resting(&mut settlement, &mut delivered);
        for (endpoint_id, moved) in self.replays.moves(&settlement.attempts) {
            if let Some(lane) = self.lanes.get(&endpoint_id) {
                delivered.entry(lane.shard).or_default();
                settlement.replays.push(moved);
            }
        }
        for (number, seq) in settled {
            let Some(own) = self.owned.get(number) else {
                continue;
            };
            let stale = Owned::is_stale(own, seq, self.now);
            let newly = match delivered.remove(&number) {
                Some(newly) => newly,
                None if stale => 0,
                None => continue,
            };
            let shard = Shard { seq, ..own.shard };
            settlement.shards.push((shard, newly));
        }
        // Of shards that are being given up: their positions stay.
        for (number, newly) in delivered {
            let shard = self.owned.of_outcome(number);
            settlement.shards.extend(shard.map(|shard| (shard, newly)));
        }
        settlement
    }

    /// How far each owned shard is settled for the endpoints that are not behind.
    fn settled(&mut self, over: &Over) -> FxHashMap<i16, Seq> {
        let head = self.head;
        self.lanes.standings();
        let standings = self.lanes.stood();
        let mut lowest: FxHashMap<i16, Seq> = FxHashMap::default();
        for shard in standings.shards() {
            let mut to = head;
            for (at, id) in standings.holding_of(shard) {
                let over = over.of(id);
                if over.is_empty() {
                    // Those that follow have come farther.
                    to = to.min(*at);
                    break;
                }
                if let Some(lane) = self.lanes.get(id) {
                    to = to.min(lane.settled_to(head, over));
                }
            }
            lowest.insert(shard, to);
        }
        let mut keep = |shard: i16, to: Seq| {
            let lowest = lowest.entry(shard).or_insert(to);
            *lowest = to.min(*lowest);
        };
        // Until it is stored as behind, its shard must not pass it.
        for resting in self.resting.values().filter(|resting| !resting.stored) {
            keep(resting.shard, resting.cursor);
        }
        self.owned
            .all()
            .map(|own| {
                let Shard { number, seq, .. } = own.shard;
                let moves = lowest.get(&number).filter(|_| own.known);
                (number, moves.copied().unwrap_or(seq).max(seq))
            })
            .collect()
    }

    fn move_lanes(
        &mut self,
        settled: &FxHashMap<i16, Seq>,
        over: &Over,
        settlement: &mut Settlement,
        shards: &mut FxHashMap<i16, i64>,
    ) {
        for id in self.lanes.standings().take_changed() {
            let Some(lane) = self.lanes.get(&id) else {
                continue;
            };
            let shard_seq = settled.get(&lane.shard).copied().unwrap_or_default();
            let over = over.of(&id);
            let cursor = lane.cursor_move(self.head, shard_seq, over);
            let held = lane.held_moves(over);
            if cursor.is_some() || !held.is_empty() {
                shards.entry(lane.shard).or_default();
            }
            settlement.cursors.extend(cursor);
            settlement.held.extend(held);
            if lane.is_astray() {
                self.lanes.standings().keep_changed(id);
            }
        }
    }

    fn move_resting(&self, settlement: &mut Settlement, shards: &mut FxHashMap<i16, i64>) {
        for (id, resting) in self.resting.iter().filter(|(_, resting)| !resting.stored) {
            shards.entry(resting.shard).or_default();
            settlement.cursors.push(CursorMove {
                endpoint_id: id.clone(),
                cursor: resting.cursor,
                behind: true,
            });
        }
    }
}

/// First attempts that this settlement commits, by endpoint.
#[derive(Default)]
struct Over(FxHashMap<String, Vec<Seq>>);

impl Over {
    /// Attempts of replays settle nothing, nor do those that do not count.
    fn add(&mut self, record: &AttemptRecord) {
        let first = record.attempt == 1 && record.replay_id.is_none();
        if first && record.result != AttemptResult::Deferred {
            let over = self.0.entry(record.endpoint_id.clone()).or_default();
            over.push(record.seq);
            over.extend(&record.covers);
        }
    }

    /// Each list in ascending order, as lanes look them up.
    fn in_order(mut self) -> Self {
        self.0.values_mut().for_each(|seqs| seqs.sort_unstable());
        self
    }

    fn of(&self, endpoint_id: &str) -> &[Seq] {
        self.0.get(endpoint_id).map_or(&[], Vec::as_slice)
    }
}
