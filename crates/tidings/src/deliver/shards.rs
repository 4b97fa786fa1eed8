//! The shards of endpoints that this process owns.

use std::collections::HashMap;

use store::Error;
use store::delivery::{self, Settlement, Shard};

use super::session::{Deliverer, answer};

/// The shards that this process owns, as the database has them.
#[derive(Debug, Default)]
pub struct Owned(HashMap<i16, Shard>);

impl Owned {
    pub fn take(&mut self, shards: Vec<Shard>) {
        self.0
            .extend(shards.into_iter().map(|shard| (shard.number, shard)));
    }

    pub fn numbers(&self) -> Vec<i16> {
        self.0.keys().copied().collect()
    }

    pub fn get(&self, number: i16) -> Option<&Shard> {
        self.0.get(&number)
    }

    pub fn all(&self) -> impl Iterator<Item = &Shard> {
        self.0.values()
    }

    pub fn stored(&mut self, settlement: &Settlement) {
        for (shard, _) in &settlement.shards {
            if let Some(owned) = self.0.get_mut(&shard.number) {
                owned.seq = owned.seq.max(shard.seq);
            }
        }
    }
}

impl Deliverer<'_> {
    pub(super) async fn take_shards(&mut self) -> Result<(), Error> {
        let taken = answer(delivery::take_shards(
            &self.session,
            &self.owned.numbers(),
            64,
        ))
        .await?;
        if !taken.is_empty() {
            tracing::info!(deliver.shards = taken.len(), "shards taken");
            self.owned
                .take(taken.into_iter().map(|taken| taken.shard).collect());
            self.revision = (-1, -1);
            self.read_endpoints().await?;
        }
        if self.owned.numbers().is_empty() {
            self.context.health.deliver.stand_by();
        } else {
            self.context.health.deliver.up();
        }
        Ok(())
    }
}
