use tokio_postgres::SimpleQueryMessage;

use crate::{Error, Session};

/// How many transactions are looked at.
const TRANSACTIONS: usize = 4;

/// What a session keeps from one transaction to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The processes that served its transactions, each once.
    pub served_by: Vec<i32>,
    /// Whether a setting of one transaction was there in all later ones.
    pub settings: bool,
}

/// Asks in several transactions, while `other`, a session by the same URL, is inside one: a pooler that gives
/// processes out by transaction then has to give another one.
pub async fn kept(session: &Session, other: &Session) -> Result<Kept, Error> {
    // Simple queries alone: what is prepared would be lost behind such a pooler.
    session.batch_execute("set tidings.doctor = 'kept'").await?;
    other.batch_execute("begin").await?;
    let mut kept = Kept {
        served_by: Vec::new(),
        settings: true,
    };
    for _ in 0..TRANSACTIONS {
        let asked = "select pg_backend_pid(), current_setting('tidings.doctor', true)";
        for message in session.simple_query(asked).await? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            let pid = row.get(0).and_then(|pid| pid.parse().ok());
            kept.served_by
                .extend(pid.filter(|pid| !kept.served_by.contains(pid)));
            kept.settings &= row.get(1) == Some("kept");
        }
    }
    other.batch_execute("rollback").await?;
    Ok(kept)
}
