//! Which tables are projects, databases and deployments. Pure.

use activity::TableName;
use store::catalog::{Survey, SurveyedTable};

use super::nature::Nature;
use super::path::Ways;
use super::role::Columns;

/// As many tables of databases get a rule; a platform has one for each kind.
const DATABASES_MAX: usize = 12;

pub struct Found<'a> {
    pub survey: &'a Survey,
    pub ways: Ways,
    pub project: Option<&'a TableName>,
    pub databases: Vec<&'a TableName>,
    pub deployment: Option<&'a TableName>,
    /// Those that were not chosen, best first.
    pub others: Vec<(Nature, &'a TableName)>,
    /// Those that no rule can follow, since nothing tells their rows apart.
    pub keyless: Vec<(Nature, &'a TableName)>,
}

impl<'a> Found<'a> {
    pub fn of(survey: &'a Survey, except: &TableName) -> Self {
        let mut found = Self {
            survey,
            ways: Ways::of(survey),
            project: None,
            databases: Vec::new(),
            deployment: None,
            others: Vec::new(),
            keyless: Vec::new(),
        };
        let projects = found.ranked(Nature::Project, except);
        found.project = found.choose(Nature::Project, &projects);
        let mut databases = found.ranked(Nature::Database, except);
        databases.retain(|name| Some(*name) != found.project);
        // Other schemas hold other systems' databases.
        if let Some(home) = found.project.or(databases.first().copied()) {
            databases.retain(|name| name.schema == home.schema || found.reaches(name));
        }
        for (place, name) in databases.into_iter().enumerate() {
            if place < DATABASES_MAX {
                found.databases.push(name);
            } else {
                found.others.push((Nature::Database, name));
            }
        }
        let deployments = found.ranked(Nature::Deployment, except);
        found.deployment = found.choose(Nature::Deployment, &deployments);
        found
    }

    pub fn is_empty(&self) -> bool {
        self.project.is_none() && self.databases.is_empty() && self.deployment.is_none()
    }

    pub fn columns(&self, name: &'a TableName) -> Option<Columns<'a>> {
        let table = self.survey.get(name)?;
        Some(Columns { name, table })
    }

    /// A table's name in the pack: its own, unless another schema has a table of that name.
    pub fn alias(&self, table: &TableName) -> String {
        // Quotes and the like would have to be written as escapes wherever the table is named.
        let plain = |name: &str| name.replace(['\'', '"', '\\'], "_");
        let alias = plain(&table.name);
        match self
            .survey
            .keys()
            .filter(|known| plain(&known.name) == alias)
            .count()
        {
            0 | 1 => alias,
            _ => format!("{}_{alias}", plain(&table.schema)),
        }
    }

    fn reaches(&self, name: &TableName) -> bool {
        self.project
            .is_some_and(|project| self.ways.find(name, project).is_some())
    }

    fn choose(&mut self, nature: Nature, ranked: &[&'a TableName]) -> Option<&'a TableName> {
        let (first, others) = ranked.split_first()?;
        self.others
            .extend(others.iter().map(|name| (nature, *name)));
        Some(first)
    }

    /// Best first; those without a key are set aside.
    fn ranked(&mut self, nature: Nature, except: &TableName) -> Vec<&'a TableName> {
        let mut ranked = Vec::new();
        for (name, table) in self.survey.iter().filter(|(name, _)| *name != except) {
            let Some(fit) = nature.fits(name) else {
                continue;
            };
            if table.unidentified || table.key.is_empty() || !fits_key(nature, table) {
                self.keyless.push((nature, name));
                continue;
            }
            let columns = Columns { name, table };
            let extra = match nature {
                Nature::Project => {
                    let named = if columns.name().is_some() { 10 } else { 0 };
                    named + i32::try_from(self.ways.leading_to(name).min(10)).unwrap_or(10)
                }
                Nature::Database | Nature::Deployment => {
                    let told = nature == Nature::Deployment && columns.status().is_some();
                    let near = self
                        .project
                        .is_some_and(|project| project.schema == name.schema);
                    i32::from(told) * 10 + i32::from(near) * 10 + i32::from(self.reaches(name)) * 30
                }
            };
            ranked.push((fit + extra, name));
        }
        // Of equals the first by name, so that a draft is the same every time.
        ranked.sort_by_key(|(fit, name)| (std::cmp::Reverse(*fit), *name));
        ranked.into_iter().map(|(_, name)| name).collect()
    }
}

/// A project is told by one value, and a rule must be able to name every column of a key.
fn fits_key(nature: Nature, table: &SurveyedTable) -> bool {
    let named = |key: &String| !key.contains(['\'', '"', '\\']);
    (nature != Nature::Project || table.key.len() == 1) && table.key.iter().all(named)
}
