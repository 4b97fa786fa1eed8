use super::setting::{Settings, settings};
use crate::{Error, Session};

#[derive(Clone, Debug)]
pub struct Server {
    /// As `server_version_num`: 150018.
    pub version: u32,
    /// As people write it: 15.18.
    pub shown: String,
    pub encoding: String,
    pub in_recovery: bool,
    /// Replication connections under way.
    pub senders: i64,
    /// Sessions that use up `max_connections`, this one included.
    pub sessions: i64,
    pub settings: Settings,
}

pub async fn server(session: &Session) -> Result<Server, Error> {
    // Of sessions of other roles little more is shown than that they are in a database.
    let row = session
        .query_one(
            "select current_setting('server_version_num')::int,
               split_part(current_setting('server_version'), ' ', 1),
               current_setting('server_encoding'), pg_is_in_recovery(),
               (select count(*) from pg_stat_replication),
               (select count(*) from pg_stat_activity a where a.datid is not null
                  and not exists (select from pg_stat_replication r where r.pid = a.pid))",
            &[],
        )
        .await?;
    Ok(Server {
        version: row.get::<_, i32>(0).unsigned_abs(),
        shown: row.get(1),
        encoding: row.get(2),
        in_recovery: row.get(3),
        senders: row.get(4),
        sessions: row.get(5),
        settings: settings(session).await?,
    })
}
