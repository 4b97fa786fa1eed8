//! Brings the lanes to the endpoints of the owned shards as they are now.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::Seq;
use store::endpoints::{EndpointState, StoredEndpoint};
use store::{Error, delivery, endpoints};

use super::dispatch::sendable;
use super::lane::{Beginning, BreakerSettings, Lane, Terms};
use super::session::{Deliverer, answer};

/// An endpoint in order has one head at a time; more were parked before it wanted order.
const HEADS_MAX: i64 = 1000;
const BREAKER: BreakerSettings = BreakerSettings {
    failures: 5,
    cooldown: Duration::from_secs(30),
    cooldown_max: Duration::from_mins(10),
};

impl Deliverer<'_> {
    /// Brings the lanes to the endpoints as they are now.
    pub(super) async fn read_endpoints(&mut self) -> Result<(), Error> {
        let revision = answer(endpoints::revision(&self.reader)).await?;
        if revision == self.revision {
            return Ok(());
        }
        let stored: Vec<StoredEndpoint> = endpoints::list(&self.reader)
            .await?
            .into_iter()
            .filter(|endpoint| {
                endpoint.state == EndpointState::Enabled && self.owned.get(endpoint.shard).is_some()
            })
            .collect();
        let known: HashSet<&str> = stored.iter().map(|endpoint| endpoint.id.as_str()).collect();
        self.lanes.retain(|id| known.contains(id));
        let new: Vec<&StoredEndpoint> = stored
            .iter()
            .filter(|e| self.lanes.get(&e.id).is_none())
            .collect();
        let cursors: Vec<(String, Seq)> = new
            .iter()
            .map(|endpoint| (endpoint.id.clone(), self.begins_after(endpoint)))
            .collect();
        self.begin_at_head(&new);
        let mut settled = answer(delivery::attempted_after(&self.reader, &cursors)).await?;
        let ids: Vec<&str> = cursors.iter().map(|(id, _)| id.as_str()).collect();
        let mut holds = answer(delivery::holds(&self.reader, &ids)).await?;
        let mut heads = answer(delivery::heads_after(&self.reader, &cursors, HEADS_MAX)).await?;
        for endpoint in &stored {
            let sendable = match sendable(endpoint) {
                Ok(sendable) => Arc::new(sendable),
                Err(error) => {
                    tracing::error!(endpoint.name, %error, "an endpoint can not be used");
                    continue;
                }
            };
            let in_flight = self.context.settings.webhooks.endpoint_in_flight;
            let terms = Terms::new(&endpoint.options, in_flight, BREAKER);
            if self.lanes.get(&endpoint.id).is_some() {
                self.lanes.update(sendable, terms, Instant::now());
                continue;
            }
            let cursor = self.begins_after(endpoint);
            let beginning = Beginning {
                cursor,
                // The dispatcher does not go back: a lane that begins before it reads for itself.
                behind: endpoint.behind || cursor < self.head,
                stored_behind: endpoint.behind,
                settled: settled.remove(&endpoint.id).unwrap_or_default(),
                heads: heads.remove(&endpoint.id).unwrap_or_default(),
                holds: holds.remove(&endpoint.id).unwrap_or_default(),
            };
            self.generations += 1;
            let lane = Lane::new(sendable, endpoint.shard, self.generations, terms, beginning);
            self.lanes.insert(lane);
        }
        self.revision = revision;
        Ok(())
    }

    /// Where no lane is at the head, the dispatcher begins where the first new one needs it to.
    pub(super) fn begin_at_head(&mut self, new: &[&StoredEndpoint]) {
        let first = new
            .iter()
            .filter(|e| !e.behind)
            .map(|e| self.begins_after(e))
            .min();
        if let (false, Some(first)) = (self.lanes.standings().any_at_head(), first) {
            self.head = first;
        }
    }

    /// Everything up to here is settled for this endpoint.
    pub(super) fn begins_after(&self, endpoint: &StoredEndpoint) -> Seq {
        match self.owned.get(endpoint.shard) {
            Some(shard) if !endpoint.behind => endpoint.cursor.max(shard.seq),
            _ => endpoint.cursor,
        }
    }
}
