//! `project_actions`: the worker's table, as it is.
//!
//! Its schema, name, column types, lengths and constraints are the worker's. What is known here is
//! which of our columns it has and how to cast our texts to its types.

use activity::TableName;
use tokio_postgres::types::Oid;

use crate::{Error, Session, quote_identifier};

/// Every column that we can fill, with the type that we send it as.
const OURS: [(&str, &str); 11] = [
    ("action_id", "text"),
    ("project_id", "text"),
    ("user_id", "text"),
    ("request_id", "text"),
    ("action_type", "text"),
    ("action_details", "text"),
    ("status", "text"),
    ("environment", "text"),
    ("reference_ids", "text"),
    ("created_at", "bigint"),
    ("cost_usd", "text"),
];

/// The statement that inserts a batch, made from the table's columns as they are now.
#[derive(Clone, Debug)]
pub struct ActionsTable {
    pub table: TableName,
    pub oid: Oid,
    insert: String,
    has_cost_usd: bool,
    /// Triggers and the like expect to find the worker's tables.
    runs_code: bool,
}

/// Whether nobody keeps writers out of the table. Takes the lock that an insert takes, and gives it back.
pub async fn writable(session: &Session, table: &TableName) -> Result<(), Error> {
    let lock = format!("begin; lock table {table} in row exclusive mode; rollback");
    if let Err(error) = session.batch_execute(&lock).await {
        session.batch_execute("rollback").await?;
        return Err(error.into());
    }
    Ok(())
}

/// Who keeps writers out of the table: the server's processes, each with the lock that it holds.
pub async fn holders(session: &Session, table: &ActionsTable) -> Result<Vec<(i32, String)>, Error> {
    let rows = session
        .query(
            "select pid, mode from pg_locks where relation = $1 and granted and pid is not null
               and database = (select oid from pg_database where datname = current_database())
               and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
             order by 1, 2",
            &[&table.oid],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether writing to the table ($1) or to a partition of it runs code that somebody has written: triggers, rules,
/// and functions and operators that defaults, checks, domains, policies and indexes call. Such code looks its names
/// up under a search path.
const RUNS_CODE: &str = "
    with tables as (
      select $1::oid as oid union select relid::oid from pg_partition_tree($1::oid::regclass)
    ), calling as (
      select 'pg_attrdef'::regclass as classid, d.oid as objid
        from pg_attrdef d join tables t on t.oid = d.adrelid
      union all
      select 'pg_constraint'::regclass, c.oid from pg_constraint c join tables t on t.oid = c.conrelid
      union all
      select 'pg_constraint'::regclass, c.oid
        from pg_constraint c join pg_attribute a on a.atttypid = c.contypid join tables t on t.oid = a.attrelid
        where c.contypid <> 0
      union all
      select 'pg_policy'::regclass, p.oid from pg_policy p join tables t on t.oid = p.polrelid
      union all
      select 'pg_class'::regclass, i.indexrelid from pg_index i join tables t on t.oid = i.indrelid
    )
    select exists (select from pg_trigger g join tables t on t.oid = g.tgrelid where not g.tgisinternal)
      or exists (select from pg_rewrite r join tables t on t.oid = r.ev_class)
      or exists (
        select from pg_depend d join calling using (classid, objid)
        where d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
          and d.refobjid >= 16384)";

impl ActionsTable {
    /// Reads the table's columns. An error says which column is missing or can not be filled.
    pub async fn describe(session: &Session, table: &TableName) -> Result<Self, Error> {
        let missing = || {
            Error::NotReady(format!(
                "table {table} does not exist: run `tidings setup` to create it"
            ))
        };
        // The cast is to the type without its length, a domain's too: a cast to varchar(n) would cut
        // silently, while the assignment that follows refuses what is too long. The -1 stands for "no
        // length"; null would name the length that SQL implies, as in `character`, which is one long.
        let columns = session
            .query(
                "select a.attrelid, a.attname::text, format_type(base.oid, -1), base.typname::text
                 from pg_attribute a
                 cross join lateral (
                   with recursive base as (
                     select t.* from pg_type t where t.oid = a.atttypid
                     union all
                     select t.* from base d join pg_type t on t.oid = d.typbasetype
                     where d.typtype = 'd')
                   select oid, typname from base where typtype <> 'd') base
                 where a.attrelid = (
                     select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p'))
                   and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''",
                &[&table.schema, &table.name],
            )
            .await?;
        let oid = columns.first().ok_or_else(missing)?.get(0);
        let mut targets = Vec::new();
        let mut sources = Vec::new();
        for (name, _) in OURS {
            let Some(column) = columns.iter().find(|c| c.get::<_, &str>(1) == name) else {
                if name == "action_id" {
                    let text = format!("table {table} has no column action_id: it can not be used");
                    return Err(Error::NotReady(text));
                }
                continue;
            };
            targets.push(quote_identifier(name));
            sources.push(cast(name, column.get(2), column.get(3)));
        }
        let unnested: Vec<String> = OURS
            .iter()
            .enumerate()
            .map(|(i, (_, sent))| format!("${}::{sent}[]", i + 1))
            .collect();
        let names: Vec<&str> = OURS.iter().map(|(name, _)| *name).collect();
        let insert = format!(
            "insert into {table} ({}) select {} from unnest({}) as action ({})",
            targets.join(", "),
            sources.join(", "),
            unnested.join(", "),
            names.join(", "),
        );
        let has_cost_usd = columns.iter().any(|c| c.get::<_, &str>(1) == "cost_usd");
        let runs_code = session.query_one(RUNS_CODE, &[&oid]).await?.get(0);
        Ok(Self {
            table: table.clone(),
            oid,
            insert,
            has_cost_usd,
            runs_code,
        })
    }

    /// Looks anew whether writing runs code of the worker's. Says whether that has changed.
    pub async fn look_again(&mut self, session: &Session) -> Result<bool, Error> {
        let runs_code = session.query_one(RUNS_CODE, &[&self.oid]).await?.get(0);
        Ok(std::mem::replace(&mut self.runs_code, runs_code) != runs_code)
    }

    /// Whether a refusal for lack of privilege is the fault of a row (a policy) or of the whole
    /// table: then nothing helps but a GRANT.
    pub(crate) async fn check_privilege(&self, session: &Session) -> Result<(), Error> {
        let row = session
            .query_one(
                "select has_table_privilege(current_user, $1::oid, 'insert')",
                &[&self.oid],
            )
            .await?;
        match row.get(0) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => {
                return Err(Error::NotReady(format!(
                    "table {} was dropped or replaced while it was written to: it is looked at anew",
                    self.table
                )));
            }
        }
        let user = quote_identifier(session.user());
        Err(Error::NotReady(format!(
            "this role may not insert into {0}: run `tidings setup`, or \
             `grant insert on table {0} to {user};` as its owner",
            self.table
        )))
    }

    /// The search path to insert under, where that runs code of the worker's. The sidecar's schema is not in
    /// it: a trigger must not find our `actions` when it means its own.
    pub(crate) fn search_path(&self) -> Option<String> {
        let schema = quote_identifier(&self.table.schema);
        self.runs_code.then(|| format!("{schema}, public"))
    }

    pub fn has_cost_usd(&self) -> bool {
        self.has_cost_usd
    }

    /// One statement with eleven arrays as parameters, in the order of the sidecar's columns.
    pub(crate) fn insert_statement(&self) -> &str {
        &self.insert
    }
}

fn cast(name: &str, sql_type: &str, type_name: &str) -> String {
    match (name, type_name) {
        ("created_at", "timestamptz" | "timestamp" | "date") => {
            format!("to_timestamp(action.created_at)::{sql_type}")
        }
        _ => format!("action.{name}::{sql_type}"),
    }
}
