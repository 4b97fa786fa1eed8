//! One project of the worker: its rows as the worker knows them, and what comes next for it.
//!
//! What it does to each table is in `projects`, `databases` and `deployments`.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::databases::TABLES;
use super::projects::ENDPOINTS;
use super::scene::{End, Scene, Value, scene};
use crate::commands::demo::sentence::Sentence;

/// How many scenes a project has after its opening.
const LATER_SCENES: usize = 40;
const USERS: [&str; 4] = ["ada", "grace", "linus", "margaret"];
const PLATFORMS: [(&str, &str); 3] = [
    ("railway.com", "up.railway.app"),
    ("fly.io", "fly.dev"),
    ("render.com", "onrender.com"),
];

pub struct Project {
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) database_id: String,
    pub(super) name: String,
    pub(super) user: &'static str,
    pub(super) environment: &'static str,
    /// Its name and the domain it serves under.
    pub(super) platform: (&'static str, &'static str),
    /// Of those of [`ENDPOINTS`] that it has, how often each was modified.
    pub(super) endpoints: Vec<usize>,
    /// How many of [`TABLES`] its database has.
    pub(super) tables: usize,
    /// Rows of `deployments`; those that are no push.
    pub(super) deployment_rows: usize,
    pub(super) deployments: usize,
    requests: usize,
    pub(super) planned: VecDeque<Act>,
    later: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Activate,
    CreateDatabase,
    ActivateWithDatabase,
    AddEndpoints,
    ModifyEndpoint,
    AddTables,
    Query,
    RequestDeployment,
    BeginDeployment,
    EndDeployment,
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
    pub fn new(number: usize, name: String) -> Self {
        let mut planned = VecDeque::from([Act::Create]);
        planned.extend(match number % 2 {
            0 => &[Act::ActivateWithDatabase][..],
            _ => &[Act::Activate, Act::CreateDatabase],
        });
        planned.extend([Act::AddEndpoints, Act::RequestDeployment]);
        if number == 1 {
            planned.extend([
                Act::Query,
                Act::Push,
                Act::ModifyEndpoint,
                Act::AddTables,
                Act::Regret,
                Act::Touch,
                Act::Feature,
            ]);
        }
        Self {
            number,
            id: format!("p_{number}"),
            database_id: format!("db_{number}"),
            name,
            user: USERS[number % USERS.len()],
            environment: ["staging", "development", "development"][number % 3],
            platform: PLATFORMS[number % PLATFORMS.len()],
            endpoints: Vec::new(),
            tables: 0,
            deployment_rows: 0,
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
            Act::ActivateWithDatabase => self.activate(random).and(self.create_database(random)),
            Act::AddEndpoints => self.add_endpoints(random),
            Act::ModifyEndpoint => self.modify_endpoint(random),
            Act::AddTables => self.add_tables(random),
            Act::Query => self.query(random),
            Act::RequestDeployment => self.request_deployment(),
            Act::BeginDeployment => self.begin_deployment(),
            Act::EndDeployment => self.end_deployment(random),
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

    fn feature(&mut self, random: &mut StdRng) -> Scene {
        let (endpoints, added_endpoints, _) = self.added_endpoints(random);
        let (tables, added_tables) = self.added_tables(1);
        let (queries, queried, _) = self.queried(random);
        scene(
            format!(
                "update projects '{}' and its database, 3 statements",
                self.name
            ),
            [endpoints, tables, queries],
            [added_endpoints, added_tables, queried],
        )
    }

    fn regret(&mut self, random: &mut StdRng) -> Scene {
        let (push, _) = self.pushed(random);
        let (queries, _, _) = self.queried(random);
        let words = format!(
            "insert deployments {} (push), update databases",
            self.deployment_id()
        );
        Scene {
            end: End::Rollback,
            ..scene(words, [push, queries], [])
        }
    }

    /// What must come of a change of this project that went well.
    pub(super) fn say(&self, action_type: &str, details: String) -> Sentence {
        Sentence {
            project_id: self.id.clone(),
            action_type: action_type.to_owned(),
            details,
            status: "success".to_owned(),
            environment: self.environment.to_owned(),
        }
    }

    pub(super) fn database_name(&self) -> String {
        format!("{}_db", self.name.replace('-', "_"))
    }

    pub(super) fn deployment_id(&self) -> String {
        format!("{}_d{}", self.id, self.deployment_rows)
    }

    pub(super) fn request(&self) -> Value {
        Value::Text(format!("req_{}_{}", self.id, self.requests))
    }
}

/// `1 table`, `2 tables`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(super) fn pick<T: Copy>(of: &[T], random: &mut StdRng) -> T {
    *of.choose(random).expect("the list is not empty")
}
