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
    from_rows(&rows)
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
    from_rows(&rows)
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

/// Lets this session read the log along its index. Of a window with bounds to come the planner expects
/// next to nothing, and would sort all of it each time for its first rows.
pub async fn read_in_order(session: &Session) -> Result<(), Error> {
    let plan = "set enable_sort = off; set enable_bitmapscan = off; set enable_seqscan = off";
    Ok(session.batch_execute(plan).await?)
}

/// At most `limit` actions that match, in order. The session is one that [`read_in_order`].
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
    from_rows(&rows)
}

/// The actions of these seqs, in order; those that retention has dropped are left out.
pub async fn of(session: &Session, seqs: &[i64]) -> Result<Vec<LoggedAction>, Error> {
    let statement = format!("select {COLUMNS} from actions where seq = any($1) order by seq");
    let statement = session.prepared(&statement).await?;
    let rows = session.query(&statement, &[&seqs]).await?;
    from_rows(&rows)
}

/// The newest seq.
pub async fn head(session: &Session) -> Result<Seq, Error> {
    let row = session.query_opt("select seq from progress", &[]).await?;
    Ok(row.map_or(Seq::ZERO, |row| Seq::new(row.get(0))))
}

fn from_rows(rows: &[Row]) -> Result<Vec<LoggedAction>, Error> {
    // An iterator of results does not tell its length, and an action is large to move.
    let mut actions = Vec::with_capacity(rows.len());
    for row in rows {
        actions.push(from_row(row)?);
    }
    Ok(actions)
}

/// By place in [`COLUMNS`]: a name would be looked for among all of them, for every value.
fn from_row(row: &Row) -> Result<LoggedAction, Error> {
    let id: &str = row.get(1);
    let data: serde_json::Value = row.get(12);
    let serde_json::Value::Object(data) = data else {
        return Err(Error::Unreadable(format!(
            "actions.data of {id} is not an object"
        )));
    };
    Ok(LoggedAction {
        seq: Seq::new(row.get(0)),
        id: id
            .parse()
            .map_err(|error| Error::Unreadable(format!("actions.action_id: {error}")))?,
        action: Action {
            project_id: row.get(2),
            user_id: row.get(3),
            request_id: row.get(4),
            action_type: row.get(5),
            action_details: row.get(6),
            status: row.get(7),
            environment: row.get(8),
            reference_ids: row.get(9),
            cost_usd: row.get(10),
            created_at: None,
            actor: actor(row),
            data,
        },
        created_at: row.get(11),
        committed_at: row.get(13),
    })
}

fn actor(row: &Row) -> Option<Actor> {
    let found = row.get::<_, Option<&str>>(15)?;
    Some(Actor {
        id: row.get::<_, Option<String>>(14)?,
        found: Found::parse(found)?,
    })
}
