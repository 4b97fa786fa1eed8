//! What `setup` does, as SQL: compares what is wanted with what is there.
//!
//! The plan is pure, so that `--dry-run` prints exactly what a real run would execute. Every
//! statement can be run again.

mod danger;
mod generated;
mod publication;

use std::collections::{BTreeSet, HashMap};

use activity::TableName;

pub use danger::{Danger, danger};
pub use generated::{STREAMED_SINCE as GENERATED_STREAMED_SINCE, unsent};
pub use publication::{as_published, shortcoming, without_column};

use crate::catalog::{Publication, Role, Server, Slot, Table};
use crate::{quote_identifier, quote_literal};

#[derive(Clone, Debug)]
pub struct Wanted {
    pub schema: String,
    pub slot: String,
    pub publication: String,
    /// The role that `run` connects as.
    pub role: String,
    pub actions_table: TableName,
    pub tables: Vec<WantedTable>,
}

#[derive(Clone, Debug)]
pub struct WantedTable {
    pub table: TableName,
    /// The columns that rules name.
    pub columns: Vec<String>,
    /// Publish only the key and those columns.
    pub listed: bool,
}

#[derive(Clone, Debug)]
pub struct Found {
    /// As seen by the session that sets up.
    pub server: Server,
    pub role: Option<Role>,
    pub schema_exists: bool,
    pub actions_table_exists: bool,
    /// Whether the run role may already insert into it.
    pub may_insert: bool,
    /// Columns of the worker's that the run role must read and may not.
    pub unreadable: Vec<(TableName, String)>,
    /// Those that the defaults of its columns use.
    pub sequences: Vec<TableName>,
    pub tables: HashMap<TableName, Table>,
    pub publication: Option<Publication>,
    pub slot: Option<Slot>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is for, in one line.
    pub why: String,
    /// Statements without parameters, each ended by a semicolon.
    pub sql: String,
    pub kind: StepKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    Statement,
    /// Printed by a dry run, never executed: roles are an administrator's to make.
    Role,
    /// Waits for open transactions; made by the replication session of the run role.
    Slot,
}

/// The steps from what is there to what is wanted, or everything that stands in the way.
pub fn plan(wanted: &Wanted, found: &Found) -> Result<Vec<Step>, Vec<String>> {
    let obstacles = obstacles(wanted, found);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let mut steps = Vec::new();
    let role = quote_identifier(&wanted.role);
    if !found.schema_exists {
        let schema = quote_identifier(&wanted.schema);
        steps.push(statement(
            "the sidecar's own schema",
            format!("create schema {schema} authorization {role};"),
        ));
    }
    if !found.actions_table_exists {
        steps.push(statement(
            "the table of actions",
            create_actions_table(&wanted.actions_table),
        ));
    }
    steps.extend(publication_steps(wanted, found));
    steps.extend(rights(wanted, found));
    let mut steps = with_role(wanted, found, steps);
    if found.slot.is_none() {
        steps.push(Step {
            why: "the replication slot".to_owned(),
            sql: create_slot(&wanted.slot, found.server.version),
            kind: StepKind::Slot,
        });
    }
    Ok(steps)
}

/// The publication as rules need it. Every table that is wanted must be among those found.
pub fn publication_steps(wanted: &Wanted, found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    publication::steps(wanted, found, &mut |why: &str, sql| {
        steps.push(statement(why, sql));
    });
    steps
}

/// What the run role still lacks of its rights, as the grants that give them.
pub fn rights(wanted: &Wanted, found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |why: &str, sql: String| steps.push(statement(why, sql));
    let superuser = found.role.is_some_and(|role| role.superuser);
    // A table that this session makes belongs to it.
    let makes_own = !found.actions_table_exists && wanted.role == found.server.user;
    if !(found.may_insert || makes_own || superuser) {
        step("what the run role writes", grants(wanted, found));
    }
    if !superuser {
        read_grants(wanted, found, &mut step);
    }
    let owner = found
        .publication
        .as_ref()
        .map_or(&found.server.user, |p| &p.owner);
    if *owner != wanted.role && !superuser {
        let role = quote_identifier(&wanted.role);
        let database = quote_identifier(&found.server.database);
        let publication = quote_identifier(&wanted.publication);
        step(
            "so that the run role can take a table out of the publication",
            format!(
                "grant create on database {database} to {role}; \
             alter publication {publication} owner to {role};"
            ),
        );
    }
    steps
}

fn statement(why: &str, sql: String) -> Step {
    Step {
        why: why.to_owned(),
        sql,
        kind: StepKind::Statement,
    }
}

/// What only an operator can mend, each with the command or SQL that mends it.
fn obstacles(wanted: &Wanted, found: &Found) -> Vec<String> {
    let mut obstacles = Vec::new();
    if found.server.wal_level != "logical" {
        obstacles.push(format!(
            "wal_level is {}, but logical replication needs `logical`: run \
             `alter system set wal_level = logical;` as a superuser and restart Postgres",
            found.server.wal_level
        ));
    }
    if found.server.version < 140_000 {
        obstacles.push(format!(
            "Postgres 14 or newer is needed; this is {}",
            found.server.version
        ));
    }
    if found
        .role
        .is_some_and(|role| !role.replication && !role.superuser)
    {
        let role = quote_identifier(&wanted.role);
        obstacles.push(format!(
            "role {role} lacks the REPLICATION attribute: run `alter role {role} replication;` \
             as a superuser (on Amazon RDS: `grant rds_replication to {role};`)"
        ));
    }
    if let Some(slot) = &found.slot
        && !slot.is_ours(&found.server.database)
    {
        obstacles.push(format!(
            "replication slot {} exists and is not ours (plugin {}, database {}): choose another \
             name in capture.slot",
            quote_literal(&wanted.slot),
            slot.plugin.as_deref().unwrap_or("none"),
            slot.database.as_deref().unwrap_or("none"),
        ));
    }
    if found.publication.as_ref().is_some_and(|p| p.sweeping) {
        obstacles.push(format!(
            "publication {} is FOR ALL TABLES or IN SCHEMA and not ours: choose another name in \
             capture.publication",
            quote_identifier(&wanted.publication)
        ));
    }
    for wanted in &wanted.tables {
        match found.tables.get(&wanted.table) {
            None => obstacles.push(format!(
                "table {} does not exist, but a rule names it: create it, or place the pack in the \
                 right schema in capture.rules",
                wanted.table
            )),
            Some(table) => obstacles.extend(table_obstacle(wanted, table, found.server.version)),
        }
    }
    obstacles
}

fn table_obstacle(wanted: &WantedTable, table: &Table, version: u32) -> Option<String> {
    let name = &wanted.table;
    if let Some(danger) = danger(table, &publication::as_published(wanted, table)) {
        return Some(format!(
            "{}: once published, every UPDATE and DELETE on it would fail. {}",
            danger.what, danger.mend
        ));
    }
    if table.key.is_empty() {
        return Some(format!(
            "table {name} has no primary key to tell its rows apart: run \
             `alter table {name} add primary key (…);`"
        ));
    }
    if let Some(missing) = wanted.columns.iter().find(|c| !table.columns.contains(c)) {
        return Some(format!(
            "table {name} has no column {missing}, but a rule names it"
        ));
    }
    if wanted.listed && version < 150_000 {
        return Some(format!(
            "capture.columns = \"listed\" for table {name} needs Postgres 15 or newer"
        ));
    }
    let mut needed = table.key.iter().chain(&wanted.columns);
    needed.find_map(|column| {
        unsent(
            name,
            column,
            table.generated(column)?,
            wanted.listed,
            version,
        )
    })
}

fn create_actions_table(table: &TableName) -> String {
    let index = quote_identifier(&format!("{}_project_id_created_at", table.name));
    format!(
        "create table {table} (action_id varchar primary key, project_id varchar, \
         user_id varchar, request_id varchar, action_type varchar, action_details varchar, \
         status varchar, environment varchar, reference_ids jsonb, created_at bigint); \
         create index {index} on {table} (project_id, created_at);"
    )
}

/// What an insert into the actions table asks of a role.
fn grants(wanted: &Wanted, found: &Found) -> String {
    let (role, table) = (quote_identifier(&wanted.role), &wanted.actions_table);
    let schemas: BTreeSet<&str> = std::iter::once(table)
        .chain(&found.sequences)
        .map(|name| name.schema.as_str())
        .collect();
    let mut grants: Vec<String> = schemas
        .into_iter()
        .map(|schema| {
            format!(
                "grant usage on schema {} to {role};",
                quote_identifier(schema)
            )
        })
        .collect();
    grants.push(format!("grant insert on table {table} to {role};"));
    let sequences = found.sequences.iter();
    grants.extend(sequences.map(|s| format!("grant usage on sequence {s} to {role};")));
    grants.join(" ")
}

/// What reconcile reads: of each table the key and the columns that rules name, and no other.
fn read_grants(wanted: &Wanted, found: &Found, step: &mut impl FnMut(&str, String)) {
    let role = quote_identifier(&wanted.role);
    for WantedTable { table, .. } in &wanted.tables {
        let columns = found.unreadable.iter().filter(|(of, _)| of == table);
        let columns: Vec<String> = columns.map(|(_, name)| quote_identifier(name)).collect();
        if columns.is_empty() {
            continue;
        }
        let schema = quote_identifier(&table.schema);
        let columns = columns.join(", ");
        step(
            "what the run role reads: rows from before, and those that it missed",
            format!(
                "grant usage on schema {schema} to {role}; \
                 grant select ({columns}) on table {table} to {role};"
            ),
        );
    }
}

fn create_slot(slot: &str, version: u32) -> String {
    let failover = if version >= 170_000 { ", true" } else { "" };
    format!(
        "select pg_create_logical_replication_slot({}, 'pgoutput', false, false{failover});",
        quote_literal(slot)
    )
}

/// What a superuser does first: the role, and a membership without which nothing can be handed over
/// to it.
fn with_role(wanted: &Wanted, found: &Found, steps: Vec<Step>) -> Vec<Step> {
    let role = quote_identifier(&wanted.role);
    let user = quote_identifier(&found.server.user);
    let mut first = Vec::new();
    if found.role.is_none() {
        first.push(Step {
            why: "the role that `run` connects as; give it a password as your server asks for one"
                .to_owned(),
            sql: format!("create role {role} login replication;"),
            kind: StepKind::Role,
        });
    }
    let owner = found
        .publication
        .as_ref()
        .map(|publication| &publication.owner);
    let hands_over = !found.schema_exists || owner != Some(&wanted.role);
    let member = found.role.is_some_and(|role| role.member);
    if hands_over && !member && !found.server.superuser {
        first.push(Step {
            why: "so that setup may make the run role an owner".to_owned(),
            sql: format!("grant {role} to {user};"),
            kind: StepKind::Role,
        });
    }
    first.into_iter().chain(steps).collect()
}

#[cfg(test)]
mod tests;
