use crate::{Error, Session};

/// The server's clock, in seconds since 1970.
pub async fn clock(session: &Session) -> Result<f64, Error> {
    let row = session
        .query_one("select extract(epoch from clock_timestamp())::float8", &[])
        .await?;
    Ok(row.get(0))
}
