//! What the worker does to rows of `projects`.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;

use super::project::{Project, count};
use super::scene::{Scene, Statement, scene, statement, values};
use super::sql;
use crate::commands::demo::sentence::Sentence;

pub(super) const ENDPOINTS: [(&str, &str); 10] = [
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

impl Project {
    pub(super) fn create(&mut self) -> Scene {
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

    pub(super) fn activate(&mut self, random: &mut StdRng) -> Scene {
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

    pub(super) fn add_endpoints(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said, counted) = self.added_endpoints(random);
        let words = format!("update projects '{}' (+{counted})", self.name);
        scene(words, [statement], [said])
    }

    pub(super) fn added_endpoints(&mut self, random: &mut StdRng) -> (Statement, Sentence, String) {
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

    pub(super) fn modify_endpoint(&mut self, random: &mut StdRng) -> Scene {
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

    pub(super) fn set_endpoints(&self) -> Statement {
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

    pub(super) fn touch(&self) -> Scene {
        let words = format!(
            "update projects '{}' (updated_at: no rule names it)",
            self.name
        );
        scene(
            words,
            [statement(sql::TOUCH_PROJECT, values([(&self.id).into()]))],
            [],
        )
    }
}

/// What the n-th modification of an endpoint says; never the same as the one before.
fn modification(nth: usize) -> &'static str {
    MODIFICATIONS[nth % MODIFICATIONS.len()]
}
