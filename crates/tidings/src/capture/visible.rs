//! The stream shows a transaction before any snapshot does: what the database says of it is to be asked
//! only once others see it.

use std::time::{Duration, Instant};

use store::snapshot::Snapshot;
use store::{Error, Session};

/// Between two looks: nothing tells.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until every session sees these transactions, or for this long. False where it was in vain.
/// Cancel safe.
pub async fn until(
    session: &Session,
    xids: impl Iterator<Item = u64> + Clone,
    limit: Duration,
) -> Result<bool, Error> {
    let began = Instant::now();
    loop {
        let snapshot = Snapshot::current(session).await?;
        if xids.clone().all(|xid| snapshot.sees(xid)) {
            return Ok(true);
        }
        if began.elapsed() >= limit {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
