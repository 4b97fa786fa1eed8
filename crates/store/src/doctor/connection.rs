use crate::{Error, Session};

/// How the connection that asks is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// A Unix socket.
    Socket,
    Plain,
    /// With the protocol's version: `TLSv1.3`.
    Tls(String),
}

pub async fn encryption(session: &Session) -> Result<Encryption, Error> {
    let row = session
        .query_one(
            "select inet_server_addr() is null,
               (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl)",
            &[],
        )
        .await?;
    Ok(match (row.get(0), row.get::<_, Option<String>>(1)) {
        (_, Some(version)) => Encryption::Tls(version),
        (true, None) => Encryption::Socket,
        (false, None) => Encryption::Plain,
    })
}
