//! Gathers what must be committed together: attempts, cursors, shards.

use std::collections::HashMap;

use activity::Seq;
use store::delivery::{AttemptResult, Settlement, Shard};

use super::attempt::Done;
use super::dispatch::Lanes;
use super::shards::Owned;

/// What the attempts that are over, and the lanes as they stand, come to. Progress passes an action
/// only together with its attempt.
pub fn settlement(lanes: &Lanes, owned: &Owned, head: Seq, done: Vec<Done>) -> Settlement {
    let mut settlement = Settlement::default();
    let mut delivered: HashMap<i16, i64> = HashMap::new();
    // These are over once this settlement commits, so progress may pass them in it.
    let mut over = Over::default();
    for done in &done {
        let record = &done.record;
        if record.attempt == 1 {
            over.0
                .entry(record.endpoint_id.clone())
                .or_default()
                .push(record.seq);
        }
        if let Some(lane) = lanes.get(&record.endpoint_id) {
            let count = delivered.entry(lane.shard).or_default();
            *count += i64::from(record.result == AttemptResult::Delivered);
        }
    }
    let mut lowest: HashMap<i16, Seq> = HashMap::new();
    for lane in lanes.at_head() {
        let to = lane.settled_to(head, over.of(&lane.endpoint.id));
        lowest
            .entry(lane.shard)
            .and_modify(|lowest| *lowest = to.min(*lowest))
            .or_insert(to);
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
    settlement.cursors = lanes
        .all()
        .filter_map(|lane| {
            let shard_seq = shard_seqs.get(&lane.shard).copied().unwrap_or_default();
            lane.cursor_move(head, shard_seq, over.of(&lane.endpoint.id))
        })
        .collect();
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
    fn of(&self, endpoint_id: &str) -> &[Seq] {
        self.0.get(endpoint_id).map_or(&[], Vec::as_slice)
    }
}
