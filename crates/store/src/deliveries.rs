//! Deliveries as somebody looks at them: which there are, and those that are to be tried again.

use activity::Seq;
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::endpoints::Filter;
use crate::span::Span;
use crate::{Error, Session};

/// One action on its way to one endpoint, or what became of it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub endpoint_id: String,
    pub endpoint: String,
    pub seq: Seq,
    pub action_id: String,
    /// Nothing where retention has dropped the action.
    pub action_type: Option<String>,
    pub project_id: Option<String>,
    /// parked, dead, delivered or deferred.
    pub state: String,
    /// Attempts made so far, of one that is parked or dead; else which attempt it was.
    pub attempts: i32,
    /// Of the next attempt.
    pub due_at: Option<Timestamp>,
    /// Of the attempt that delivered or deferred it.
    pub attempted_at: Option<Timestamp>,
    pub status: Option<i16>,
    pub error: Option<String>,
    pub replay_id: Option<String>,
    /// The actions of a digest.
    pub covers: Option<Vec<i64>>,
}

impl Delivery {
    /// Where the page after this delivery begins.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            seq: self.seq,
            endpoint_id: self.endpoint_id.clone(),
            state: self.state.clone(),
        }
    }
}

/// A delivery's place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub seq: Seq,
    pub endpoint_id: String,
    pub state: String,
}

/// Which deliveries are asked for.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub endpoint_id: Option<&'a str>,
    /// Of parked, dead, delivered, deferred.
    pub states: &'a [&'a str],
    /// Of these actions; environments and statuses, too.
    pub filter: &'a Filter,
    pub span: Span,
    /// Only what stands after it.
    pub after: Option<&'a Cursor>,
    pub limit: i64,
}

/// The action types of a filter as SQL takes them: whole ones, and beginnings.
pub(crate) fn patterns(types: &[String]) -> (Vec<&str>, Vec<&str>) {
    let (prefixes, exact): (Vec<&str>, Vec<&str>) = types
        .iter()
        .map(String::as_str)
        .partition(|p| p.ends_with('*'));
    let prefixes = prefixes.iter().map(|p| p.trim_end_matches('*')).collect();
    (exact, prefixes)
}

/// The newest actions first. At most one of each state for an action and an endpoint: an action that was
/// delivered can be parked again by a replay.
pub async fn list(session: &Session, query: &Query<'_>) -> Result<Vec<Delivery>, Error> {
    // A plan of many short lookups: compiling it would take longer than running it.
    session.batch_execute("set jit = off").await?;
    if query.endpoint_id.is_some() {
        return list_span(session, query).await;
    }
    // Of ten thousand endpoints each may have had every action: a few of the newest are enough for a page.
    let newest = query
        .after
        .map_or(query.span.last, |after| after.seq.min(query.span.last));
    let (mut found, mut last, mut width) = (Vec::new(), newest.get(), FIRST_WIDTH);
    while (found.len() as i64) < query.limit && last >= query.span.first.get() {
        let first = query.span.first.get().max(last.saturating_sub(width - 1));
        let part = Query {
            span: Span {
                first: Seq::new(first),
                last: Seq::new(last),
            },
            limit: query.limit - found.len() as i64,
            ..query.clone()
        };
        found.extend(list_span(session, &part).await?);
        (last, width) = (first - 1, width.saturating_mul(WIDENING));
    }
    Ok(found)
}

/// Actions that are looked at first.
const FIRST_WIDTH: i64 = 4;
/// How many times as many come next.
const WIDENING: i64 = 8;

async fn list_span(session: &Session, query: &Query<'_>) -> Result<Vec<Delivery>, Error> {
    // By endpoint, since that is what both tables are kept by; each gives as much as a page holds.
    let matches = "(cardinality($3::text[]) + cardinality($4::text[]) = 0 or a.action_type = any($3)
           or exists (select from unnest($4) as beginning where starts_with(a.action_type, beginning)))
         and (cardinality($5::text[]) = 0 or a.project_id = any($5))
         and (cardinality($6::text[]) = 0 or a.environment = any($6))
         and (cardinality($7::text[]) = 0 or a.status = any($7))";
    let statement = format!(
        "select e.name, d.* from endpoints e cross join lateral (
           (select p.endpoint_id, p.seq, p.action_id, a.action_type, a.project_id, p.state,
              p.attempts, p.due_at, null::timestamptz as attempted_at, null::smallint as status,
              p.last_error as error, p.replay_id, p.covers
            from parked p left join actions a using (seq)
            where p.endpoint_id = e.endpoint_id and p.state = any($2)
              and p.seq between $8 and $9 and {matches}
              and ($10::bigint is null
                   or (p.seq, p.endpoint_id, p.state) < ($10, $11::text, $12::text))
            order by p.seq desc limit $13)
           union all
           (select distinct on (t.seq) t.endpoint_id, t.seq, t.action_id, a.action_type,
              a.project_id, t.outcome, t.attempt, null, t.attempted_at, t.status, t.error,
              t.replay_id, t.covers
            from attempts t left join actions a using (seq)
            where t.endpoint_id = e.endpoint_id and t.outcome = any($2)
              and t.outcome in ('delivered', 'deferred')
              and t.seq between $8 and $9 and {matches}
              and ($10::bigint is null
                   or (t.seq, t.endpoint_id, t.outcome) < ($10, $11::text, $12::text))
            order by t.seq desc, t.attempt desc, t.attempted_at desc limit $13)
         ) as d
         where $1::text is null or e.endpoint_id = $1
         order by d.seq desc, d.endpoint_id desc, d.state desc limit $13"
    );
    let (exact, prefixes) = patterns(&query.filter.types);
    let after = query.after;
    let rows = session
        .query(
            &statement,
            &[
                &query.endpoint_id,
                &query.states,
                &exact,
                &prefixes,
                &query.filter.projects,
                &query.filter.environments,
                &query.filter.statuses,
                &query.span.first.get(),
                &query.span.last.get(),
                &after.map(|cursor| cursor.seq.get()),
                &after.map(|cursor| cursor.endpoint_id.as_str()),
                &after.map(|cursor| cursor.state.as_str()),
                &query.limit,
            ],
        )
        .await?;
    Ok(rows.iter().map(from_row).collect())
}

/// What is parked or dead of one action.
pub async fn waiting(
    session: &Session,
    seq: Seq,
    endpoint_id: Option<&str>,
) -> Result<Vec<Delivery>, Error> {
    let rows = session
        .query(
            "select e.name, p.endpoint_id, p.seq, p.action_id, null::text as action_type,
               null::text as project_id, p.state, p.attempts, p.due_at,
               null::timestamptz as attempted_at, null::smallint as status, p.last_error as error,
               p.replay_id, p.covers
             from endpoints e join parked p using (endpoint_id)
             where p.seq = $1 and ($2::text is null or p.endpoint_id = $2)
             order by e.name",
            &[&seq.get(), &endpoint_id],
        )
        .await?;
    Ok(rows.iter().map(from_row).collect())
}

/// Which parked and dead deliveries are to be tried now.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    pub endpoint_id: Option<&'a str>,
    /// Of parked, dead.
    pub states: &'a [&'a str],
    /// Empty: all.
    pub seqs: &'a [i64],
}

/// Makes them due now, and lets a running sidecar know. A dead letter becomes a parked delivery again
/// whose first attempt is behind it. One whose action is no longer in the log stays as it is. Returns
/// the seqs of those that are due, each once for every endpoint.
pub async fn retry(session: &Session, selection: &Selection<'_>) -> Result<Vec<i64>, Error> {
    let row = session
        .query_one(
            "with due as (
               update parked p set state = 'parked', due_at = now(),
                 attempts = case p.state when 'dead' then least(p.attempts, 1) else p.attempts end
               where ($1::text is null or p.endpoint_id = $1) and p.state = any($2)
                 and (cardinality($3::bigint[]) = 0 or p.seq = any($3))
                 and exists (select from actions a where a.seq = p.seq)
               returning p.endpoint_id, p.seq
             ), told as (
               update endpoints set revision = nextval('endpoint_revision')
               where endpoint_id in (select endpoint_id from due)
             )
             select coalesce(array_agg(seq order by seq), '{}') from due",
            &[&selection.endpoint_id, &selection.states, &selection.seqs],
        )
        .await?;
    Ok(row.get(0))
}

fn from_row(row: &Row) -> Delivery {
    Delivery {
        endpoint_id: row.get("endpoint_id"),
        endpoint: row.get("name"),
        seq: Seq::new(row.get("seq")),
        action_id: row.get("action_id"),
        action_type: row.get("action_type"),
        project_id: row.get("project_id"),
        state: row.get("state"),
        attempts: row.get("attempts"),
        due_at: row.get("due_at"),
        attempted_at: row.get("attempted_at"),
        status: row.get("status"),
        error: row.get("error"),
        replay_id: row.get("replay_id"),
        covers: row.get("covers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_whole_type_or_the_beginning_of_one() {
        let types = ["deployment", "endpoints_*", "*"].map(str::to_owned);
        assert_eq!(
            patterns(&types),
            (vec!["deployment"], vec!["endpoints_", ""])
        );
    }
}
