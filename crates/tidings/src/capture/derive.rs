//! One part of a transaction and the images become actions with identities. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use activity::{ActionId, Identity, Key, Origin, Part, TableName};
use rules::{Derivation, Image, ImageWrite, Images, Rules, Shapes, Wanted};
use store::commit::{Batch, NewAction, NewFault};
use store::images::{ImageChange, Told};

use super::kept::Keeping;
use super::storable;

/// Gathers what the parts of one commit group come to.
#[derive(Default)]
pub struct Gathered {
    actions: Vec<NewAction>,
    faults: Vec<NewFault>,
    images: HashMap<(TableName, Key), LastImage>,
    truncated: Vec<TableName>,
}

/// Where an image stands so far.
struct LastImage {
    image: Option<Image>,
    xid: u64,
    told: Told,
}

/// What stays the same for all parts of a transaction.
pub struct Deriver<'a> {
    pub rules: &'a Rules,
    pub shapes: &'a Shapes,
    pub system_id: &'a str,
}

impl Deriver<'_> {
    /// Derives one part. `ordinal` is that of the transaction's next action; images are brought to
    /// where the part leaves them. Rows that lookups miss come back as the error: nothing has
    /// changed then.
    pub fn part(
        &self,
        part: &Part,
        xid: u64,
        ordinal: &mut u32,
        images: &mut Images,
        into: &mut Gathered,
    ) -> Result<(), BTreeSet<Wanted>> {
        let Derivation {
            actions,
            writes,
            truncated,
            faults,
            unreadable,
            missing,
        } = self.rules.derive(part, self.shapes, images);
        if !missing.is_empty() {
            return Err(missing);
        }
        if unreadable > 0 {
            metrics::counter!("tidings_messages_unreadable_total").increment(unreadable as u64);
            tracing::warn!(
                messages = unreadable, wal.commit_lsn = %part.begin.commit_lsn,
                "logical messages with the prefix tidings are not JSON objects: they are ignored"
            );
        }
        let told: HashSet<(TableName, Key)> = actions
            .iter()
            .map(|derived| (derived.source.table.clone(), derived.source.key.clone()))
            .collect();
        let unobserved: HashSet<(&TableName, &Key)> = writes
            .iter()
            .filter(|write| write.unobserved)
            .map(|write| (&write.table, &write.key))
            .collect();
        for derived in actions {
            let source = (&derived.source.table, &derived.source.key);
            let origin = match unobserved.contains(&source) {
                true => Origin::Reconciled,
                false => Origin::Stream,
            };
            let identity = Identity {
                system_id: self.system_id,
                begin: &part.begin,
                position: derived.source.position,
                rule: &derived.source.rule,
                ordinal: *ordinal,
            };
            *ordinal = ordinal.wrapping_add(1);
            into.actions.push(NewAction {
                id: ActionId::of(&identity),
                action: storable::action(derived.action),
                source: derived.source,
                origin,
                commit_lsn: part.begin.commit_lsn,
                committed_at: part.begin.commit_time,
                xid,
            });
        }
        let mut keeping = Keeping::default();
        into.faults.extend(faults.into_iter().map(|fault| NewFault {
            rule: fault.rule,
            table: fault.table,
            key: fault.key,
            commit_lsn: part.begin.commit_lsn,
            committed_at: part.begin.commit_time,
            xid,
            position: fault.position,
            reason: fault.reason,
            kept: fault.kept.map(|change| keeping.of(&change)),
        }));
        for table in truncated {
            images.truncate(&table);
            into.images.retain(|(of, _), _| *of != table);
            if !into.truncated.contains(&table) {
                into.truncated.push(table);
            }
        }
        images.apply(&writes);
        let changed: Vec<_> = writes
            .into_iter()
            .map(|write| {
                let (told, key) = (into.told(&write, &told), (write.table, write.key));
                let image = write.image;
                (key, LastImage { image, xid, told })
            })
            .collect();
        into.images.extend(changed);
        Ok(())
    }

    /// What lookups of a part will miss, as far as these images tell.
    pub fn missing(&self, part: &Part, images: &Images) -> BTreeSet<Wanted> {
        self.rules.derive(part, self.shapes, images).missing
    }
}

impl Gathered {
    /// A row that came into being now needs no telling, nor one that an action tells of; any other
    /// one is told of as it was before, under the key that it had then.
    fn told(&self, write: &ImageWrite, told: &HashSet<(TableName, Key)>) -> Told {
        let id = (write.table.clone(), write.key.clone());
        match &write.key_before {
            None => Told::Yes,
            Some(_) if write.unobserved => Told::Yes,
            Some(_) if told.contains(&id) => Told::Yes,
            Some(before) => match self.images.get(&(id.0, before.clone())) {
                Some(last) => last.told.clone(),
                None => Told::As(before.clone()),
            },
        }
    }

    /// Takes an action that no rule made.
    pub fn push(&mut self, action: NewAction) {
        self.actions.push(action);
    }

    pub fn batch(self) -> Batch {
        let images =
            self.images
                .into_iter()
                .map(
                    |((table, key), LastImage { image, xid, told })| ImageChange {
                        table,
                        key,
                        row: image.map(|image| {
                            serde_json::to_string(&image).expect("texts and nulls print")
                        }),
                        xid,
                        told,
                    },
                );
        let mut images: Vec<ImageChange> = images.collect();
        // Always in the same order, so that two writers could never deadlock on them.
        images.sort_by(|a, b| (&a.table, &a.key).cmp(&(&b.table, &b.key)));
        Batch {
            actions: self.actions,
            faults: self.faults,
            images,
            truncated: self.truncated,
            ..Batch::default()
        }
    }
}

#[cfg(test)]
mod tests;
