//! Whether everything has come through: what is on its way, open or waiting may still change the account.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::PATIENCE;
use crate::audit::number;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What is so once all is over, and what counts the cases where it is not. `$end` is where the WAL ended when
/// the worker had done its last.
const CLAIMS: [(&str, &str); 6] = [
    (
        "the stream is confirmed to its end",
        "select count(*) from (select) as one where not exists (select from pg_replication_slots
           where slot_name = 'tidings' and confirmed_flush_lsn >= '$end')",
    ),
    (
        "no gap is open",
        "select count(*) from tidings.gaps where until_lsn is null",
    ),
    (
        "every comparison is finished",
        "select count(*) from tidings.reconcile where finished_at is null",
    ),
    (
        "every notice is in the log",
        "select count(*) from tidings.outbox",
    ),
    (
        "every endpoint was told of every action that it wants",
        "select count(*) from tidings.endpoints e join tidings.actions a
           on a.origin <> 'notice' and (e.types = '{}' or a.action_type = any(e.types))
         where not exists (select from tidings.attempts t
           where t.endpoint_id = e.endpoint_id and t.seq = a.seq and t.outcome = 'delivered')",
    ),
    (
        "nothing is parked, and no letter is dead",
        "select count(*) from tidings.parked",
    ),
];

/// Goes up with whatever the sidecar does.
const DONE: &str =
    "select (select seq from tidings.progress) + (select count(*) from tidings.attempts)
    + (select coalesce(sum(step), 0)::bigint from tidings.reconcile)";

/// Waits until all of it is so, or nothing moves any more. Says what is not so then.
///
/// The worker has done its last before.
pub(crate) async fn until_quiet(client: &Client) -> Option<&'static str> {
    // A commit of our own, so that the stream has something to confirm behind the worker's last.
    let end = "select pg_logical_emit_message(true, 'audit', '')::text";
    let end: String = client.query_one(end, &[]).await.expect(end).get(0);
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        let unmet = unmet(client, &end).await;
        if unmet.is_none() || moved.elapsed() > PATIENCE {
            return unmet;
        }
        let now = number(client, DONE).await;
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn unmet(client: &Client, end: &str) -> Option<&'static str> {
    for (claim, cases) in CLAIMS {
        if number(client, &cases.replace("$end", end)).await > 0 {
            return Some(claim);
        }
    }
    None
}
