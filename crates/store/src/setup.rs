//! What `setup` does, as SQL: compares what is wanted with what is there.
//!
//! The plan is pure, so that `--dry-run` prints exactly what a real run would execute. Every
//! statement can be run again.

use std::collections::HashMap;

use activity::{ReplicaIdentity, TableName};

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
    let mut step = |why: &str, sql: String| {
        steps.push(Step {
            why: why.to_owned(),
            sql,
            kind: StepKind::Statement,
        });
    };
    let role = quote_identifier(&wanted.role);
    // A table that this session makes belongs to it.
    let makes_own = !found.actions_table_exists && wanted.role == found.server.user;
    let may_insert = found.may_insert || makes_own || found.role.is_some_and(|role| role.superuser);
    if !found.schema_exists {
        let schema = quote_identifier(&wanted.schema);
        step(
            "the sidecar's own schema",
            format!("create schema {schema} authorization {role};"),
        );
    }
    if !found.actions_table_exists {
        step(
            "the table of actions",
            create_actions_table(&wanted.actions_table),
        );
    }
    publication_steps(wanted, found, &mut step);
    if !may_insert {
        let schema = quote_identifier(&wanted.actions_table.schema);
        let table = &wanted.actions_table;
        step(
            "what the run role writes",
            format!(
                "grant usage on schema {schema} to {role}; grant insert on table {table} to {role};"
            ),
        );
    }
    let owner = found
        .publication
        .as_ref()
        .map_or(&found.server.user, |p| &p.owner);
    if *owner != wanted.role && !found.role.is_some_and(|r| r.superuser) {
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
             as a superuser"
        ));
    }
    if let Some(slot) = &found.slot
        && (slot.plugin.as_deref() != Some("pgoutput")
            || slot.database.as_deref() != Some(&found.server.database))
    {
        obstacles.push(format!(
            "replication slot {} exists and is not ours (plugin {}, database {}): choose another \
             name in capture.slot",
            quote_literal(&wanted.slot),
            slot.plugin.as_deref().unwrap_or("none"),
            slot.database.as_deref().unwrap_or("none"),
        ));
    }
    if found.publication.as_ref().is_some_and(|p| p.all_tables) {
        obstacles.push(format!(
            "publication {} is FOR ALL TABLES and not ours: choose another name in \
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
    if table.identity == ReplicaIdentity::Nothing || table.key.is_empty() {
        return Some(format!(
            "table {name} has no primary key as its replica identity: once published, every UPDATE \
             and DELETE on it would fail. Run `alter table {name} add primary key (…);` or \
             `alter table {name} replica identity using index …;`"
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
    if wanted.listed && table.identity == ReplicaIdentity::Full {
        return Some(format!(
            "table {name} has REPLICA IDENTITY FULL: with capture.columns = \"listed\" its UPDATEs \
             would fail. Set \"whole\" for it, or run `alter table {name} replica identity default;`"
        ));
    }
    None
}

fn publication_steps(wanted: &Wanted, found: &Found, step: &mut impl FnMut(&str, String)) {
    let publication = quote_identifier(&wanted.publication);
    let lists: Vec<(TableName, Option<Vec<String>>)> = wanted
        .tables
        .iter()
        .map(|w| {
            (
                w.table.clone(),
                w.listed.then(|| column_list(w, &found.tables[&w.table])),
            )
        })
        .collect();
    let Some(existing) = &found.publication else {
        let tables: Vec<String> = lists
            .iter()
            .map(|(t, l)| table_clause(t, l.as_ref()))
            .collect();
        let for_tables = if tables.is_empty() {
            String::new()
        } else {
            format!(" for table {}", tables.join(", "))
        };
        return step(
            "what the server sends",
            format!(
                "create publication {publication}{for_tables} with (publish_via_partition_root = true);"
            ),
        );
    };
    for (table, list) in &lists {
        let clause = table_clause(table, list.as_ref());
        match existing.tables.iter().find(|(name, _)| name == table) {
            None => step(
                "a table that a rule names",
                format!("alter publication {publication} add table {clause};"),
            ),
            Some((_, published)) if !same_columns(published.as_ref(), list.as_ref()) => {
                step(
                    "the columns that rules name",
                    format!(
                        "alter publication {publication} drop table {table}; \
                     alter publication {publication} add table {clause};"
                    ),
                );
            }
            Some(_) => {}
        }
    }
    for (table, _) in &existing.tables {
        if !lists.iter().any(|(name, _)| name == table) {
            step(
                "a table that no rule names any more",
                format!("alter publication {publication} drop table {table};"),
            );
        }
    }
}

fn same_columns(a: Option<&Vec<String>>, b: Option<&Vec<String>>) -> bool {
    let sorted = |list: Option<&Vec<String>>| {
        list.map(|columns| {
            let mut columns = columns.clone();
            columns.sort();
            columns
        })
    };
    sorted(a) == sorted(b)
}

/// The key and the columns that rules name, in the table's order.
fn column_list(wanted: &WantedTable, table: &Table) -> Vec<String> {
    let named = |c: &&String| table.key.contains(c) || wanted.columns.contains(c);
    table.columns.iter().filter(named).cloned().collect()
}

fn table_clause(table: &TableName, list: Option<&Vec<String>>) -> String {
    match list {
        None => table.to_string(),
        Some(columns) => {
            let columns: Vec<String> = columns.iter().map(|c| quote_identifier(c)).collect();
            format!("{table} ({})", columns.join(", "))
        }
    }
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

fn create_slot(slot: &str, version: u32) -> String {
    let failover = if version >= 170_000 { ", true" } else { "" };
    format!(
        "select pg_create_logical_replication_slot({}, 'pgoutput', false, false{failover});",
        quote_literal(slot)
    )
}

fn with_role(wanted: &Wanted, found: &Found, steps: Vec<Step>) -> Vec<Step> {
    if found.role.is_some() {
        return steps;
    }
    let role = quote_identifier(&wanted.role);
    let create = Step {
        why: "the role that `run` connects as; give it a password as your server asks for one"
            .to_owned(),
        sql: format!("create role {role} login replication;"),
        kind: StepKind::Role,
    };
    std::iter::once(create).chain(steps).collect()
}

#[cfg(test)]
mod tests;
