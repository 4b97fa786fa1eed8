//! What rules make of compared rows. Writes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use activity::{
    Begin, Change, Key, Lsn, OldRow, Operation, Origin, Part, Position, Relation, Row, TableName,
    Value, Xid,
};
use jiff::Timestamp;
use rules::{Derivation, ImageWrite, Images, Loaded, Rules, Shapes};
use store::Session;
use store::images::ImageTables;

use super::merge::{Compared, Found, complete};
use crate::capture::{Fault, load};

/// Rounds in which one chunk's lookups ask for rows.
const LOOKUPS_MAX: usize = 16;

/// Rules, and where the rows are that they look up.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    pub rules: &'a Rules,
    pub shapes: &'a Shapes,
    pub session: &'a Session,
    pub tables: &'a ImageTables,
}

/// A chunk as the rule engine takes it: one transaction.
#[derive(Clone, Copy)]
pub struct Synthetic<'a> {
    pub table: &'a TableName,
    pub relation: &'a Arc<Relation>,
    /// The key's columns.
    pub key: &'a [String],
    /// Where it would have been committed.
    pub at: Lsn,
    /// Where it was read.
    pub lsn: Lsn,
    pub time: Timestamp,
    pub xid: u64,
}

impl Teller<'_> {
    /// The images that become as the rows are.
    pub fn writes(&self, synthetic: &Synthetic<'_>, compared: &[Compared<'_>]) -> Vec<ImageWrite> {
        let mut images = self.rules.images();
        images.keep_deletes(synthetic.table.clone());
        let mut changes = Vec::new();
        for (place, compared) in compared.iter().enumerate() {
            if compared.found == Found::Gone {
                continue;
            }
            // As it is stored: under the names of now it would need no write.
            let image = compared.stored.clone();
            let loaded = image.map_or(Loaded::Absent, Loaded::Known);
            images.insert(synthetic.table.clone(), compared.key.clone(), loaded);
            let is_new = compared.image.is_none();
            changes.push(synthetic.change(place, compared, is_new));
        }
        let part = synthetic.part(changes);
        self.rules.writes(&part, self.shapes, &images)
    }

    /// Derives the actions of one origin, loading what rules look up as it turns out to be needed.
    pub async fn tell(
        &self,
        synthetic: &Synthetic<'_>,
        compared: &[Compared<'_>],
        origin: Origin,
    ) -> Result<Derivation, Fault> {
        let mut images = self.rules.images();
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
            images.insert(synthetic.table.clone(), compared.key.clone(), loaded);
            changes.push(synthetic.change(place, compared, is_new));
        }
        if changes.is_empty() {
            return Ok(Derivation::default());
        }
        let part = synthetic.part(changes);
        self.derive(origin, &part, &mut images).await
    }

    async fn derive(
        &self,
        origin: Origin,
        part: &Part,
        images: &mut Images,
    ) -> Result<Derivation, Fault> {
        for _ in 0..LOOKUPS_MAX {
            let derive = || self.rules.derive_as(origin, part, self.shapes, images);
            let derived = tokio::task::block_in_place(derive);
            if derived.missing.is_empty() {
                return Ok(derived);
            }
            let missing = derived.missing;
            load::wanted(self.session, self.tables, self.shapes, missing, images).await?;
        }
        Err(Fault::Operator(format!(
            "lookups of one chunk asked for rows {LOOKUPS_MAX} times and are not through: a rule looks up \
             without end"
        )))
    }
}

impl Synthetic<'_> {
    fn part(&self, changes: Vec<Change>) -> Part {
        Part {
            begin: Begin {
                commit_lsn: self.at,
                commit_time: self.time,
                xid: Xid(self.xid as u32),
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
                lsn: self.lsn,
                index: u32::try_from(place).unwrap_or(u32::MAX),
            },
            operation,
        }
    }

    /// A row of which only the key is known.
    fn key_row(&self, key: &Key) -> Row {
        let texts = store::rows::key_texts(key).unwrap_or_default();
        let named: HashMap<&String, String> = self.key.iter().zip(texts).collect();
        let columns = self.relation.columns.iter();
        let value = |column: &activity::Column| match named.get(&column.name) {
            Some(text) => Value::Text(text.as_str().into()),
            None => Value::Null,
        };
        Row {
            relation: Arc::clone(self.relation),
            values: columns.map(value).collect(),
        }
    }
}
