use crate::{Error, Session};

/// Bytes of `pg_wal`; `None` where this role may not look (pg_monitor may).
pub async fn wal_directory(session: &Session) -> Result<Option<i64>, Error> {
    let allowed = session
        .query_one(
            "select has_function_privilege('pg_catalog.pg_ls_waldir()', 'execute')",
            &[],
        )
        .await?;
    if !allowed.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session
        .query_one(
            "select coalesce(sum(size), 0)::bigint from pg_ls_waldir()",
            &[],
        )
        .await?;
    Ok(Some(row.get(0)))
}
