//! Writing what an endpoint is to be.

use postgres_types::{Json, ToSql};
use tokio_postgres::GenericClient;

use super::state::transit_in;
use super::{DeclaredBy, Filter, Options, shard_of};
use crate::{Error, Session};

/// What a declaration says; the rest of an endpoint is ours.
pub struct Declaration<'a> {
    pub name: &'a str,
    pub url: &'a str,
    /// As a `webhook::Vault` wrote them.
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

/// From one state of an endpoint to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing is sent, what comes waits in the log: from enabled.
    Pause,
    /// From where it was paused.
    Resume,
    /// At the head of the log, from disabled. What was parked is tried again.
    Enable,
    /// Nothing is sent, what comes is not for it: from enabled or paused.
    Disable,
}

/// One step of bringing the stored endpoints to what is declared. `revision` is the one that the step
/// was thought out for.
pub enum Change<'a> {
    Add {
        id: &'a str,
        declaration: Declaration<'a>,
        paused: bool,
    },
    Redeclare {
        id: &'a str,
        revision: i64,
        declaration: Declaration<'a>,
        transition: Option<Transition>,
    },
    /// The same credentials, written anew. Not for a running sidecar to see: it has read them.
    Reseal {
        id: &'a str,
        revision: i64,
        credentials: &'a str,
    },
    Remove {
        id: &'a str,
        revision: i64,
    },
}

/// An id that no endpoint has.
pub fn new_id() -> String {
    format!("ep_{}", nanoid::nanoid!())
}

/// Commits these changes together. False where an endpoint has been changed by somebody else since
/// they were thought out, or its name is taken: then none of them is made.
pub async fn apply(session: &mut Session, changes: &[Change<'_>]) -> Result<bool, Error> {
    let transaction = session.transaction().await?;
    for change in changes {
        if !step(&transaction, change).await? {
            return Ok(false);
        }
    }
    transaction.commit().await?;
    Ok(true)
}

async fn step(client: &impl GenericClient, change: &Change<'_>) -> Result<bool, Error> {
    match change {
        Change::Add {
            id,
            declaration,
            paused,
        } => {
            let added = insert(client, id, declaration).await?;
            if added && *paused {
                let reason = "paused by the settings";
                transit_in(client, id, Transition::Pause, Some(reason)).await?;
            }
            Ok(added)
        }
        Change::Redeclare {
            id,
            revision,
            declaration,
            transition,
        } => {
            if !update(client, id, *revision, declaration).await? {
                return Ok(false);
            }
            let Some(transition) = transition else {
                return Ok(true);
            };
            let reason = match transition {
                Transition::Pause => Some("paused by the settings"),
                Transition::Disable => Some("disabled by the settings"),
                Transition::Resume | Transition::Enable => None,
            };
            transit_in(client, id, *transition, reason).await
        }
        Change::Reseal {
            id,
            revision,
            credentials,
        } => {
            let sealed = client
                .execute(
                    "update endpoints set credentials = $3 where endpoint_id = $1 and revision = $2",
                    &[id, revision, credentials],
                )
                .await?;
            Ok(sealed > 0)
        }
        Change::Remove { id, revision } => {
            let removed = client
                .execute(
                    "delete from endpoints where endpoint_id = $1 and revision = $2",
                    &[id, revision],
                )
                .await?;
            Ok(removed > 0)
        }
    }
}

/// Adds an endpoint of this id that starts at the head of the log. False where the name is taken.
async fn insert(
    client: &impl GenericClient,
    id: &str,
    declaration: &Declaration<'_>,
) -> Result<bool, Error> {
    let shard = shard_of(id);
    let origin = declaration.origin.as_str();
    let options = Json(declaration.options);
    let mut parameters = declaration.parameters(&origin, &options).to_vec();
    parameters.extend([&id as &(dyn ToSql + Sync), &shard]);
    let added = client
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

async fn update(
    client: &impl GenericClient,
    id: &str,
    revision: i64,
    declaration: &Declaration<'_>,
) -> Result<bool, Error> {
    let origin = declaration.origin.as_str();
    let options = Json(declaration.options);
    let mut parameters = declaration.parameters(&origin, &options).to_vec();
    parameters.extend([&id as &(dyn ToSql + Sync), &revision]);
    let updated = client
        .execute(
            "update endpoints set name = $1, url = $2, credentials = $3, types = $4, projects = $5,
               environments = $6, statuses = $7, origin = $8, options = $9,
               revision = nextval('endpoint_revision')
             where endpoint_id = $10 and revision = $11",
            &parameters,
        )
        .await?;
    Ok(updated > 0)
}

/// Stores credentials that a running sidecar must see. False where the endpoint has been changed since
/// it was read with this revision.
pub async fn store_credentials(
    session: &Session,
    id: &str,
    revision: i64,
    credentials: &str,
) -> Result<bool, Error> {
    let stored = session
        .execute(
            "update endpoints set credentials = $3, revision = nextval('endpoint_revision')
             where endpoint_id = $1 and revision = $2",
            &[&id, &revision, &credentials],
        )
        .await?;
    Ok(stored > 0)
}

/// Removes an endpoint with its parked deliveries. False where there is none of that id.
pub async fn remove(session: &Session, id: &str) -> Result<bool, Error> {
    Ok(session
        .execute("delete from endpoints where endpoint_id = $1", &[&id])
        .await?
        > 0)
}
