//! Reads `project_actions` as anybody may, through SQL and on a connection that can not write.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio_postgres::{Client, Row};

use super::event::{Event, Recorded};
use super::sentence::Sentence;

/// How often the table is looked at while nothing is expected.
const LOOK: Duration = Duration::from_millis(5);
/// For how long it is looked at without a pause after a commit that something is expected of.
const LOOK_HARD: Duration = Duration::from_millis(50);

/// Tells of every new row, in the order of the log, until nobody listens.
///
/// The log says which rows are new; the rows themselves come from `project_actions`. Whoever
/// commits what gives rows tells it by `awaited`, so that a row is seen as soon as it can be
/// without a reader that keeps the machine busy.
pub async fn watch(
    client: &Client,
    awaited: &Notify,
    events: &Sender<Event>,
) -> Result<(), tokio_postgres::Error> {
    let query = "select p.action_id, p.project_id, p.action_type, p.action_details, p.status, \
                        p.environment, log.seq
                 from tidings.actions log join project_actions p on p.action_id = log.action_id
                 where log.seq > $1 order by log.seq limit 500";
    let query = client.prepare(query).await?;
    let mut last = 0_i64;
    loop {
        let hard = tokio::time::timeout(LOOK, awaited.notified()).await.is_ok();
        let until = Instant::now() + if hard { LOOK_HARD } else { Duration::ZERO };
        loop {
            let rows = client.query(&query, &[&last]).await?;
            let at = Instant::now();
            for row in &rows {
                last = row.try_get(6)?;
                let recorded = Event::Recorded(recorded(at, row)?);
                if events.send(recorded).await.is_err() {
                    return Ok(());
                }
            }
            if !rows.is_empty() || at >= until {
                break;
            }
        }
    }
}

/// Every row that `project_actions` has, whether the log knows it or not.
pub async fn audit(client: &Client) -> Result<Vec<Recorded>, tokio_postgres::Error> {
    let query = "select action_id, project_id, action_type, action_details, status, environment
                 from project_actions order by action_id collate \"C\"";
    let rows = client.query(query, &[]).await?;
    let at = Instant::now();
    rows.iter().map(|row| recorded(at, row)).collect()
}

fn recorded(at: Instant, row: &Row) -> Result<Recorded, tokio_postgres::Error> {
    let text = |column| {
        let text: Option<String> = row.try_get(column)?;
        Ok::<_, tokio_postgres::Error>(text.unwrap_or_default())
    };
    Ok(Recorded {
        at,
        action_id: text(0)?,
        sentence: Sentence {
            project_id: text(1)?,
            action_type: text(2)?,
            details: text(3)?,
            status: text(4)?,
            environment: text(5)?,
        },
    })
}
