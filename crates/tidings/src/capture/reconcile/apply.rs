//! A chunk becomes one commit of the writer.

use std::collections::{BTreeSet, HashMap, HashSet};

use activity::{ActionId, Key, Lsn, Origin, TableName, Unstreamed};
use rules::{Image, ImageWrite, Shapes};
use store::commit::{Batch, NewAction, NewFault, Reached};
use store::images::{self, ImageChange, Told};
use store::reconcile::{self, Advance, Needed, Purpose};

use super::chunk::{Chunk, Reply};
use super::merge::{Compared, Found, compare, with_lost_columns};
use super::tell::{Synthetic, Teller};
use crate::capture::kept::Keeping;
use crate::capture::writer::Writer;
use crate::capture::{Fault, storable};

impl Writer<'_> {
    /// Takes up what was asked for: from here on deletes of those tables leave tombstones. Gives the
    /// tables whose rows may be read from now on.
    pub async fn take_up(&mut self) -> Result<BTreeSet<i32>, Fault> {
        let work = reconcile::open(&self.session, &self.needed()).await?;
        self.image_tables
            .keep_deletes(work.iter().map(|work| (&work.table, work.complete)));
        Ok(work.iter().map(|work| work.table_id).collect())
    }

    /// What images must hold for the rules of now.
    pub fn needed(&self) -> Vec<Needed> {
        needed(&self.guard.shapes)
    }

    /// Whether everything that was committed before this position is in, with no transaction half done.
    pub fn has_passed(&self, lsn: Lsn) -> bool {
        !self.in_transaction && self.progress.half.is_none() && self.passed >= lsn
    }

    /// Commits what a chunk comes to. The stream must have passed the chunk's position.
    pub async fn apply(&mut self, chunk: &Chunk) -> Result<Reply, Fault> {
        let table = &chunk.work.table;
        let generation = self.image_tables.generation(table);
        let is_of_now = chunk.generation.is_none() || chunk.generation == generation;
        if !is_of_now || !self.image_tables.keeps_deletes(table) {
            return Ok(Reply::Again);
        }
        let keys: Vec<&Key> = chunk.rows.iter().map(|(key, _)| key).collect();
        let stored = images::stored(&self.session, &self.image_tables, table, &keys).await?;
        let (purpose, is_complete) = (chunk.work.purpose, chunk.work.complete);
        let former = self.image_tables.former_names(table);
        let (rows, snapshot) = (&chunk.rows, &chunk.snapshot);
        let compared = compare(rows, snapshot, &stored, purpose, is_complete, former)
            .map_err(|error| Fault::Operator(format!("table {table}: {error}")))?;
        let at = self.position();
        let synthetic = Synthetic {
            table,
            relation: &chunk.relation,
            key: &chunk.work.key,
            at,
            lsn: chunk.lsn,
            time: chunk.at,
            xid: chunk.snapshot.settled(),
        };
        let writes = self.teller().writes(&synthetic, &compared);
        let writes = self.keep_lost_columns(writes, &compared, &synthetic);
        let mut batch = Batch {
            images: image_changes(writes, &compared, synthetic.xid),
            ..Batch::default()
        };
        let mut left_out = HashSet::new();
        for origin in [Origin::Reconciled, Origin::Backfill] {
            let out = self.tell(chunk, &synthetic, &compared, origin, &mut batch);
            left_out.extend(out.await?);
        }
        mark_told(&mut batch, table, &compared, &left_out);
        batch.advance = Some(Advance {
            table_id: chunk.work.table_id,
            request: chunk.work.request,
            step: chunk.work.step,
            pass: chunk.next.pass,
            round: chunk.next.round,
            cursor: chunk.next.cursor.clone(),
            finished: chunk.next.finished,
            rows: match chunk.work.pass {
                reconcile::Pass::Rows => chunk.rows.len() as i64,
                reconcile::Pass::Images | reconcile::Pass::Gaps => 0,
            },
            actions: batch.actions.len() as i64,
        });
        let reached = Reached {
            commit_lsn: at,
            end_lsn: self.passed.max(self.progress.end_lsn),
            confirm_limit: self.progress.confirm_limit,
            half: None,
        };
        self.write(reached, &batch).await?;
        metrics::counter!("tidings_reconcile_rows_total").increment(chunk.rows.len() as u64);
        if chunk.next.finished {
            tracing::info!(%table, reconcile.purpose = purpose.as_str(), "the images of a table are complete");
        }
        Ok(Reply::Applied)
    }

    /// Without those that leave an image as it is stored.
    fn keep_lost_columns(
        &self,
        writes: Vec<ImageWrite>,
        compared: &[Compared<'_>],
        synthetic: &Synthetic<'_>,
    ) -> Vec<ImageWrite> {
        let stored: HashMap<&Key, &Image> = compared
            .iter()
            .filter_map(|compared| Some((compared.key, compared.stored.as_ref()?)))
            .collect();
        let used = self
            .rules
            .tables()
            .find(|used| used.table == *synthetic.table);
        let is_named = |name: &str| used.is_some_and(|used| used.columns.iter().any(|c| c == name));
        let kept = writes.into_iter().filter_map(|mut write| {
            let Some(stored) = stored.get(&write.key) else {
                return Some(write);
            };
            let complete = |image| with_lost_columns(image, stored, synthetic.relation, is_named);
            write.image = write.image.map(complete);
            (write.image.as_ref() != Some(stored)).then_some(write)
        });
        kept.collect()
    }

    /// The last position before everything that is still to come: progress stands there once a chunk is
    /// in, so that nothing that the chunk has overtaken is derived again.
    fn position(&self) -> Lsn {
        if self.passed >= self.progress.end_lsn {
            Lsn::new(self.passed.get().saturating_sub(1))
        } else {
            self.progress.commit_lsn
        }
    }

    /// Adds the actions of one origin, each with its identity. Gives the keys of those that are too old to
    /// be told.
    async fn tell(
        &self,
        chunk: &Chunk,
        synthetic: &Synthetic<'_>,
        compared: &[Compared<'_>],
        origin: Origin,
        batch: &mut Batch,
    ) -> Result<HashSet<Key>, Fault> {
        let mut left_out = HashSet::new();
        let derived = self.teller().tell(synthetic, compared, origin).await?;
        let kind = match origin {
            Origin::Backfill => Purpose::Backfill.as_str(),
            _ => Purpose::Reconcile.as_str(),
        };
        let (name, lsn) = (synthetic.table.to_string(), chunk.lsn.to_string());
        for derived in derived.actions {
            if !is_wanted(chunk.work.since, origin, derived.action.created_at) {
                left_out.insert(derived.source.key);
                continue;
            }
            let (key, rule) = (derived.source.key.as_str(), derived.source.rule.as_str());
            let ordinal = u32::try_from(batch.actions.len()).unwrap_or(u32::MAX);
            let id = ActionId::unstreamed(&Unstreamed {
                system_id: &self.progress.lineage.system_id,
                kind,
                subject: &[&name, key, rule, &lsn, &ordinal.to_string()],
                at: synthetic.at,
                ordinal,
            });
            batch.actions.push(NewAction {
                id,
                action: storable::action(derived.action),
                source: derived.source,
                origin,
                commit_lsn: synthetic.at,
                committed_at: chunk.at,
                xid: synthetic.xid,
            });
        }
        let mut keeping = Keeping::default();
        let faults = derived.faults.into_iter().map(|fault| NewFault {
            rule: fault.rule,
            table: fault.table,
            key: fault.key,
            commit_lsn: synthetic.at,
            committed_at: chunk.at,
            xid: chunk.snapshot.settled(),
            position: fault.position,
            reason: fault.reason,
            kept: fault.kept.map(|change| keeping.of(&change)),
        });
        batch.faults.extend(faults);
        Ok(left_out)
    }

    fn teller(&self) -> Teller<'_> {
        Teller {
            rules: &self.rules,
            shapes: &self.guard.shapes,
            session: &self.session,
            tables: &self.image_tables,
        }
    }
}

/// What images must hold for tables of these shapes.
pub fn needed(shapes: &Shapes) -> Vec<Needed> {
    let needed = shapes.iter().map(|(table, shape)| {
        let mut columns: Vec<String> = shape.types.keys().cloned().collect();
        columns.sort();
        Needed {
            table: table.clone(),
            key: shape.key.clone(),
            columns,
        }
    });
    needed.collect()
}

/// Of what is older than a backfill reaches nothing is told, nor of what tells no time.
pub fn is_wanted(since: Option<i64>, origin: Origin, created_at: Option<i64>) -> bool {
    match (origin, since) {
        (Origin::Backfill, Some(since)) => created_at.is_some_and(|at| at >= since),
        _ => true,
    }
}

/// Whether the rows were told of stays as it was.
fn image_changes(writes: Vec<ImageWrite>, compared: &[Compared<'_>], xid: u64) -> Vec<ImageChange> {
    let told: HashSet<&Key> = compared.iter().filter(|c| c.told).map(|c| c.key).collect();
    let change = |write: ImageWrite| {
        let told = match told.contains(&write.key) {
            true => Told::Yes,
            false => Told::No,
        };
        let row = write.image.as_ref().map(json);
        ImageChange {
            table: write.table,
            key: write.key,
            row,
            xid,
            told,
        }
    };
    writes.into_iter().map(change).collect()
}

fn json(image: &Image) -> String {
    serde_json::to_string(image).expect("texts and nulls print")
}

/// The rows that are told of from now on: those of actions, those that came into being while Tidings
/// was there, and those that a backfill asked its rules about, unless they are too old for it. An
/// image that did not change is written for it.
fn mark_told(
    batch: &mut Batch,
    table: &TableName,
    compared: &[Compared<'_>],
    left_out: &HashSet<Key>,
) {
    let mut told: HashSet<&Key> = batch.actions.iter().map(|a| &a.source.key).collect();
    told.extend(compared.iter().filter_map(|c| match c.found {
        Found::New(Origin::Backfill) => (!left_out.contains(c.key)).then_some(c.key),
        Found::New(_) => Some(c.key),
        Found::Same | Found::Changed | Found::Deleted | Found::Gone => None,
    }));
    for change in &mut batch.images {
        if told.contains(&change.key) {
            change.told = Told::Yes;
        }
    }
    let written: HashSet<&Key> = batch.images.iter().map(|change| &change.key).collect();
    let silent = |c: &&Compared<'_>| !c.told && told.contains(c.key) && !written.contains(c.key);
    let marks: Vec<ImageChange> = compared
        .iter()
        .filter(silent)
        .filter_map(|c| {
            let image = c.image.as_ref()?;
            Some(ImageChange {
                table: table.clone(),
                key: c.key.clone(),
                row: Some(json(image)),
                xid: 0,
                told: Told::Yes,
            })
        })
        .collect();
    batch.images.extend(marks);
    batch.images.sort_by(|a, b| a.key.cmp(&b.key));
}
