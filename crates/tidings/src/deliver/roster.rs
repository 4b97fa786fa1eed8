//! Brings the lanes to the endpoints of the owned shards as they are now.

use std::collections::HashSet;
use std::sync::Arc;

use activity::Seq;
use store::endpoints::{EndpointState, StoredEndpoint};
use store::{Error, delivery, endpoints};

use super::dispatch::sendable;
use super::lane::{Beginning, Lane};
use super::session::{Deliverer, answer};

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
        for endpoint in &stored {
            let sendable = match sendable(endpoint) {
                Ok(sendable) => Arc::new(sendable),
                Err(error) => {
                    tracing::error!(endpoint.name, %error, "an endpoint can not be used");
                    continue;
                }
            };
            if let Some(lane) = self.lanes.get_mut(&endpoint.id) {
                lane.endpoint = sendable;
                continue;
            }
            let cursor = self.begins_after(endpoint);
            let beginning = Beginning {
                cursor,
                // The dispatcher does not go back: a lane that begins before it reads for itself.
                behind: endpoint.behind || cursor < self.head,
                stored_behind: endpoint.behind,
                settled: settled.remove(&endpoint.id).unwrap_or_default(),
            };
            let in_flight = self.context.settings.webhooks.endpoint_in_flight;
            self.generations += 1;
            let lane = Lane::new(
                sendable,
                endpoint.shard,
                self.generations,
                in_flight,
                beginning,
            );
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
        if let (None, Some(first)) = (self.lanes.at_head().next(), first) {
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
