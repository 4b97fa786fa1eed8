//! Gathers what there is to know of the server, and of the ways to it.

use jiff::Timestamp;
use store::doctor::{self, Kept};
use store::{Purpose, Session};
use wal::Connection;

use super::Patient;
use crate::Failure;
use crate::doctor::check::Check;
use crate::doctor::connection::{self, Replication};
use crate::doctor::{clock, server};
use crate::failure::chain;

impl Patient<'_> {
    pub(super) fn of_server(&mut self) {
        let own = &self.settings.capture.slot;
        self.checks.extend([
            server::server(&self.server),
            server::encoding(&self.server),
            server::wal_level(&self.server),
            server::slots_left(&self.server, &self.slots, own),
            server::senders_left(&self.server, &self.slots, own),
            server::server_settings(&self.server),
        ]);
    }

    pub(super) async fn server_by_sql(&self) -> Result<Vec<Check>, Failure> {
        let now = || Timestamp::now().as_duration().as_secs_f64();
        // The first answer may have to wait for what the server has to load.
        doctor::clock(&self.session).await?;
        let before = now();
        let told = doctor::clock(&self.session).await?;
        let reading = clock::Reading {
            before,
            server: told,
            after: now(),
        };
        let encryption = self.session.encryption().clone();
        let size = doctor::wal_directory(self.wide()).await?;
        let role = store::quote_identifier(self.target.user());
        Ok(vec![
            connection::tls(&encryption, &connection::reaches(&self.target)),
            server::disk(size, &role),
            clock::clock(&reading),
        ])
    }

    /// Opens a replication connection and says who answers there.
    pub(super) async fn wire(&mut self) -> Option<Connection> {
        let opened = async {
            let mut connection = Connection::open(&self.target).await?;
            let greeted = connection.greeted();
            let rows = connection.query("select pg_backend_pid()").await?;
            let answer = rows.first().and_then(|row| row.first()).cloned().flatten();
            let answers = answer.and_then(|text| text.parse().ok()).unwrap_or(greeted);
            Ok::<_, wal::Error>((connection, Replication::Open { greeted, answers }))
        };
        let (wire, told) = match opened.await {
            Ok((wire, told)) => (Some(wire), told),
            Err(error) => {
                let refused = Replication::Refused {
                    code: error.code().map(str::to_owned),
                    text: chain(&error),
                };
                (None, refused)
            }
        };
        let kept = self.kept().await;
        let pooler = connection::pooler(&self.target, &told, kept.as_ref());
        self.checks.push(pooler);
        let settings = &self.server.settings;
        let replication = connection::replication(&self.target, &told, settings);
        self.checks.push(replication);
        wire
    }

    /// What a session keeps; `None` where a second one could not be had beside it.
    async fn kept(&self) -> Option<Kept> {
        let schema = &self.settings.database.schema;
        let other = Session::open(&self.target, schema, Purpose::Read).await;
        doctor::kept(&self.session, &other.ok()?).await.ok()
    }
}
