//! What the worker does to rows of `databases`.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;

use super::project::{Project, count};
use super::scene::{Scene, Statement, scene, statement, values};
use super::sql;
use crate::commands::demo::sentence::Sentence;

pub(super) const TABLES: [&str; 10] = [
    "users", "posts", "tags", "orders", "payments", "comments", "invoices", "sessions", "teams",
    "files",
];

impl Project {
    pub(super) fn create_database(&mut self, random: &mut StdRng) -> Scene {
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
        let said = format!(
            "Database '{name}' created with {counted}: {}",
            tables.join(", ")
        );
        scene(
            format!("insert databases '{name}' ({counted})"),
            [statement(sql::CREATE_DATABASE, values)],
            [self.say("database_created", said)],
        )
    }

    pub(super) fn add_tables(&mut self, random: &mut StdRng) -> Scene {
        let added = random.random_range(1..=2);
        let (statement, said) = self.added_tables(added);
        let counted = count(added, "table", "tables");
        let words = format!("update databases '{}' (+{counted})", self.database_name());
        scene(words, [statement], [said])
    }

    pub(super) fn added_tables(&mut self, added: usize) -> (Statement, Sentence) {
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
        (
            statement(sql::SET_TABLES, values),
            self.say("tables_added", said),
        )
    }

    pub(super) fn query(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said, counted) = self.queried(random);
        let words = format!("update databases '{}' (+{counted})", self.database_name());
        scene(words, [statement], [said])
    }

    pub(super) fn queried(&self, random: &mut StdRng) -> (Statement, Sentence, String) {
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
}
