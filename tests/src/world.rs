//! What one writer's rows are, and which actions a change of them must give.
//!
//! A model of its own: it knows the sentences, and nothing of rules or images. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::Random;

/// Rows of a kind that a writer plays with at the same time.
const ROWS_MAX: usize = 12;
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// An action that a committed transaction must come to, or one that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub action_type: String,
    pub details: String,
    pub project_id: String,
    pub status: String,
    pub environment: String,
    /// Between which seconds since 1970 it was committed, as far as the worker can tell.
    pub committed: RangeInclusive<i64>,
}

impl Expected {
    /// What tells it from others.
    pub(crate) fn said(&self) -> [&str; 5] {
        [
            &self.action_type,
            &self.details,
            &self.project_id,
            &self.status,
            &self.environment,
        ]
    }
}

/// Of an action whose time nobody has kept.
const EVER: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// A transaction of so many rows, each of which is an action.
pub fn large_transaction(rows: usize) -> (String, Vec<Expected>) {
    let sql = format!(
        "insert into projects (project_id, user_id, name, status) \
         select 'p' || n, 'user', 'Project ' || n, 'active' from generate_series(1, {rows}) n"
    );
    let expected = |n| Expected {
        action_type: "project_created".to_owned(),
        details: format!("Project 'Project {n}' created"),
        project_id: format!("p{n}"),
        status: "success".to_owned(),
        environment: "development".to_owned(),
        committed: EVER,
    };
    (sql, (1..=rows).map(expected).collect())
}

/// The rows of one writer. Writers share no row.
#[derive(Clone, Debug)]
pub(crate) struct World {
    name: String,
    made: u64,
    projects: Vec<Project>,
    databases: Vec<Database>,
    deployments: Vec<Deployment>,
}

/// One transaction: its statements, and what they come to if it commits.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) statements: Vec<String>,
    /// Lines of a COPY into deployments.
    pub(crate) copied: Vec<String>,
    pub(crate) expected: Vec<Expected>,
    /// Rules see what a transaction leaves of a row, so a row is touched once.
    touched: BTreeSet<String>,
}

/// Columns of the lines in [`Plan::copied`].
pub(crate) const COPY: &str = "copy deployments \
    (deployment_id, project_id, kind, repo_url, files_changed, status) from stdin";

#[derive(Clone, Debug)]
struct Project {
    id: String,
    has_container: bool,
    /// Method, path, and the note on the last change.
    endpoints: Vec<(&'static str, String, u64)>,
}

#[derive(Clone, Debug)]
struct Database {
    id: String,
    project: String,
    tables: Vec<String>,
}

#[derive(Clone, Debug)]
struct Deployment {
    id: String,
    project: String,
    in_progress: bool,
}

impl World {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            made: 0,
            projects: Vec::new(),
            databases: Vec::new(),
            deployments: Vec::new(),
        }
    }

    /// Draws a transaction. The world is then as after its commit.
    pub(crate) fn play(&mut self, random: &mut Random) -> Plan {
        let mut plan = Plan::default();
        for _ in 0..=random.below(4) {
            match random.below(11) {
                0 => self.insert_project(random, &mut plan),
                1 => self.give_container(&mut plan),
                2 | 3 => self.change_endpoints(random, &mut plan),
                4 => self.insert_database(random, &mut plan),
                5 => self.add_tables(random, &mut plan),
                6 => self.query(random, &mut plan),
                7 => self.deploy(random, &mut plan),
                8 => self.finish_deployment(random, &mut plan),
                9 => self.push(&mut plan),
                _ => self.copy_pushes(random, &mut plan),
            }
        }
        if random.once_in(6) {
            self.take_back(random, &mut plan);
        }
        self.forget(&mut plan);
        plan
    }

    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{}-{kind}-{}", self.name, self.made)
    }

    fn insert_project(&mut self, random: &mut Random, plan: &mut Plan) {
        let id = self.id("project");
        let mut project = Project {
            id: id.clone(),
            has_container: random.once_in(2),
            endpoints: Vec::new(),
        };
        for _ in 0..random.below(3) {
            self.made += 1;
            project
                .endpoints
                .push((METHODS[random.below(4)], format!("/api/{}", self.made), 0));
        }
        let container = match project.has_container {
            true => format!("'c-{id}'"),
            false => "null".to_owned(),
        };
        plan.statements.push(format!(
            "insert into projects (project_id, user_id, name, container_id, endpoints, status) \
             values ('{id}', 'user', 'Project {id}', {container}, '{}', 'creating')",
            project.json()
        ));
        if project.has_container {
            plan.expect("project_created", created(&id), &id);
        }
        let added: Vec<_> = project
            .endpoints
            .iter()
            .map(|(m, p, _)| format!("{m} {p}"))
            .collect();
        plan.expect_added(&added, &id);
        plan.touched.insert(id);
        self.projects.push(project);
    }

    fn give_container(&mut self, plan: &mut Plan) {
        let free = |p: &&mut Project| !p.has_container && !plan.touched.contains(&p.id);
        let Some(project) = self.projects.iter_mut().find(free) else {
            return;
        };
        project.has_container = true;
        let id = &project.id;
        plan.touched.insert(id.clone());
        plan.statements.push(format!(
            "update projects set container_id = 'c-{id}', status = 'active' where project_id = '{id}'"
        ));
        plan.expect("project_created", created(id), id);
    }

    fn change_endpoints(&mut self, random: &mut Random, plan: &mut Plan) {
        if self.projects.is_empty() {
            return;
        }
        let chosen = random.below(self.projects.len());
        let project = &mut self.projects[chosen];
        if !plan.touched.insert(project.id.clone()) {
            return;
        }
        let mut added = Vec::new();
        for _ in 0..random.below(3) {
            self.made += 1;
            let path = format!("/api/{}", self.made);
            let method = METHODS[random.below(4)];
            added.push(format!("{method} {path}"));
            project.endpoints.push((method, path, 0));
        }
        let before = project.endpoints.len() - added.len();
        plan.expect_added(&added, &project.id);
        if before > 0 && random.once_in(2) {
            self.made += 1;
            let modified = &mut project.endpoints[random.below(before)];
            modified.2 = self.made;
            let details = format!(
                "Modified {} {}: Change {}",
                modified.0, modified.1, modified.2
            );
            plan.expect("endpoints_modified", details, &project.id);
        }
        plan.statements.push(format!(
            "update projects set endpoints = '{}' where project_id = '{}'",
            project.json(),
            project.id
        ));
    }

    fn insert_database(&mut self, random: &mut Random, plan: &mut Plan) {
        let (id, project) = (self.id("database"), self.id("owner"));
        let tables: Vec<_> = (0..random.below(4)).map(|n| format!("t{n}")).collect();
        plan.statements.push(format!(
            "insert into databases (database_id, project_id, name, tables, status) \
             values ('{id}', '{project}', '{id}', '{}', 'ready')",
            json(&tables)
        ));
        let with = match tables.len() {
            0 => String::new(),
            n => format!(
                " with {}: {}",
                count(n, "table", "tables"),
                tables.join(", ")
            ),
        };
        plan.expect(
            "database_created",
            format!("Database '{id}' created{with}"),
            &project,
        );
        plan.touched.insert(id.clone());
        self.databases.push(Database {
            id,
            project,
            tables,
        });
    }

    fn add_tables(&mut self, random: &mut Random, plan: &mut Plan) {
        if self.databases.is_empty() {
            return;
        }
        let chosen = random.below(self.databases.len());
        let database = &mut self.databases[chosen];
        if !plan.touched.insert(database.id.clone()) {
            return;
        }
        let first = database.tables.len();
        let added: Vec<_> = (0..=random.below(3))
            .map(|n| format!("t{}", first + n))
            .collect();
        database.tables.extend(added.iter().cloned());
        plan.statements.push(format!(
            "update databases set tables = '{}' where database_id = '{}'",
            json(&database.tables),
            database.id
        ));
        let tables = count(added.len(), "table", "tables");
        let details = format!("Added {tables} to {}: {}", database.id, added.join(", "));
        plan.expect("tables_added", details, &database.project);
    }

    fn query(&mut self, random: &mut Random, plan: &mut Plan) {
        if self.databases.is_empty() {
            return;
        }
        let database = &self.databases[random.below(self.databases.len())];
        if !plan.touched.insert(database.id.clone()) {
            return;
        }
        self.made += 1;
        let (queries, table) = (1 + random.below(5), format!("q{}", self.made));
        plan.statements.push(format!(
            "update databases set query_count = query_count + {queries}, \
             queried_tables = '[\"{table}\"]' where database_id = '{}'",
            database.id
        ));
        let queries = count(queries, "query", "queries");
        let details = format!("Executed {queries} affecting tables: {table}");
        plan.expect("queries_executed", details, &database.project);
    }

    fn deploy(&mut self, random: &mut Random, plan: &mut Plan) {
        let (id, project) = (self.id("deployment"), self.id("owner"));
        let in_progress = random.once_in(2);
        let status = if in_progress {
            "in_progress"
        } else {
            "pending"
        };
        plan.statements.push(format!(
            "insert into deployments (deployment_id, project_id, platform, status, environment) \
             values ('{id}', '{project}', 'on {id}', '{status}', 'production')"
        ));
        if in_progress {
            let details = format!("Deploying to on {id}");
            plan.expect_of(status, "production", "deployment", details, &project);
        }
        plan.touched.insert(id.clone());
        self.deployments.push(Deployment {
            id,
            project,
            in_progress: true,
        });
    }

    fn finish_deployment(&mut self, random: &mut Random, plan: &mut Plan) {
        let free = |d: &&mut Deployment| d.in_progress && !plan.touched.contains(&d.id);
        let Some(deployment) = self.deployments.iter_mut().find(free) else {
            return;
        };
        deployment.in_progress = false;
        let Deployment { id, project, .. } = deployment;
        plan.touched.insert(id.clone());
        let (status, set, details) = match random.once_in(3) {
            true => (
                "failed",
                "error = 'no room'",
                format!("Deployment to on {id} failed: no room"),
            ),
            false => (
                "success",
                "url = 'https://x.fly.dev'",
                format!("Deployed to on {id}: https://x.fly.dev"),
            ),
        };
        plan.statements.push(format!(
            "update deployments set status = '{status}', {set} where deployment_id = '{id}'"
        ));
        plan.expect_of(status, "production", "deployment", details, project);
    }

    fn push(&mut self, plan: &mut Plan) {
        let (id, project) = (self.id("push"), self.id("owner"));
        plan.statements.push(format!(
            "insert into deployments (deployment_id, project_id, kind, repo_url, files_changed) \
             values ('{id}', '{project}', 'push', 'https://git/{id}', 1)"
        ));
        let details = format!("Pushed 1 file to https://git/{id}");
        plan.expect_of("success", "", "github_push", details, &project);
    }

    fn copy_pushes(&mut self, random: &mut Random, plan: &mut Plan) {
        for files in 2..4 + random.below(20) {
            let (id, project) = (self.id("copied"), self.id("owner"));
            plan.copied.push(format!(
                "{id}\t{project}\tpush\thttps://git/{id}\t{files}\tsuccess\n"
            ));
            let details = format!("Pushed {files} files to https://git/{id}");
            plan.expect_of("success", "", "github_push", details, &project);
        }
    }

    /// A savepoint that is rolled back: its rows never were.
    fn take_back(&mut self, random: &mut Random, plan: &mut Plan) {
        let (mut other, mut never) = (self.clone(), Plan::default());
        other.insert_project(random, &mut never);
        other.push(&mut never);
        // What was drawn for it is not drawn again.
        self.made = other.made;
        plan.statements.push("savepoint back".to_owned());
        plan.statements.append(&mut never.statements);
        plan.statements
            .push("rollback to savepoint back".to_owned());
    }

    /// Deletes what is too much; a delete is no action.
    fn forget(&mut self, plan: &mut Plan) {
        if self.projects.len() > ROWS_MAX && !plan.touched.contains(&self.projects[0].id) {
            let id = self.projects.remove(0).id;
            plan.statements
                .push(format!("delete from projects where project_id = '{id}'"));
        }
        if self.databases.len() > ROWS_MAX && !plan.touched.contains(&self.databases[0].id) {
            let id = self.databases.remove(0).id;
            plan.statements
                .push(format!("delete from databases where database_id = '{id}'"));
        }
        if self.deployments.len() > ROWS_MAX {
            self.deployments.retain(|deployment| deployment.in_progress);
        }
    }
}

impl Plan {
    fn expect(&mut self, action_type: &str, details: String, project_id: &str) {
        self.expect_of("success", "development", action_type, details, project_id);
    }

    /// Of a deployment, which has a status of its own, or of a push, which has no environment.
    fn expect_of(
        &mut self,
        status: &str,
        environment: &str,
        action_type: &str,
        details: String,
        project_id: &str,
    ) {
        self.expected.push(Expected {
            action_type: action_type.to_owned(),
            details,
            project_id: project_id.to_owned(),
            status: status.to_owned(),
            environment: environment.to_owned(),
            committed: EVER,
        });
    }

    fn expect_added(&mut self, added: &[String], project_id: &str) {
        if !added.is_empty() {
            let endpoints = count(added.len(), "endpoint", "endpoints");
            let details = format!("Added {endpoints}: {}", added.join(", "));
            self.expect("endpoints_added", details, project_id);
        }
    }
}

impl Project {
    fn json(&self) -> String {
        let endpoint = |(method, path, change): &(&str, String, u64)| {
            format!(r#"{{"method": "{method}", "path": "{path}", "change": "Change {change}"}}"#)
        };
        let endpoints: Vec<_> = self.endpoints.iter().map(endpoint).collect();
        format!("[{}]", endpoints.join(", "))
    }
}

fn created(id: &str) -> String {
    format!("Project 'Project {id}' created with container c-{id}")
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn json(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
