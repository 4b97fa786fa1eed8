//! Endpoints: declared in the configuration file or by command, read by the deliver loop.

mod options;

use activity::Seq;
use jiff::Timestamp;
use postgres_types::{Json, ToSql};
use tokio_postgres::Row;

use crate::{Error, Session};

pub use options::{Digest, Options, Order, Rate};

/// Endpoints are spread over this many shards, for ever: the number is part of what is stored.
pub const SHARDS: u32 = 64;

/// A webhook subscription as it is stored. The deliver loop turns it into one that can be sent to.
#[derive(Clone, PartialEq)]
pub struct StoredEndpoint {
    pub id: String,
    pub name: String,
    pub url: String,
    /// As a `webhook::Vault` wrote them.
    pub credentials: String,
    pub filter: Filter,
    pub options: Options,
    pub origin: DeclaredBy,
    pub state: EndpointState,
    pub state_reason: Option<String>,
    /// Since when no attempt has succeeded.
    pub failing_since: Option<Timestamp>,
    pub shard: i16,
    /// Everything up to here is settled.
    pub cursor: Seq,
    pub behind: bool,
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    Enabled,
    /// Nothing is sent; what comes waits in the log.
    Paused,
    /// Nothing is sent; what comes is not for it.
    Disabled,
}

impl EndpointState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// Prints no secret, nor a URL that may carry one.
impl std::fmt::Debug for StoredEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredEndpoint")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish()
    }
}

/// Each list empty: everything. Lists are joined by AND, the values of one by OR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub types: Vec<String>,
    pub projects: Vec<String>,
    pub environments: Vec<String>,
    pub statuses: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredBy {
    Config,
    Command,
}

impl DeclaredBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Command => "command",
        }
    }
}

/// What a declaration says; the rest of an endpoint is ours.
pub struct Declaration<'a> {
    pub name: &'a str,
    pub url: &'a str,
    pub credentials: &'a str,
    pub filter: &'a Filter,
    pub options: &'a Options,
    pub origin: DeclaredBy,
}

impl<'a> Declaration<'a> {
    /// From $1: name, url, credentials, types, projects, environments, statuses, origin, options.
    fn parameters(
        &'a self,
        origin: &'a &'static str,
        options: &'a Json<&'a Options>,
    ) -> [&'a (dyn ToSql + Sync); 9] {
        let Filter {
            types,
            projects,
            environments,
            statuses,
        } = self.filter;
        [
            &self.name,
            &self.url,
            &self.credentials,
            types,
            projects,
            environments,
            statuses,
            origin,
            options,
        ]
    }
}

const COLUMNS: &str = "endpoint_id, name, url, credentials, types, projects, environments, statuses, \
    options, origin, state, state_reason, failing_since, shard, cursor_seq, behind, revision";

pub async fn list(session: &Session) -> Result<Vec<StoredEndpoint>, Error> {
    let statement = format!("select {COLUMNS} from endpoints order by name");
    let rows = session.query(&statement, &[]).await?;
    Ok(rows.iter().map(from_row).collect())
}

/// Those of these ids, as far as they are there.
pub async fn of(session: &Session, ids: &[&str]) -> Result<Vec<StoredEndpoint>, Error> {
    let statement = format!("select {COLUMNS} from endpoints where endpoint_id = any($1)");
    let rows = session.query(&statement, &[&ids]).await?;
    Ok(rows.iter().map(from_row).collect())
}

/// The ids of the endpoints of these shards, each with its revision.
pub async fn revisions(session: &Session, shards: &[i16]) -> Result<Vec<(String, i64)>, Error> {
    let statement = "select endpoint_id, revision from endpoints where shard = any($1)";
    let rows = session.query(statement, &[&shards]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Tells two states of the table apart: how many endpoints, and the sum of their revisions. Not the
/// newest one: revisions are not committed in the order in which they are taken.
pub async fn revision(session: &Session) -> Result<(i64, i64), Error> {
    let statement = "select count(*), coalesce(sum(revision), 0)::bigint from endpoints";
    let statement = session.prepared(statement).await?;
    let row = session.query_one(&statement, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// An id that no endpoint has.
pub fn new_id() -> String {
    format!("ep_{}", nanoid::nanoid!())
}

/// Adds an endpoint of this id that starts at the head of the log. False where the name is taken.
pub async fn add(
    session: &Session,
    id: &str,
    declaration: &Declaration<'_>,
) -> Result<bool, Error> {
    let shard = shard_of(id);
    let origin = declaration.origin.as_str();
    let options = Json(declaration.options);
    let mut parameters = declaration.parameters(&origin, &options).to_vec();
    parameters.extend([&id as &(dyn ToSql + Sync), &shard]);
    let added = session
        .execute(
            "insert into endpoints (name, url, credentials, types, projects, environments, statuses,
               origin, options, endpoint_id, shard, cursor_seq)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
               coalesce((select seq from progress), 0))
             on conflict (name) do nothing",
            &parameters,
        )
        .await?;
    Ok(added > 0)
}

/// Brings an endpoint to what its declaration says now. False where nothing differed. One that was
/// disabled is enabled by another URL, and starts at the head of the log.
pub async fn redeclare(session: &Session, declaration: &Declaration<'_>) -> Result<bool, Error> {
    let origin = declaration.origin.as_str();
    let options = Json(declaration.options);
    let changed = session
        .execute(
            "update endpoints set url = $2, credentials = $3, types = $4, projects = $5,
               environments = $6, statuses = $7, origin = $8, options = $9,
               revision = nextval('endpoint_revision'),
               state = case when url <> $2 then 'enabled' else state end,
               state_reason = case when url <> $2 then null else state_reason end,
               behind = behind or (url <> $2 and state = 'disabled'),
               cursor_seq = case when url <> $2 and state = 'disabled'
                 then coalesce((select seq from progress), 0) else cursor_seq end
             where name = $1
               and (url, credentials, types, projects, environments, statuses, origin, options)
               is distinct from ($2, $3, $4, $5, $6, $7, $8, $9)",
            &declaration.parameters(&origin, &options),
        )
        .await?;
    Ok(changed > 0)
}

/// Removes an endpoint with its parked deliveries. False where there is none of that name.
pub async fn remove(session: &Session, name: &str) -> Result<bool, Error> {
    Ok(session
        .execute("delete from endpoints where name = $1", &[&name])
        .await?
        > 0)
}

/// The shard of an endpoint's id: FNV-1a, written down here because it must never change.
fn shard_of(id: &str) -> i16 {
    let hash = id.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash % SHARDS) as i16
}

fn from_row(row: &Row) -> StoredEndpoint {
    StoredEndpoint {
        id: row.get("endpoint_id"),
        name: row.get("name"),
        url: row.get("url"),
        credentials: row.get("credentials"),
        filter: Filter {
            types: row.get("types"),
            projects: row.get("projects"),
            environments: row.get("environments"),
            statuses: row.get("statuses"),
        },
        options: row.get::<_, Json<Options>>("options").0,
        origin: match row.get::<_, &str>("origin") {
            "config" => DeclaredBy::Config,
            _ => DeclaredBy::Command,
        },
        state: match row.get::<_, &str>("state") {
            "enabled" => EndpointState::Enabled,
            "paused" => EndpointState::Paused,
            _ => EndpointState::Disabled,
        },
        state_reason: row.get("state_reason"),
        failing_since: row.get("failing_since"),
        shard: row.get("shard"),
        cursor: Seq::new(row.get("cursor_seq")),
        behind: row.get("behind"),
        revision: row.get("revision"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_id_never_changes() {
        assert_eq!(shard_of("ep_V1StGXR8_Z5jdHi6B-myT"), 44);
        assert_eq!(shard_of(""), 5);
    }
}
