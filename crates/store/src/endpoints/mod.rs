//! Endpoints: declared in the configuration file or by command, read by the deliver loop.

mod declaration;
mod options;
mod standing;
mod state;

use activity::Seq;
use jiff::Timestamp;
use postgres_types::Json;
use tokio_postgres::Row;

use crate::{Error, Session};

pub use declaration::{Change, Declaration, Transition, apply, new_id, remove, store_credentials};
pub use options::{Digest, Options, Order, Rate};
pub use standing::{Standing, standing};
pub use state::transit;

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

const COLUMNS: &str = "endpoint_id, name, url, credentials, types, projects, environments, statuses, \
    options, origin, state, state_reason, failing_since, shard, cursor_seq, behind, revision";

pub async fn list(session: &Session) -> Result<Vec<StoredEndpoint>, Error> {
    let statement = format!("select {COLUMNS} from endpoints order by name");
    let rows = session.query(&statement, &[]).await?;
    Ok(rows.iter().map(from_row).collect())
}

/// The endpoint of this name; else of this id.
pub async fn find(session: &Session, name_or_id: &str) -> Result<Option<StoredEndpoint>, Error> {
    let statement = format!(
        "select {COLUMNS} from endpoints where name = $1 or endpoint_id = $1
         order by name = $1 desc limit 1"
    );
    let row = session.query_opt(&statement, &[&name_or_id]).await?;
    Ok(row.as_ref().map(from_row))
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
