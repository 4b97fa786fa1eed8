//! Tells, once for each crossing, that the slot keeps back much of what it may.

use crate::{Error, Session};

/// Leaves a notice, where none has told of it since [`recovered`].
pub async fn tell(session: &Session, payload: &serde_json::Value) -> Result<(), Error> {
    session
        .execute(
            "with crossed as (
               update progress set wal_told = true where not wal_told returning one_row
             )
             insert into outbox (kind, payload) select 'wal_budget', $1 from crossed",
            &[payload],
        )
        .await?;
    Ok(())
}

/// The next crossing is told again. Writes only where one was.
pub async fn recovered(session: &Session) -> Result<(), Error> {
    session
        .execute("update progress set wal_told = false where wal_told", &[])
        .await?;
    Ok(())
}
