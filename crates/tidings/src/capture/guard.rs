//! Compares the catalog with what rules and publication need, while the stream runs.
//!
//! Drops and swaps leave no trace in the stream, so they are looked for.

use activity::TableName;
use rules::{Keys, Rules, TableUse};
use store::{Session, catalog};

use super::Fault;

/// What the catalog must keep saying as long as a session lives.
#[derive(Debug)]
pub struct Guard {
    publication: String,
    publication_oid: u32,
    version: u32,
    /// What rules need of each table.
    used: Vec<TableUse>,
    tables: Vec<TableName>,
    pub keys: Keys,
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
            keys: Keys::default(),
        };
        guard.publication_oid = guard.publication(session).await?;
        guard.keys = guard.keys(session).await?;
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
        let oid = self.publication(session).await?;
        if oid != self.publication_oid {
            return Err(Fault::Passing(format!(
                "publication {} has OID {oid} now, it was {}",
                self.publication, self.publication_oid
            )));
        }
        if self.keys(session).await? != self.keys {
            return Err(Fault::Passing("the key of a table has changed".to_owned()));
        }
        Ok(())
    }

    async fn publication(&self, session: &Session) -> Result<u32, Fault> {
        let name = &self.publication;
        let Some(found) = catalog::publication(session, self.version, name).await? else {
            return Err(Fault::Operator(format!(
                "publication {name} does not exist: it was dropped. `tidings setup --new-slot` makes it \
                 anew and goes on from now; what is committed until then is not observed"
            )));
        };
        for used in &self.used {
            let table = &used.table;
            let published = found.tables.iter().find(|(name, _)| name == table);
            let missing = match published {
                None => format!("table {table} is not in publication {name}"),
                Some((_, None)) => continue,
                Some((_, Some(list))) => match used.columns.iter().find(|c| !list.contains(c)) {
                    None => continue,
                    Some(column) => {
                        format!("column {column} of table {table} is not in publication {name}")
                    }
                },
            };
            let text = format!("{missing}, but a rule names it: run `tidings setup`");
            return Err(Fault::Operator(text));
        }
        Ok(found.oid)
    }

    async fn keys(&self, session: &Session) -> Result<Keys, Fault> {
        let found = catalog::tables(session, &self.tables).await?;
        let mut keys = Keys::default();
        for table in &self.tables {
            let Some(known) = found.get(table) else {
                return Err(Fault::Operator(format!(
                    "table {table} does not exist, but a rule names it: create it, or change \
                     capture.rules, and run `tidings setup`"
                )));
            };
            if known.key.is_empty() {
                return Err(Fault::Operator(format!(
                    "table {table} has no primary key any more: UPDATE and DELETE on it fail as long as it \
                     is published. Run `alter table {table} add primary key (…)`, or \
                     `alter publication {} drop table {table}`",
                    self.publication
                )));
            }
            keys.insert(table.clone(), known.key.clone());
        }
        Ok(keys)
    }
}
