//! One project of the worker: its rows as the worker knows them, and what it does to them.

use std::collections::VecDeque;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::scene::{End, Scene, Statement, Value};
use super::sql;
use crate::commands::demo::sentence::Sentence;

/// How many scenes a project has after its opening.
const LATER_SCENES: usize = 40;
const USERS: [&str; 4] = ["ada", "grace", "linus", "margaret"];
const PLATFORMS: [(&str, &str); 3] = [
    ("fly.io", "fly.dev"),
    ("render.com", "onrender.com"),
    ("railway.com", "up.railway.app"),
];
const TABLES: [&str; 10] = [
    "users", "posts", "comments", "orders", "payments", "tags", "invoices", "sessions", "teams",
    "files",
];
const ENDPOINTS: [(&str, &str); 10] = [
    ("GET", "/api/users"),
    ("POST", "/api/users"),
    ("GET", "/api/orders"),
    ("POST", "/api/orders"),
    ("GET", "/api/search"),
    ("DELETE", "/api/users"),
    ("PUT", "/api/profile"),
    ("GET", "/api/health"),
    ("PATCH", "/api/orders"),
    ("GET", "/api/export"),
];
const MODIFICATIONS: [&str; 4] = [
    "Added pagination",
    "Requires a token",
    "Answers 404 for what is gone",
    "Faster by an index",
];
const FAULTS: [&str; 3] = [
    "health check timed out",
    "image not found",
    "out of memory in build step 4",
];

pub struct Project {
    id: String,
    database_id: String,
    name: String,
    user: &'static str,
    environment: &'static str,
    platform: (&'static str, &'static str),
    /// How many of [`ENDPOINTS`] it has, and how often each was modified.
    endpoints: Vec<usize>,
    /// How many of [`TABLES`] its database has.
    tables: usize,
    /// Deployments and pushes so far; requests so far.
    deployments: usize,
    requests: usize,
    planned: VecDeque<Act>,
    later: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Create,
    Activate,
    CreateDatabase,
    AddEndpoints,
    ModifyEndpoint,
    AddTables,
    Query,
    RequestDeployment,
    BeginDeployment,
    FinishDeployment,
    FailDeployment,
    Push,
    /// Endpoints, a table and queries in one transaction.
    Feature,
    /// A push and queries that are rolled back.
    Regret,
    /// An update of a column that no rule names.
    Touch,
}

/// What a project does once it is up, each as often as it stands here.
const LATER: [Act; 17] = [
    Act::Query,
    Act::Query,
    Act::Query,
    Act::Query,
    Act::Push,
    Act::Push,
    Act::RequestDeployment,
    Act::RequestDeployment,
    Act::AddEndpoints,
    Act::ModifyEndpoint,
    Act::ModifyEndpoint,
    Act::ModifyEndpoint,
    Act::AddTables,
    Act::Feature,
    Act::Feature,
    Act::Regret,
    Act::Touch,
];

impl Project {
    pub fn new(number: usize, name: String, random: &mut StdRng) -> Self {
        let mut planned = VecDeque::from([
            Act::Create,
            Act::Activate,
            Act::CreateDatabase,
            Act::AddEndpoints,
        ]);
        if number == 1 {
            planned.extend([
                Act::Query,
                Act::RequestDeployment,
                Act::BeginDeployment,
                Act::FinishDeployment,
                Act::Push,
                Act::ModifyEndpoint,
                Act::AddTables,
                Act::Regret,
                Act::Touch,
                Act::Feature,
            ]);
        }
        Self {
            id: format!("p_{number}"),
            database_id: format!("db_{number}"),
            name,
            user: pick(&USERS, random),
            environment: if number % 3 == 0 { "staging" } else { "development" },
            platform: pick(&PLATFORMS, random),
            endpoints: Vec::new(),
            tables: 0,
            deployments: 0,
            requests: 0,
            planned,
            later: LATER_SCENES,
        }
    }

    pub fn is_over(&self) -> bool {
        self.planned.is_empty() && self.later == 0
    }

    /// The project's next transaction.
    pub fn act(&mut self, random: &mut StdRng) -> Scene {
        self.requests += 1;
        let act = match self.planned.pop_front() {
            Some(act) => act,
            None => {
                self.later = self.later.saturating_sub(1);
                self.choose(random)
            }
        };
        match act {
            Act::Create => self.create(),
            Act::Activate => self.activate(random),
            Act::CreateDatabase => self.create_database(random),
            Act::AddEndpoints => self.add_endpoints(random),
            Act::ModifyEndpoint => self.modify_endpoint(random),
            Act::AddTables => self.add_tables(random),
            Act::Query => self.query(random),
            Act::RequestDeployment => self.request_deployment(random),
            Act::BeginDeployment => self.begin_deployment(),
            Act::FinishDeployment => self.finish_deployment(),
            Act::FailDeployment => self.fail_deployment(random),
            Act::Push => self.push(random),
            Act::Feature => self.feature(random),
            Act::Regret => self.regret(random),
            Act::Touch => self.touch(),
        }
    }

    fn choose(&self, random: &mut StdRng) -> Act {
        let act = pick(&LATER, random);
        let grown = self.endpoints.len() + 2 > ENDPOINTS.len();
        match act {
            Act::AddEndpoints | Act::Feature if grown => Act::ModifyEndpoint,
            Act::AddTables | Act::Feature if self.tables + 2 > TABLES.len() => Act::Query,
            act => act,
        }
    }

    fn create(&mut self) -> Scene {
        let values = values([
            (&self.id).into(),
            self.user.into(),
            self.request(),
            (&self.name).into(),
            self.environment.into(),
        ]);
        let words = format!("insert projects '{}' (creating)", self.name);
        scene(words, [statement(sql::CREATE_PROJECT, values)], [])
    }

    fn activate(&mut self, random: &mut StdRng) -> Scene {
        let container = format!("c_{:04x}", random.random::<u16>());
        let name = &self.name;
        let values = values([(&self.id).into(), self.request(), (&container).into()]);
        let said = format!("Project '{name}' created with container {container}");
        scene(
            format!("update projects '{name}' (active, container {container})"),
            [statement(sql::ACTIVATE_PROJECT, values)],
            [self.say("project_created", said)],
        )
    }

    fn create_database(&mut self, random: &mut StdRng) -> Scene {
        self.tables = random.random_range(1..=3);
        let name = self.database_name();
        let tables = &TABLES[..self.tables];
        let values = values([
            (&self.database_id).into(),
            (&self.id).into(),
            self.user.into(),
            self.request(),
            (&name).into(),
            json!(tables).into(),
            self.environment.into(),
        ]);
        let counted = count(tables.len(), "table", "tables");
        let said = format!("Database '{name}' created with {counted}: {}", tables.join(", "));
        scene(
            format!("insert databases '{name}' ({counted})"),
            [statement(sql::CREATE_DATABASE, values)],
            [self.say("database_created", said)],
        )
    }

    fn add_endpoints(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said, counted) = self.added_endpoints(random);
        let words = format!("update projects '{}' (+{counted})", self.name);
        scene(words, [statement], [said])
    }

    fn added_endpoints(&mut self, random: &mut StdRng) -> (Statement, Sentence, String) {
        let before = self.endpoints.len();
        let added = random.random_range(1..=2);
        self.endpoints.resize(before + added, 0);
        let names: Vec<String> = ENDPOINTS[before..before + added]
            .iter()
            .map(|(method, path)| format!("{method} {path}"))
            .collect();
        let counted = count(added, "endpoint", "endpoints");
        let said = format!("Added {counted}: {}", names.join(", "));
        let said = self.say("endpoints_added", said);
        (self.set_endpoints(), said, counted)
    }

    fn modify_endpoint(&mut self, random: &mut StdRng) -> Scene {
        let which = random.random_range(0..self.endpoints.len());
        self.endpoints[which] += 1;
        let (method, path) = ENDPOINTS[which];
        let change = modification(self.endpoints[which]);
        let said = format!("Modified {method} {path}: {change}");
        scene(
            format!("update projects '{}' (endpoint {method} {path})", self.name),
            [self.set_endpoints()],
            [self.say("endpoints_modified", said)],
        )
    }

    fn set_endpoints(&self) -> Statement {
        let endpoint = |(place, modified): (usize, &usize)| {
            let (method, path) = ENDPOINTS[place];
            match modified {
                0 => json!({"method": method, "path": path}),
                n => json!({"method": method, "path": path, "change": modification(*n)}),
            }
        };
        let endpoints: Vec<_> = self.endpoints.iter().enumerate().map(endpoint).collect();
        let values = values([(&self.id).into(), self.request(), json!(endpoints).into()]);
        statement(sql::SET_ENDPOINTS, values)
    }

    fn add_tables(&mut self, random: &mut StdRng) -> Scene {
        let added = random.random_range(1..=2);
        let (statement, said) = self.added_tables(added);
        let counted = count(added, "table", "tables");
        let words = format!("update databases '{}' (+{counted})", self.database_name());
        scene(words, [statement], [said])
    }

    fn added_tables(&mut self, added: usize) -> (Statement, Sentence) {
        let names = &TABLES[self.tables..self.tables + added];
        self.tables += added;
        let said = format!(
            "Added {} to {}: {}",
            count(added, "table", "tables"),
            self.database_name(),
            names.join(", "),
        );
        let values = values([
            (&self.database_id).into(),
            self.request(),
            json!(TABLES[..self.tables]).into(),
        ]);
        (statement(sql::SET_TABLES, values), self.say("tables_added", said))
    }

    fn query(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said, counted) = self.queried(random);
        let words = format!("update databases '{}' (+{counted})", self.database_name());
        scene(words, [statement], [said])
    }

    fn queried(&self, random: &mut StdRng) -> (Statement, Sentence, String) {
        let queries: i32 = random.random_range(1..=9);
        let first = random.random_range(0..self.tables);
        let tables = &TABLES[first..self.tables.min(first + 2)];
        let counted = match queries {
            1 => "1 query".to_owned(),
            n => format!("{n} queries"),
        };
        let said = format!("Executed {counted} affecting tables: {}", tables.join(", "));
        let values = values([
            (&self.database_id).into(),
            self.request(),
            queries.into(),
            json!(tables).into(),
        ]);
        let said = self.say("queries_executed", said);
        (statement(sql::COUNT_QUERIES, values), said, counted)
    }

    fn request_deployment(&mut self, random: &mut StdRng) -> Scene {
        self.deployments += 1;
        let fails = self.deployments > 1 && random.random_bool(0.35);
        // What was planned comes after: a deployment is seen through.
        if self.planned.front() != Some(&Act::BeginDeployment) {
            let end = if fails { Act::FailDeployment } else { Act::FinishDeployment };
            self.planned.push_front(end);
            self.planned.push_front(Act::BeginDeployment);
        }
        let values = values([
            (&self.deployment_id()).into(),
            (&self.id).into(),
            self.user.into(),
            self.request(),
            self.platform.0.into(),
        ]);
        let words = format!("insert deployments {} (pending)", self.deployment_id());
        scene(words, [statement(sql::REQUEST_DEPLOYMENT, values)], [])
    }

    fn begin_deployment(&mut self) -> Scene {
        let id = self.deployment_id();
        let said = format!("Deploying to {}", self.platform.0);
        let said = self.say("deployment", said).with("in_progress", "production");
        let values = values([(&id).into()]);
        let words = format!("update deployments {id} (in_progress)");
        scene(words, [statement(sql::BEGIN_DEPLOYMENT, values)], [said])
    }

    fn finish_deployment(&mut self) -> Scene {
        let id = self.deployment_id();
        let (platform, domain) = self.platform;
        let url = format!("https://{}.{domain}", self.name);
        let said = format!("Deployed to {platform}: {url}");
        let said = self.say("deployment", said).with("success", "production");
        let values = values([(&id).into(), (&url).into()]);
        let words = format!("update deployments {id} (success)");
        scene(words, [statement(sql::FINISH_DEPLOYMENT, values)], [said])
    }

    fn fail_deployment(&mut self, random: &mut StdRng) -> Scene {
        let id = self.deployment_id();
        let fault = pick(&FAULTS, random);
        let said = format!("Deployment to {} failed: {fault}", self.platform.0);
        let said = self.say("deployment", said).with("failed", "production");
        let values = values([(&id).into(), fault.into()]);
        let words = format!("update deployments {id} (failed)");
        scene(words, [statement(sql::FAIL_DEPLOYMENT, values)], [said])
    }

    fn push(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said) = self.pushed(random);
        let words = format!("insert deployments {} (push)", self.deployment_id());
        scene(words, [statement], [said])
    }

    fn pushed(&mut self, random: &mut StdRng) -> (Statement, Sentence) {
        self.deployments += 1;
        let files: u8 = random.random_range(1..=12);
        let repository = format!("https://github.com/acme/{}", self.name);
        let counted = count(files.into(), "file", "files");
        let said = format!("Pushed {counted} to {repository}");
        let values = values([
            (&self.deployment_id()).into(),
            (&self.id).into(),
            self.user.into(),
            self.request(),
            (&repository).into(),
            i32::from(files).into(),
            self.environment.into(),
        ]);
        (statement(sql::PUSH, values), self.say("github_push", said))
    }

    fn feature(&mut self, random: &mut StdRng) -> Scene {
        let (endpoints, added_endpoints, _) = self.added_endpoints(random);
        let (tables, added_tables) = self.added_tables(1);
        let (queries, queried, _) = self.queried(random);
        scene(
            format!("update projects '{}', update databases (3 statements)", self.name),
            [endpoints, tables, queries],
            [added_endpoints, added_tables, queried],
        )
    }

    fn regret(&mut self, random: &mut StdRng) -> Scene {
        let (push, _) = self.pushed(random);
        let (queries, _, _) = self.queried(random);
        let words = format!("insert deployments {}, update databases", self.deployment_id());
        Scene {
            end: End::Rollback,
            ..scene(words, [push, queries], [])
        }
    }

    fn touch(&self) -> Scene {
        let words = format!("update projects '{}' (updated_at: no rule names it)", self.name);
        scene(words, [statement(sql::TOUCH_PROJECT, values([(&self.id).into()]))], [])
    }

    fn say(&self, action_type: &str, details: String) -> Sentence {
        Sentence {
            project_id: self.id.clone(),
            action_type: action_type.to_owned(),
            details,
            status: "success".to_owned(),
            environment: self.environment.to_owned(),
        }
    }

    fn database_name(&self) -> String {
        format!("{}_db", self.name.replace('-', "_"))
    }

    fn deployment_id(&self) -> String {
        format!("{}_d{}", self.id, self.deployments)
    }

    fn request(&self) -> Value {
        Value::Text(format!("req_{}_{}", self.id, self.requests))
    }
}

impl Sentence {
    fn with(self, status: &str, environment: &str) -> Self {
        Self {
            status: status.to_owned(),
            environment: environment.to_owned(),
            ..self
        }
    }
}

fn scene<const S: usize, const E: usize>(
    words: String,
    statements: [Statement; S],
    expected: [Sentence; E],
) -> Scene {
    Scene {
        words,
        statements: statements.into(),
        end: End::Commit,
        expected: expected.into(),
    }
}

fn statement(sql: &'static str, values: Vec<Value>) -> Statement {
    Statement { sql, values }
}

fn values<const N: usize>(values: [Value; N]) -> Vec<Value> {
    values.into()
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What the n-th modification of an endpoint says; never the same as the one before.
fn modification(nth: usize) -> &'static str {
    MODIFICATIONS[nth % MODIFICATIONS.len()]
}

fn pick<T: Copy>(of: &[T], random: &mut StdRng) -> T {
    *of.choose(random).expect("the list is not empty")
}
