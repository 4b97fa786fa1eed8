//! What other parts of the sidecar ask the one writer to put in the log.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Transaction;

use crate::{Error, Session};

/// A notice that waits for the writer. `Debug` shows no text of it.
pub struct Notice {
    pub id: i64,
    /// One of [`activity::NOTICES`].
    pub kind: String,
    pub payload: Value,
    pub created_at: Timestamp,
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notice({}, {})", self.id, self.kind)
    }
}

/// The oldest notices.
pub async fn waiting(session: &Session, limit: i64) -> Result<Vec<Notice>, Error> {
    let statement = session
        .prepared(
            "select outbox_id, kind, payload, created_at from outbox order by outbox_id limit $1",
        )
        .await?;
    let rows = session.query(&statement, &[&limit]).await?;
    let notices = rows.iter().map(|row| Notice {
        id: row.get(0),
        kind: row.get(1),
        payload: row.get(2),
        created_at: row.get(3),
    });
    Ok(notices.collect())
}

pub(crate) async fn take_out(transaction: &Transaction<'_>, notices: &[i64]) -> Result<(), Error> {
    if notices.is_empty() {
        return Ok(());
    }
    transaction
        .execute("delete from outbox where outbox_id = any($1)", &[&notices])
        .await?;
    Ok(())
}
