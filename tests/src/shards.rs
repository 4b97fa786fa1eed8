//! Who holds the shards of delivery, as the locks of the server tell.

use std::time::Duration;

use crate::Stage;

/// Within this the shards of a dead owner have another.
pub const UNOWNED_MAX: Duration = Duration::from_secs(10);

/// The locks of shards, not those of members or of capture.
const HELD: &str =
    "locktype = 'advisory' and objsubid = 2 and mode = 'ExclusiveLock' and granted and objid < 64";

impl Stage {
    /// Waits until so many processes hold so many shards each, fewest first.
    pub async fn until_shards_are_held(&self, held: &[i64]) {
        let held: Vec<String> = held.iter().map(ToString::to_string).collect();
        self.until(&format!(
            "(select array_agg(held order by held) = '{{{}}}'::bigint[] from (
               select count(*) as held from pg_locks where {HELD} group by pid) as owners)",
            held.join(",")
        ))
        .await;
    }

    /// Waits until all shards are held by sessions that began after this moment of the server's clock:
    /// those of a process killed before may be there for a little longer.
    pub(crate) async fn until_shards_are_held_since(&self, moment: &str) {
        self.until(&format!(
            "(select count(*) = 64 from pg_locks join pg_stat_activity using (pid)
              where {HELD} and backend_start > '{moment}')"
        ))
        .await;
    }
}
