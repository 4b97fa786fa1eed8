//! A chunk becomes one commit of the writer.

use std::collections::{BTreeSet, HashMap, HashSet};

use activity::{
    ActionId, Begin, Change, Key, Lsn, OldRow, Operation, Origin, Part, Position, Row, TableName,
    Unstreamed, Value, Xid,
};
use rules::{Derivation, Images, Loaded};
use store::commit::{Batch, NewAction, NewFault, Reached};
use store::images::{self, ImageChange, Told};
use store::reconcile::{self, Advance, Needed, Purpose};

use super::chunk::{Chunk, Reply};
use super::merge::{Compared, Found, compare, complete};
use crate::capture::derive::storable;
use crate::capture::kept::Keeping;
use crate::capture::writer::Writer;
use crate::capture::{Fault, load};

/// Rounds in which one chunk's lookups ask for rows.
const LOOKUPS_MAX: usize = 16;

impl Writer<'_> {
    /// Takes up what was asked for: from here on deletes of those tables leave tombstones. Gives the
    /// tables whose rows may be read from now on.
    pub async fn take_up(&mut self) -> Result<BTreeSet<i32>, Fault> {
        let work = reconcile::open(&self.session, &self.needed()).await?;
        self.image_tables
            .keep_deletes(work.iter().map(|work| &work.table));
        Ok(work.iter().map(|work| work.table_id).collect())
    }

    /// What images must hold for the rules of now.
    pub fn needed(&self) -> Vec<Needed> {
        let shapes = self.guard.shapes.iter();
        let needed = shapes.map(|(table, shape)| {
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
        let compared = compare(&chunk.rows, &chunk.snapshot, &stored, purpose, is_complete)
            .map_err(|error| Fault::Operator(format!("table {table}: {error}")))?;
        let at = self.position();
        let synthetic = Synthetic { chunk, at };
        let mut batch = Batch {
            images: self.image_changes(&synthetic, &compared),
            ..Batch::default()
        };
        for origin in [Origin::Reconciled, Origin::Backfill] {
            self.tell(&synthetic, &compared, origin, &mut batch).await?;
        }
        mark_told(&mut batch, table, &compared);
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

    /// The last position before everything that is still to come: progress stands there once a chunk is
    /// in, so that nothing that the chunk has overtaken is derived again.
    fn position(&self) -> Lsn {
        if self.passed >= self.progress.end_lsn {
            Lsn::new(self.passed.get() - 1)
        } else {
            self.progress.commit_lsn
        }
    }

    /// Images become as the rows are.
    fn image_changes(
        &self,
        synthetic: &Synthetic<'_>,
        compared: &[Compared<'_>],
    ) -> Vec<ImageChange> {
        let mut images = self.context.rules.images();
        let mut changes = Vec::new();
        let table = &synthetic.chunk.work.table;
        for (place, compared) in compared.iter().enumerate() {
            if compared.found == Found::Gone {
                continue;
            }
            let loaded = compared.image.clone().map_or(Loaded::Absent, Loaded::Known);
            images.insert(table.clone(), compared.key.clone(), loaded);
            let is_new = compared.image.is_none();
            changes.push(synthetic.change(place, compared, is_new));
        }
        let part = synthetic.part(changes);
        let writes = self
            .context
            .rules
            .writes(&part, &self.guard.shapes, &images);
        // A key that no image is left of needs no tombstone: the snapshot saw it go.
        let told: HashMap<&Key, bool> = compared.iter().map(|c| (c.key, c.told)).collect();
        let change = |write: rules::ImageWrite| {
            let image = write.image;
            let row =
                image.map(|image| serde_json::to_string(&image).expect("texts and nulls print"));
            let told = match told.get(&write.key) {
                Some(true) => Told::Yes,
                Some(false) | None => Told::No,
            };
            ImageChange {
                table: write.table,
                key: write.key,
                row,
                xid: synthetic.chunk.snapshot.settled(),
                told,
            }
        };
        writes.into_iter().map(change).collect()
    }

    /// Derives the actions of one origin.
    async fn tell(
        &mut self,
        synthetic: &Synthetic<'_>,
        compared: &[Compared<'_>],
        origin: Origin,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let chunk = synthetic.chunk;
        let table = &chunk.work.table;
        let mut images = self.context.rules.images();
        let mut changes = Vec::new();
        for (place, compared) in compared.iter().enumerate() {
            let is_new = match compared.found {
                Found::New(of) if of == origin => true,
                Found::Changed | Found::Deleted if origin == Origin::Reconciled => false,
                Found::New(_) | Found::Changed | Found::Deleted | Found::Same | Found::Gone => {
                    continue;
                }
            };
            let image = compared.image.as_ref().filter(|_| !is_new);
            let loaded = image.map(|image| complete(image, compared.row));
            let loaded = loaded.map_or(Loaded::Absent, Loaded::Known);
            images.insert(table.clone(), compared.key.clone(), loaded);
            changes.push(synthetic.change(place, compared, is_new));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let part = synthetic.part(changes);
        let derived = self.derive_found(origin, &part, &mut images).await?;
        let kept = |at: Option<i64>| match (origin, chunk.work.since) {
            (Origin::Backfill, Some(since)) => at.is_some_and(|at| at >= since),
            _ => true,
        };
        let system_id = self.progress.lineage.system_id.clone();
        let kind = match origin {
            Origin::Backfill => Purpose::Backfill.as_str(),
            _ => Purpose::Reconcile.as_str(),
        };
        let (name, lsn) = (table.to_string(), chunk.lsn.to_string());
        for derived in derived.actions {
            if !kept(derived.action.created_at) {
                continue;
            }
            let (key, rule) = (derived.source.key.as_str(), derived.source.rule.as_str());
            let ordinal = u32::try_from(batch.actions.len()).unwrap_or(u32::MAX);
            let id = ActionId::unstreamed(&Unstreamed {
                system_id: &system_id,
                kind,
                subject: &[&name, key, rule, &lsn, &ordinal.to_string()],
                at: synthetic.at,
                ordinal,
            });
            batch.actions.push(NewAction {
                id,
                action: storable(derived.action),
                source: derived.source,
                origin,
                commit_lsn: synthetic.at,
                committed_at: chunk.at,
                xid: chunk.snapshot.settled(),
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
        Ok(())
    }

    /// Derives, loading what rules look up as it turns out to be needed.
    async fn derive_found(
        &self,
        origin: Origin,
        part: &Part,
        images: &mut Images,
    ) -> Result<Derivation, Fault> {
        let (rules, shapes) = (&self.context.rules, &self.guard.shapes);
        for _ in 0..LOOKUPS_MAX {
            let derived =
                tokio::task::block_in_place(|| rules.derive_as(origin, part, shapes, images));
            if derived.missing.is_empty() {
                return Ok(derived);
            }
            load::wanted(&self.session, &self.image_tables, derived.missing, images).await?;
        }
        Err(Fault::Operator(format!(
            "lookups of one chunk asked for rows {LOOKUPS_MAX} times and are not through: a rule looks up \
             without end"
        )))
    }
}

/// The rows that an action now tells of; an image that did not change is written for it.
fn mark_told(batch: &mut Batch, table: &TableName, compared: &[Compared<'_>]) {
    let told: HashSet<&Key> = batch.actions.iter().map(|a| &a.source.key).collect();
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
                row: Some(serde_json::to_string(image).expect("texts and nulls print")),
                xid: 0,
                told: Told::Yes,
            })
        })
        .collect();
    batch.images.extend(marks);
    batch.images.sort_by(|a, b| a.key.cmp(&b.key));
}

/// A chunk as the rule engine takes it: one transaction at the place where it is applied.
struct Synthetic<'a> {
    chunk: &'a Chunk,
    at: Lsn,
}

impl Synthetic<'_> {
    fn part(&self, changes: Vec<Change>) -> Part {
        Part {
            begin: Begin {
                commit_lsn: self.at,
                commit_time: self.chunk.at,
                xid: Xid(self.chunk.snapshot.settled() as u32),
            },
            changes,
            first: true,
            end: Some(self.at),
        }
    }

    fn change(&self, place: usize, compared: &Compared<'_>, is_new: bool) -> Change {
        let operation = match compared.row {
            Some(row) if is_new => Operation::Insert { new: row.clone() },
            Some(row) => Operation::Update {
                old: None,
                new: row.clone(),
            },
            None => Operation::Delete {
                old: OldRow::Key(self.key_row(compared.key)),
            },
        };
        Change {
            position: Position {
                lsn: self.chunk.lsn,
                index: u32::try_from(place).unwrap_or(u32::MAX),
            },
            operation,
        }
    }

    /// A row of which only the key is known.
    fn key_row(&self, key: &Key) -> Row {
        let texts = store::rows::key_texts(key).unwrap_or_default();
        let named: HashMap<&String, String> = self.chunk.work.key.iter().zip(texts).collect();
        let columns = self.chunk.relation.columns.iter();
        let value = |column: &activity::Column| match named.get(&column.name) {
            Some(text) => Value::Text(text.as_str().into()),
            None => Value::Null,
        };
        Row {
            relation: self.chunk.relation.clone(),
            values: columns.map(value).collect(),
        }
    }
}
