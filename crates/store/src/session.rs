use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use connect::Target;
use tokio_postgres::Statement;

use crate::Error;

/// One connection to the worker's database, with the sidecar's schema in its search path.
pub struct Session {
    client: connect::Client,
    schema: String,
    user: String,
    statements: Mutex<HashMap<String, Statement>>,
}

/// What a session is for decides its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Writes beside the worker: gives way to its locks before a deadlock check would.
    Write,
    /// Reads the worker's tables: waits for none of its locks, and what a policy would hide from it is
    /// an error. What it writes itself need not wait for a standby.
    Read,
    /// Reads and administers; waits as long as the server lets it.
    Admin,
}

impl Session {
    pub async fn open(target: &Target, schema: &str, purpose: Purpose) -> Result<Self, Error> {
        let client = connect::client(target, "tidings")
            .await
            .map_err(Error::Connect)?;
        let session = Self {
            client,
            schema: schema.to_owned(),
            user: target.user().to_owned(),
            statements: Mutex::default(),
        };
        let path = quote_identifier(schema);
        let limits = match purpose {
            Purpose::Write => "set lock_timeout = '500ms'; set statement_timeout = '60s';",
            Purpose::Read => {
                "set lock_timeout = '200ms'; set statement_timeout = '30s'; set row_security = off;"
            }
            Purpose::Admin => "",
        };
        // `off` would let a confirmed position outrun what a crash of the server keeps.
        let durable = "select set_config('synchronous_commit', 'on', false) \
                       where current_setting('synchronous_commit') = 'off'";
        let durable = match purpose {
            Purpose::Read => "set synchronous_commit = local",
            Purpose::Write | Purpose::Admin => durable,
        };
        let settings = format!("set search_path = {path}, pg_catalog; {limits} {durable}");
        let limit = target.connect_timeout();
        match tokio::time::timeout(limit, session.batch_execute(&settings)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(Error::TimedOut(limit.as_secs())),
        }
        Ok(session)
    }

    /// The same at the server where another session is.
    ///
    /// # Errors
    /// [`Error::Connect`] if another host of the target gave this one: reconnect all of them.
    pub async fn open_at(
        target: &Target,
        schema: &str,
        purpose: Purpose,
        server: Option<&connect::Identity>,
    ) -> Result<Self, Error> {
        let session = Self::open(target, schema, purpose).await?;
        match session.server().zip(server) {
            Some((here, there)) if !here.is_same_server(there) => {
                Err(Error::Connect(connect::Error::Elsewhere))
            }
            _ => Ok(session),
        }
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Waits until the connection is lost. Cancel safe.
    pub async fn closed(&self) {
        self.client.closed().await;
    }

    /// Which server this is; `None` where it does not tell.
    pub fn server(&self) -> Option<&connect::Identity> {
        self.client.server()
    }

    /// How it is carried.
    pub fn encryption(&self) -> &connect::Encryption {
        self.client.encryption()
    }

    /// Asks nobody: whether no other session has met a later timeline of this cluster since.
    pub fn check_timeline(&self) -> Result<(), Error> {
        self.client.check_timeline().map_err(Error::Connect)
    }

    /// The role that it connected as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The statement, prepared once in the life of this session.
    pub(crate) async fn prepared(&self, sql: &str) -> Result<Statement, Error> {
        let known = self
            .statements
            .lock()
            .expect("no holder panics")
            .get(sql)
            .cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().expect("no holder panics");
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}

pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_texts_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b'"), " E'a\\\\b'''");
    }
}
