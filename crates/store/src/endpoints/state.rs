//! Enabled, paused, disabled.

use tokio_postgres::GenericClient;

use super::Transition;
use crate::{Error, Session};

impl Transition {
    /// The states that it leads from, and the one that it leads to.
    const fn states(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Pause => (&["enabled"], "paused"),
            Self::Resume => (&["paused"], "enabled"),
            Self::Enable => (&["disabled"], "enabled"),
            Self::Disable => (&["enabled", "paused"], "disabled"),
        }
    }
}

/// Makes the transition, with the reason that `status` tells. False where the endpoint is in no state
/// that it leads from, or gone.
pub async fn transit(
    session: &mut Session,
    id: &str,
    transition: Transition,
    reason: Option<&str>,
) -> Result<bool, Error> {
    let transaction = session.transaction().await?;
    let done = transit_in(&transaction, id, transition, reason).await?;
    transaction.commit().await?;
    Ok(done)
}

pub(super) async fn transit_in(
    client: &impl GenericClient,
    id: &str,
    transition: Transition,
    reason: Option<&str>,
) -> Result<bool, Error> {
    let (from, to) = transition.states();
    // A failure that lasts since before it stood still says nothing of it now.
    let done = client
        .execute(
            "update endpoints set state = $3, state_reason = $4,
               failing_since = case when $3 = 'enabled' then null else failing_since end,
               revision = nextval('endpoint_revision')
             where endpoint_id = $1 and state = any($2)",
            &[&id, &from, &to, &reason],
        )
        .await?;
    if done > 0 && transition == Transition::Enable {
        to_head(client, id).await?;
    }
    Ok(done > 0)
}

/// What came while it was disabled is not for it: neither for the endpoint nor for a project of it that
/// is held.
async fn to_head(client: &impl GenericClient, id: &str) -> Result<(), Error> {
    client
        .execute(
            "update endpoints set behind = true,
               cursor_seq = greatest(cursor_seq, coalesce((select seq from progress), 0))
             where endpoint_id = $1",
            &[&id],
        )
        .await?;
    client
        .execute(
            "update held set
               cursor_seq = greatest(cursor_seq, coalesce((select seq from progress), 0))
             where endpoint_id = $1",
            &[&id],
        )
        .await?;
    Ok(())
}
