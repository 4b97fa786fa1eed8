//! Reading the action log by seq.

use activity::{Action, ActionId, Actor, Found, Seq};
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::{Error, Session};

/// An action as the log holds it.
#[derive(Clone, Debug)]
pub struct LoggedAction {
    pub seq: Seq,
    pub id: ActionId,
    pub action: Action,
    /// The commit's time, floored to seconds.
    pub created_at: i64,
    /// The commit's time, to the microsecond.
    pub committed_at: Timestamp,
}

const COLUMNS: &str = "seq, action_id, project_id, user_id, request_id, action_type, \
    action_details, status, environment, reference_ids, cost_usd::text as cost_usd, created_at, \
    data, committed_at, actor, actor_found";

/// At most `limit` actions after `after`, in order.
pub async fn after(session: &Session, after: Seq, limit: i64) -> Result<Vec<LoggedAction>, Error> {
    let statement = format!("select {COLUMNS} from actions where seq > $1 order by seq limit $2");
    let statement = session.prepared(&statement).await?;
    let rows = session.query(&statement, &[&after.get(), &limit]).await?;
    rows.iter().map(from_row).collect()
}

/// At most `limit` actions of one project, or of none, after `after`, in order.
pub async fn of_project(
    session: &Session,
    project_id: Option<&str>,
    after: Seq,
    limit: i64,
) -> Result<Vec<LoggedAction>, Error> {
    // Written out: `is not distinct from` uses no index.
    let of_project = match project_id {
        Some(_) => "project_id = $1",
        None => "project_id is null and $1::text is null",
    };
    let statement = format!(
        "select {COLUMNS} from actions where {of_project} and seq > $2 order by seq limit $3"
    );
    let statement = session.prepared(&statement).await?;
    let rows = session
        .query(&statement, &[&project_id, &after.get(), &limit])
        .await?;
    rows.iter().map(from_row).collect()
}

/// What of the log an endpoint asks for, within a window of seqs.
#[derive(Clone, Copy, Debug)]
pub struct Matching<'a> {
    pub after: Seq,
    /// The last seq of the window.
    pub to: Seq,
    /// Whole types, or the beginning of one and `*`. Each list empty: everything.
    pub types: &'a [String],
    pub projects: &'a [String],
    pub environments: &'a [String],
    pub statuses: &'a [String],
}

/// At most `limit` actions that match, in order.
pub async fn matching(
    session: &Session,
    matching: &Matching<'_>,
    limit: i64,
) -> Result<Vec<LoggedAction>, Error> {
    let statement = format!(
        "select {COLUMNS} from actions where seq > $1 and seq <= $2
           and (cardinality($3::text[]) + cardinality($4::text[]) = 0
             or action_type = any($3) or action_type ^@ any($4))
           and (cardinality($5::text[]) = 0 or project_id = any($5))
           and (cardinality($6::text[]) = 0 or environment = any($6))
           and (cardinality($7::text[]) = 0 or status = any($7))
         order by seq limit $8"
    );
    let statement = session.prepared(&statement).await?;
    let (beginnings, types): (Vec<&String>, Vec<&String>) =
        matching.types.iter().partition(|name| name.ends_with('*'));
    let beginnings: Vec<&str> = beginnings
        .into_iter()
        .map(|name| name.trim_end_matches('*'))
        .collect();
    let rows = session
        .query(
            &statement,
            &[
                &matching.after.get(),
                &matching.to.get(),
                &types,
                &beginnings,
                &matching.projects,
                &matching.environments,
                &matching.statuses,
                &limit,
            ],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

/// The actions of these seqs, in order; those that retention has dropped are left out.
pub async fn of(session: &Session, seqs: &[i64]) -> Result<Vec<LoggedAction>, Error> {
    let statement = format!("select {COLUMNS} from actions where seq = any($1) order by seq");
    let statement = session.prepared(&statement).await?;
    let rows = session.query(&statement, &[&seqs]).await?;
    rows.iter().map(from_row).collect()
}

/// The newest seq.
pub async fn head(session: &Session) -> Result<Seq, Error> {
    let row = session.query_opt("select seq from progress", &[]).await?;
    Ok(row.map_or(Seq::ZERO, |row| Seq::new(row.get(0))))
}

fn from_row(row: &Row) -> Result<LoggedAction, Error> {
    let id: &str = row.get("action_id");
    let data: serde_json::Value = row.get("data");
    let serde_json::Value::Object(data) = data else {
        return Err(Error::Unreadable(format!(
            "actions.data of {id} is not an object"
        )));
    };
    Ok(LoggedAction {
        seq: Seq::new(row.get("seq")),
        id: id
            .parse()
            .map_err(|error| Error::Unreadable(format!("actions.action_id: {error}")))?,
        action: Action {
            project_id: row.get("project_id"),
            user_id: row.get("user_id"),
            request_id: row.get("request_id"),
            action_type: row.get("action_type"),
            action_details: row.get("action_details"),
            status: row.get("status"),
            environment: row.get("environment"),
            reference_ids: row.get("reference_ids"),
            cost_usd: row.get("cost_usd"),
            created_at: None,
            actor: actor(row),
            data,
        },
        created_at: row.get("created_at"),
        committed_at: row.get("committed_at"),
    })
}

fn actor(row: &Row) -> Option<Actor> {
    let found = row.get::<_, Option<&str>>("actor_found")?;
    Some(Actor {
        id: row.get::<_, Option<String>>("actor")?,
        found: Found::parse(found)?,
    })
}
