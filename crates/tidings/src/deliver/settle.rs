//! Gathers what must be committed together: attempts, cursors, shards.

use std::collections::HashMap;
use std::sync::Arc;

use activity::Seq;
use store::delivery::{AttemptRecord, AttemptResult, Settlement, Shard};

use super::attempt::Done;
use super::dispatch::Lanes;
use super::shards::Owned;

/// What the attempts that are over, and the lanes as they stand, come to. Progress passes an action
/// only together with its attempt.
pub fn settlement(lanes: &mut Lanes, owned: &Owned, head: Seq, done: Vec<Done>) -> Settlement {
    let mut settlement = Settlement::default();
    let mut delivered: HashMap<i16, i64> = HashMap::new();
    // These are over once this settlement commits, so progress may pass them in it.
    let mut over = Over::default();
    for done in &done {
        let record = &done.record;
        over.add(record);
        if let Some(lane) = lanes.get(&record.endpoint_id) {
            let count = delivered.entry(lane.shard).or_default();
            *count += i64::from(record.result == AttemptResult::Delivered);
        }
    }
    let standings = lanes.standings();
    let mut lowest: HashMap<i16, Seq> = standings.shards().map(|shard| (shard, head)).collect();
    let holding: Vec<Arc<str>> = standings.holding().cloned().collect();
    let changed = standings.take_changed();
    for lane in holding.iter().filter_map(|id| lanes.get(id)) {
        let to = lane.settled_to(head, over.of(&lane.endpoint.id));
        lowest
            .entry(lane.shard)
            .and_modify(|lowest| *lowest = to.min(*lowest));
    }
    let mut shard_seqs: HashMap<i16, Seq> = HashMap::new();
    for shard in owned.all() {
        let seq = lowest
            .get(&shard.number)
            .copied()
            .unwrap_or(shard.seq)
            .max(shard.seq);
        shard_seqs.insert(shard.number, seq);
        let touched = delivered.get(&shard.number).copied();
        if seq > shard.seq || touched.is_some() {
            settlement
                .shards
                .push((Shard { seq, ..*shard }, touched.unwrap_or_default()));
        }
    }
    for id in changed {
        let Some(lane) = lanes.get(&id) else {
            continue;
        };
        let shard_seq = shard_seqs.get(&lane.shard).copied().unwrap_or_default();
        let over = over.of(&id);
        settlement
            .cursors
            .extend(lane.cursor_move(head, shard_seq, over));
        settlement.held.extend(lane.held_moves(over));
        if lane.is_astray() {
            lanes.standings().keep_changed(id);
        }
    }
    for Done {
        record, disable, ..
    } in done
    {
        if disable {
            let reason = "the endpoint answered 410 Gone".to_owned();
            settlement
                .disabled
                .push((record.endpoint_id.clone(), reason));
        }
        settlement.attempts.push(record);
    }
    settlement
}

/// First attempts that this settlement commits, by endpoint.
#[derive(Default)]
struct Over(HashMap<String, Vec<Seq>>);

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

    fn of(&self, endpoint_id: &str) -> &[Seq] {
        self.0.get(endpoint_id).map_or(&[], Vec::as_slice)
    }
}
