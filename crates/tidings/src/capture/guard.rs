//! Compares the catalog with what rules and publication need, while the stream runs.
//!
//! Drops and swaps leave no trace in the stream, so they are looked for. What would make the
//! worker's statements fail is taken out of the publication before anything else is done.

mod change;

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use activity::TableName;
use rules::{Rules, Shape, Shapes, TableUse};
use store::attributes;
use store::catalog::{self, Publication, Table};
use store::parts::{self, Known};
use store::released::{self, Released};
use store::setup::{Danger, danger, shortcoming};
use store::{Session, quote_identifier};

use self::change::Change;
use super::Fault;
use super::renamed::Oids;
use crate::failure::chain;

/// What the catalog must keep saying as long as a session lives.
#[derive(Debug)]
pub struct Guard {
    publication: String,
    publication_oid: u32,
    version: u32,
    /// What rules need of each table.
    used: Vec<TableUse>,
    tables: Vec<TableName>,
    pub shapes: Shapes,
    pub oids: Oids,
    /// Columns that rules name and tables lack, of which the log has been told.
    told: Mutex<BTreeSet<(TableName, String)>>,
}

/// The catalog at one moment.
struct Seen {
    publication: Publication,
    /// Those that rules use and those that are published, as far as they exist.
    tables: HashMap<TableName, Table>,
    /// Those that rules use and that are called otherwise now.
    renamed: HashMap<TableName, TableName>,
    /// Columns that were let go of for a migration of the worker's.
    released: Released,
    /// What tables and their partitions were when they were last looked at.
    known: HashMap<TableName, Known>,
}

impl Seen {
    /// Whether the name is that of another table than the images are of.
    fn is_swapped(&self, table: &TableName) -> bool {
        let before = self.known.get(table).and_then(|known| known.oid);
        let now = self.tables.get(table).map(|found| found.oid);
        matches!((before, now), (Some(before), Some(now)) if before != now)
    }
}

impl Guard {
    /// Reads keys and publication. An error names what is missing and what mends it.
    pub async fn establish(
        session: &Session,
        rules: &Rules,
        publication: &str,
        version: u32,
    ) -> Result<Self, Fault> {
        let used: Vec<TableUse> = rules.tables().cloned().collect();
        let tables = used.iter().map(|used| used.table.clone()).collect();
        let mut guard = Self {
            publication: publication.to_owned(),
            publication_oid: 0,
            version,
            used,
            tables,
            shapes: Shapes::default(),
            oids: Oids::default(),
            told: Mutex::default(),
        };
        let seen = guard.look(session).await?;
        guard.protect(session, &seen).await?;
        guard.note_unpublished(session, &seen).await?;
        guard.note_parts(session, &seen).await?;
        guard.published(&seen)?;
        guard.publication_oid = seen.publication.oid;
        guard.shapes = guard.shapes(&seen)?;
        guard.oids = guard.oids(&seen);
        guard.tell_missing_columns(&seen);
        Ok(guard)
    }

    pub fn publication_oid(&self) -> u32 {
        self.publication_oid
    }

    pub fn tables(&self) -> &[TableName] {
        &self.tables
    }

    /// Whether everything is as it was.
    pub async fn check(&self, session: &Session) -> Result<(), Fault> {
        let seen = self.look(session).await?;
        self.protect(session, &seen).await?;
        self.note_unpublished(session, &seen).await?;
        if let Some(table) = self.note_parts(session, &seen).await? {
            return Err(Fault::Passing(format!(
                "partitions of table {table} were attached, detached or dropped: it is compared with its images, \
                 since their rows are in no stream"
            )));
        }
        let oid = seen.publication.oid;
        if oid != self.publication_oid {
            return Err(Fault::Passing(format!(
                "publication {} has OID {oid} now, it was {}",
                self.publication, self.publication_oid
            )));
        }
        self.options(&seen.publication)?;
        self.published(&seen)?;
        if let Some(table) = self.tables.iter().find(|table| seen.is_swapped(table)) {
            return Err(Fault::Passing(format!(
                "table {table} was swapped: another table has its name now, and is compared with its images"
            )));
        }
        let shapes = self.shapes(&seen)?;
        let is_other = |table: &&TableName| shapes.get(table) != self.shapes.get(table);
        if let Some(table) = self.tables.iter().find(is_other) {
            return Err(Fault::Passing(format!(
                "the key of table {table} has changed, or the type of a column of it: it is read anew under that"
            )));
        }
        self.tell_missing_columns(&seen);
        Ok(())
    }

    /// A table arrives under another name than rules know. Either it was written before the table got
    /// that name, or it has lost it since: then nothing can be made of its rows. The catalog must show
    /// what the transaction did that they are of.
    pub async fn meet(
        &self,
        session: &Session,
        known: &TableName,
        told: &TableName,
    ) -> Result<(), Fault> {
        let tables = catalog::tables(session, std::slice::from_ref(known)).await?;
        match tables.get(known) {
            Some(table) if self.oids.get(&table.oid) == Some(known) => Ok(()),
            Some(_) => Err(Fault::Operator(format!(
                "table {known} was swapped: another table has its name now, and what it was is called {told}. \
                 Run `tidings setup`, which publishes the one that has the name; it is compared with images"
            ))),
            None => Err(Fault::Operator(renamed(known, told))),
        }
    }

    fn oids(&self, seen: &Seen) -> Oids {
        let tables = self.tables.iter();
        tables
            .filter_map(|table| Some((seen.tables.get(table)?.oid, table.clone())))
            .collect()
    }

    async fn look(&self, session: &Session) -> Result<Seen, Fault> {
        let name = &self.publication;
        let Some(publication) = catalog::publication(session, self.version, name).await? else {
            return Err(Fault::Operator(format!(
                "publication {name} does not exist: it was dropped. `tidings setup` makes it anew, and capture \
                 goes on by itself; of what is committed until then only final states are found"
            )));
        };
        let published = publication.tables.iter().map(|p| &p.table);
        let names: BTreeSet<&TableName> = self.tables.iter().chain(published).collect();
        let names: Vec<TableName> = names.into_iter().cloned().collect();
        let tables = catalog::tables(session, &names).await?;
        let missing = self
            .tables
            .iter()
            .filter(|table| !tables.contains_key(*table));
        let missing: Vec<&TableName> = missing.collect();
        let renamed = match missing.is_empty() {
            true => HashMap::new(),
            false => attributes::called_now(session, &missing).await?,
        };
        Ok(Seen {
            publication,
            tables,
            renamed,
            released: released::released(session).await?,
            known: parts::known(session).await?,
        })
    }

    /// Takes tables whose updates would fail out of the publication.
    async fn protect(&self, session: &Session, seen: &Seen) -> Result<(), Fault> {
        let dangerous: Vec<(&TableName, Danger)> = seen
            .publication
            .tables
            .iter()
            .filter_map(|p| Some((&p.table, danger(seen.tables.get(&p.table)?, p)?)))
            .collect();
        if dangerous.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = dangerous.iter().map(|(t, _)| format!("only {t}")).collect();
        let drop = format!(
            "alter publication {} drop table {}",
            quote_identifier(&self.publication),
            names.join(", ")
        );
        let dropped = session.batch_execute(&drop).await;
        let reasons: Vec<String> = dangerous
            .iter()
            .map(|(_, danger)| {
                format!(
                    "{}, so its UPDATEs would fail. {}",
                    danger.what, danger.mend
                )
            })
            .collect();
        let reasons = reasons.join("; ");
        match dropped.map_err(store::Error::from) {
            Ok(())
                if dangerous
                    .iter()
                    .any(|(table, _)| self.tables.contains(table)) =>
            {
                for (table, _) in &dangerous {
                    store::reconcile::unobserved(session, table).await?;
                }
                Err(Fault::Operator(format!(
                    "{reasons}. Until then it is out of publication {}, and its changes are not \
                     observed. Run `tidings setup` after that",
                    self.publication
                )))
            }
            Ok(()) => {
                tracing::warn!("{reasons}. No rule names it: it is out of the publication");
                Ok(())
            }
            // A lock: the worker is altering the table at this moment.
            Err(error) if error.remedy() == store::Remedy::Again => Err(error.into()),
            Err(error) => Err(Fault::Operator(format!(
                "{reasons}. It can not be taken out of the publication ({}): run `{drop};` as the owner \
                 of the publication",
                chain(&error)
            ))),
        }
    }

    /// What changes in a table while it is out of the publication is found by comparing it afterwards.
    async fn note_unpublished(&self, session: &Session, seen: &Seen) -> Result<(), Fault> {
        let hides = shortcoming(&seen.publication).is_some();
        let out = |table: &&TableName| match seen.publication.find(table) {
            Some(published) => hides || published.filter.is_some() || seen.is_swapped(table),
            None => true,
        };
        for table in self.tables.iter().filter(out) {
            store::reconcile::unobserved(session, table).await?;
        }
        Ok(())
    }

    /// Rows that come and go with a partition are in no stream: their table is compared with its images, from the
    /// next session on. Returns such a table.
    async fn note_parts(
        &self,
        session: &Session,
        seen: &Seen,
    ) -> Result<Option<&TableName>, Fault> {
        let mut compared = None;
        for table in &self.tables {
            let (Some(found), Some(known)) = (seen.tables.get(table), seen.known.get(table)) else {
                continue;
            };
            let change = Change::between(known.parts.as_deref(), &found.parts);
            if change.is_none() {
                continue;
            }
            if !change.gone.is_empty() || !parts::are_empty(session, &change.come).await {
                store::reconcile::unobserved(session, table).await?;
                tracing::warn!(
                    %table, partitions.gone = change.gone.len(), partitions.come = change.come.len(),
                    "partitions were attached, detached or dropped"
                );
                compared = Some(table);
            }
            parts::remember(session, table, &found.parts).await?;
        }
        Ok(compared)
    }

    /// Whether the publication sends everything, and is ours to take a table out of.
    fn options(&self, publication: &Publication) -> Result<(), Fault> {
        let problem = match (shortcoming(publication), publication.owned) {
            (Some(shortcoming), _) => shortcoming.to_owned(),
            (None, true) => return Ok(()),
            (None, false) => format!(
                "belongs to role {}, so no table could be taken out of it to protect the worker",
                publication.owner
            ),
        };
        Err(Fault::Operator(format!(
            "publication {} {problem}: run `tidings setup`",
            self.publication
        )))
    }

    /// Whether the tables and columns that rules use are published, every row of them.
    fn published(&self, seen: &Seen) -> Result<(), Fault> {
        let name = &self.publication;
        for TableUse { table, columns, .. } in &self.used {
            let Some(known) = seen.tables.get(table) else {
                if let Some(now) = seen.renamed.get(table) {
                    return Err(Fault::Operator(renamed(table, now)));
                }
                return Err(Fault::Operator(format!(
                    "table {table} does not exist, but a rule names it: create it, or change \
                     capture.rules, and run `tidings setup`"
                )));
            };
            let released = seen.released.get(table);
            let is_released = |c: &String| released.is_some_and(|columns| columns.contains(c));
            let problem = match seen.publication.find(table) {
                None => unpublished(table, known, name, seen.is_swapped(table)),
                Some(published) if published.filter.is_some() => {
                    format!("publication {name} has a row filter for table {table}")
                }
                // Of columns that the table lacks, the rules will say so.
                Some(published) => match published.columns.as_ref().and_then(|list| {
                    columns
                        .iter()
                        .find(|c| known.columns.contains(c) && !list.contains(c) && !is_released(c))
                }) {
                    None => continue,
                    Some(column) => {
                        format!("column {column} of table {table} is not in publication {name}")
                    }
                },
            };
            let text = format!("{problem}, but a rule names it: run `tidings setup`");
            return Err(Fault::Operator(text));
        }
        Ok(())
    }

    fn shapes(&self, seen: &Seen) -> Result<Shapes, Fault> {
        shapes(&self.used, &seen.tables)
    }

    /// Rules that name such a column set its changes aside; the others go on.
    fn tell_missing_columns(&self, seen: &Seen) {
        let mut told = self.told.lock().expect("no holder panics");
        for TableUse { table, columns, .. } in &self.used {
            let Some(known) = seen.tables.get(table) else {
                continue;
            };
            for column in columns.iter().filter(|c| !known.columns.contains(c)) {
                if told.insert((table.clone(), column.clone())) {
                    tracing::warn!(
                        %table, column,
                        "a rule names a column that its table does not have: its changes go to quarantine"
                    );
                }
            }
            let released = seen.released.get(table).into_iter().flatten();
            for column in released.filter(|c| columns.contains(*c)) {
                if told.insert((table.clone(), column.clone())) {
                    tracing::warn!(
                        %table, column,
                        "a column that a rule names is released for a migration: its changes go to \
                         quarantine until `tidings setup` lists it again"
                    );
                }
            }
        }
    }
}

/// What the stream does not tell of the tables that rules use.
pub fn shapes(used: &[TableUse], tables: &HashMap<TableName, Table>) -> Result<Shapes, Fault> {
    let mut shapes = Shapes::default();
    for TableUse { table, columns, .. } in used {
        match tables.get(table) {
            Some(known) if !known.key.is_empty() => {
                let types = known.columns.iter().zip(&known.types);
                let types = types.filter(|(column, _)| columns.contains(*column));
                let shape = Shape {
                    key: known.key.clone(),
                    types: types.map(|(column, oid)| (column.clone(), *oid)).collect(),
                };
                shapes.insert(table.clone(), shape)
            }
            _ => {
                return Err(Fault::Operator(format!(
                    "table {table} has no primary key any more to tell its rows apart: run \
                         `alter table {table} add primary key (…);`"
                )));
            }
        };
    }
    Ok(shapes)
}

/// How to say that a table has another name than rules know.
fn renamed(known: &TableName, now: &TableName) -> String {
    format!(
        "table {known}, which a rule names, is now called {now}: name it so in the pack or in \
         capture.rules and reload (SIGHUP), or rename it back. Nothing past this point is confirmed"
    )
}

/// How to say that a table is not published, with what stands in the way of publishing it.
fn unpublished(table: &TableName, known: &Table, publication: &str, swapped: bool) -> String {
    let whole = catalog::Published {
        table: table.clone(),
        columns: None,
        filter: None,
    };
    let swap = match swapped {
        true => format!("table {table} was swapped: another table has its name now. "),
        false => String::new(),
    };
    let text = format!("{swap}table {table} is not in publication {publication}");
    match danger(known, &whole) {
        None => text,
        Some(danger) => format!("{}. {} Until then {text}", danger.what, danger.mend),
    }
}
