//! What the rows of a table are, by its name. Pure.

use activity::TableName;

use crate::words::noun;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nature {
    Project,
    Database,
    Deployment,
}

/// The words for one row of each kind, with how well they fit.
const PROJECTS: &[(&str, i32)] = &[
    ("project", 100),
    ("workspace", 70),
    ("site", 65),
    ("website", 65),
    ("application", 60),
    ("app", 60),
    ("repository", 60),
    ("repo", 60),
    ("service", 50),
    ("store", 45),
    ("shop", 45),
    ("space", 40),
    ("organization", 35),
    ("organisation", 35),
    ("tenant", 35),
    ("team", 30),
];
const DATABASES: &[(&str, i32)] = &[
    ("database", 100),
    ("db", 100),
    ("postgres", 90),
    ("postgresql", 90),
    ("mysql", 90),
    ("mariadb", 90),
    ("mongo", 90),
    ("mongodb", 90),
    ("redis", 90),
    ("clickhouse", 90),
    ("keydb", 90),
    ("dragonfly", 90),
    ("sqlite", 90),
    ("cassandra", 90),
    ("datastore", 80),
];
const DEPLOYMENTS: &[(&str, i32)] = &[
    ("deployment", 100),
    ("deploy", 100),
    ("release", 80),
    ("rollout", 80),
    ("build", 60),
    ("pipeline", 55),
    ("run", 50),
    ("publication", 40),
    ("job", 35),
];
/// Rows that stand for what the word before them names: a deployment queue holds deployments.
const HOLDERS: &[&str] = &[
    "queue", "run", "job", "history", "request", "task", "record",
];

impl Nature {
    /// How well a table's name says that its rows are of this kind; `None` where it does not.
    pub fn fits(self, table: &TableName) -> Option<i32> {
        let noun = noun(&table.name);
        let last = noun.last()?;
        let known = |word: &str| {
            let found = self.words().iter().find(|(known, _)| *known == word);
            found.map(|(_, fit)| *fit)
        };
        let compound = if noun.len() > 1 { 10 } else { 0 };
        if let Some(fit) = known(last) {
            // A projects' repo is no project of its own, but a platform's database is a database.
            let compound = if self == Self::Project {
                2 * compound
            } else {
                compound
            };
            return Some(fit - compound);
        }
        let before = noun.len().checked_sub(2).and_then(|at| noun.get(at))?;
        let held = self == Self::Deployment && HOLDERS.contains(&last.as_str());
        held.then(|| known(before)).flatten().map(|fit| fit - 25)
    }

    pub fn words(self) -> &'static [(&'static str, i32)] {
        match self {
            Self::Project => PROJECTS,
            Self::Database => DATABASES,
            Self::Deployment => DEPLOYMENTS,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Database => "database",
            Self::Deployment => "deployment",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_what_the_last_word_of_its_name_says() {
        let fits = |nature: Nature, name: &str| nature.fits(&TableName::new("s", name));
        for (nature, name) in [
            (Nature::Project, "projects"),
            (Nature::Project, "Project"),
            (Nature::Database, "standalone_postgresqls"),
            (Nature::Database, "project_databases"),
            (Nature::Deployment, "application_deployment_queues"),
            (Nature::Deployment, "workflowRuns"),
        ] {
            assert!(fits(nature, name).is_some(), "{name}");
        }
        for (nature, name) in [
            (Nature::Project, "project_members"),
            (Nature::Project, "project_actions"),
            (Nature::Database, "database_backups"),
            (Nature::Deployment, "deployment_logs"),
        ] {
            assert_eq!(fits(nature, name), None, "{name}");
        }
        assert!(fits(Nature::Project, "projects") > fits(Nature::Project, "project_github_repos"));
    }
}
