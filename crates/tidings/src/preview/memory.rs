//! Old values for a preview: what it saw itself, and the sidecar's images as far as they are from
//! before a transaction.
//!
//! A running sidecar brings its images up to date while the preview looks. So those that there are
//! are read once at the beginning, with the position that they are of, unless they are too many: then one by
//! one, and counted only if the sidecar had not come to the transaction yet.

use std::collections::{BTreeSet, HashMap};

use activity::{Key, Lsn, Part, TableName};
use rules::{By, Derivation, Image, Images, Loaded, Shapes, Wanted};
use store::Session;
use store::images::{self, ImageTables};
use store::progress;

use crate::Failure;
use crate::capture::load;

/// As many rows are kept; from then on the sidecar's images are asked each time.
const ROWS_MAX: usize = 100_000;

type Rows = HashMap<(TableName, Key), Option<Image>>;

pub struct Memory {
    tables: ImageTables,
    /// Whether the sidecar was ever set up here.
    set_up: bool,
    /// Those of the beginning, and the last transaction that they hold.
    begun: Option<(Rows, Lsn)>,
    /// Rows that were seen; `None` is a deleted one.
    seen: Rows,
    truncated: BTreeSet<TableName>,
}

impl Memory {
    pub async fn of(session: &mut Session, set_up: bool) -> Result<Self, Failure> {
        let mut memory = Self {
            tables: ImageTables::default(),
            set_up,
            begun: None,
            seen: Rows::new(),
            truncated: BTreeSet::new(),
        };
        if !set_up {
            return Ok(memory);
        }
        memory.tables = images::known(session).await?;
        if let Some((at, rows)) = images::all(session, ROWS_MAX).await? {
            let mut begun = Rows::new();
            for (table, key, row) in rows {
                // One that is not read is like none: the old values are unknown.
                let image = serde_json::from_str(&row).ok();
                begun.insert((table, key), image);
            }
            memory.begun = Some((begun, at));
        }
        Ok(memory)
    }

    /// The images of rows from before a part; those that are not known stand for none.
    pub async fn before(
        &self,
        session: &Session,
        part: &Part,
        keys: BTreeSet<(TableName, Key)>,
    ) -> Result<Images, Failure> {
        let mut images = Images::default();
        let mut asked = BTreeSet::new();
        for row in keys {
            let known = match (self.seen.get(&row), &self.begun) {
                (Some(seen), _) => seen.clone(),
                (None, _) if self.truncated.contains(&row.0) => None,
                (None, Some((begun, at))) if *at < part.begin.commit_lsn => {
                    begun.get(&row).cloned().flatten()
                }
                (None, None) if self.tables.contains(&row.0) => {
                    asked.insert(row);
                    continue;
                }
                (None, _) => None,
            };
            images.insert(row.0, row.1, known.map_or(Loaded::Absent, Loaded::Known));
        }
        if asked.is_empty() {
            return Ok(images);
        }
        let mut found = Images::default();
        load::rows(session, &self.tables, &asked, &mut found)
            .await
            .map_err(anyhow::Error::from)?;
        // Read afterwards: what it says had come before the images were read, or after.
        let reached = progress::read(session)
            .await?
            .map_or(Lsn::MAX, |p| p.commit_lsn);
        for (table, key) in asked {
            let known = found
                .get(&table, &key)
                .filter(|_| reached < part.begin.commit_lsn);
            let loaded = known.cloned().unwrap_or(Loaded::Absent);
            images.insert(table, key, loaded);
        }
        Ok(images)
    }

    /// Rows that lookups asked for: as they were seen, else as the sidecar has them now.
    pub async fn wanted(
        &self,
        session: &Session,
        wanted: BTreeSet<Wanted>,
        images: &mut Images,
    ) -> Result<(), Failure> {
        let mut asked = BTreeSet::new();
        for Wanted { table, by } in wanted {
            let gone = !self.tables.contains(&table) || self.truncated.contains(&table);
            match by {
                By::Key(key) => match self.seen.get(&(table.clone(), key.clone())) {
                    Some(seen) => {
                        let loaded = seen.clone().map_or(Loaded::Absent, Loaded::Known);
                        images.load(table, key, loaded);
                    }
                    None if gone => images.load(table, key, Loaded::Absent),
                    None => {
                        asked.insert(Wanted {
                            table,
                            by: By::Key(key),
                        });
                    }
                },
                By::Column { column, value } => {
                    let found = self.seen.iter().find_map(|((of, key), image)| {
                        let image = image.as_ref().filter(|_| *of == table)?;
                        let held = image.get(&column).flatten()?;
                        (**held == *value).then(|| (key.clone(), image.clone()))
                    });
                    if found.is_some() || gone {
                        images.load_unique(&table, &column, &value, found);
                    } else {
                        asked.insert(Wanted {
                            table,
                            by: By::Column { column, value },
                        });
                    }
                }
            }
        }
        if !asked.is_empty() {
            // Rows without an image stay unknown: a preview reads no table of the worker's.
            load::wanted(session, &self.tables, &Shapes::default(), asked, images)
                .await
                .map_err(anyhow::Error::from)?;
        }
        Ok(())
    }

    pub fn apply(&mut self, derivation: &Derivation) {
        for table in &derivation.truncated {
            self.seen.retain(|(of, _), _| of != table);
            self.truncated.insert(table.clone());
        }
        for write in &derivation.writes {
            let row = (write.table.clone(), write.key.clone());
            self.seen.insert(row, write.image.clone());
        }
        if self.seen.len() > ROWS_MAX {
            // The images of the beginning are of no use without what came after them.
            self.seen = Rows::new();
            self.begun = match self.set_up {
                true => None,
                false => Some((Rows::new(), Lsn::ZERO)),
            };
        }
    }
}
