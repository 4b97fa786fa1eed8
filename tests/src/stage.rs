//! A worker's database on a server of its own, and the settings of a sidecar for it.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use scratch::{Builder, Server};
use tempfile::TempDir;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};

use crate::{Outcome, Receiver, Settings, Sidecar, eventually, program, tidings};

/// The tables of the built-in pack `reference`.
pub const REFERENCE_TABLES: &str = include_str!("../../config/reference.sql");

pub(crate) const DATABASE: &str = "app";

/// Whether somebody reads a logical slot.
const STREAMING: &str =
    "select count(*) > 0 from pg_replication_slots where active and plugin = 'pgoutput'";

/// Everything of one test. Role `worker` owns database `app` and its tables, `tidings` is the
/// sidecar's least-privileged role, and setup comes as the superuser.
#[derive(Debug)]
pub struct Stage {
    pub server: Server,
    /// Written to the sidecar's file before each command.
    pub settings: Settings,
    api: String,
    directory: TempDir,
}

/// A row of project_actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub action_id: String,
    pub action_type: String,
    pub details: String,
    pub status: Option<String>,
}

impl Stage {
    /// A server with the worker's reference tables, and nothing of Tidings yet.
    pub async fn start() -> Self {
        Self::on(Server::builder()).await
    }

    /// The same on a server of this kind.
    pub async fn on(server: Builder) -> Self {
        let stage = Self::bare(server).await;
        stage
            .execute(&format!("set role worker; {REFERENCE_TABLES}"))
            .await;
        stage
    }

    /// The same without any table.
    pub async fn bare(server: Builder) -> Self {
        let server = tokio::task::spawn_blocking(|| server.start()).await;
        let server = server
            .expect("no panic in scratch")
            .expect("a server starts");
        let directory = TempDir::new().expect("a directory can be made");
        let api = free_address().await;
        let mut settings = Settings::default();
        settings
            .set("database.url", server.url_as("tidings", DATABASE))
            .set("database.admin_url", server.url(DATABASE))
            .set("webhooks.allow_networks", vec!["127.0.0.0/8"])
            .set("api.listen", api.clone());
        let stage = Self {
            server,
            settings,
            api,
            directory,
        };
        let roles = "create role worker login; create role tidings login replication";
        let postgres = connect(&stage.server.url("postgres"))
            .await
            .expect("the server is up");
        postgres
            .batch_execute(roles)
            .await
            .expect("roles can be made");
        let database = format!("create database {DATABASE} owner worker");
        postgres
            .batch_execute(&database)
            .await
            .expect("a database can be made");
        stage.execute("alter schema public owner to worker").await;
        stage
    }

    /// A new receiver, declared in the settings as an endpoint of this name.
    pub async fn subscribe(&mut self, name: &str) -> Receiver {
        let receiver = Receiver::open().await;
        let mut keys = toml::Table::new();
        keys.insert("url".to_owned(), receiver.url().into());
        keys.insert("secret".to_owned(), receiver.secret().expose().into());
        self.settings.endpoint(name, keys);
        receiver
    }

    /// Runs a command of `tidings` to its end.
    pub async fn tidings<I, S>(&self, arguments: I) -> Outcome
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        tidings(&self.config(), arguments).await
    }

    /// The same with these variables, which override the settings.
    pub async fn tidings_with<I, S>(&self, variables: &[(&str, &str)], arguments: I) -> Outcome
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        program::tidings_with(&self.config(), variables, arguments).await
    }

    /// Writes a file beside the settings, where relative paths in them lead to.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// `tidings setup`, then `tidings run`; returns when it reads the stream.
    pub async fn run(&self) -> Sidecar {
        self.tidings(["setup"]).await.success();
        self.resume().await
    }

    /// `tidings run` on what was set up before; returns when it reads the stream.
    pub async fn resume(&self) -> Sidecar {
        let mut sidecar = self.spawn(&[]);
        eventually("the sidecar reads the stream", async || {
            assert!(sidecar.is_running(), "tidings ended:\n{}", sidecar.log());
            self.try_value(STREAMING).await.unwrap_or(false)
        })
        .await;
        sidecar
    }

    /// Waits until every table that was asked to be compared with its images is.
    pub async fn until_compared(&self) {
        self.until(
            "(select count(*) > 0 and bool_and(finished_at is not null) from tidings.reconcile)",
        )
        .await;
    }

    /// `tidings run` with these further arguments; waits for nothing.
    pub fn spawn(&self, arguments: &[&str]) -> Sidecar {
        let log = self.directory.path().join("log");
        Sidecar::spawn(&self.config(), arguments, log, self.api.clone())
    }

    /// Another `tidings run` on the same slot, with an API and a log of its own; waits for nothing.
    pub async fn second(&self) -> Sidecar {
        let api = free_address().await;
        let mut settings = self.settings.clone();
        settings.set("api.listen", api.clone());
        let config = self.file("second.toml", &settings.render());
        Sidecar::spawn(&config, &[], self.directory.path().join("second.log"), api)
    }

    /// Leaves the directory when the stage goes: settings, the sidecar's log and the server's, for whoever looks into
    /// what went wrong. Returns where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        // On a full disk it is not there.
        let _ = std::fs::write(
            self.directory.path().join("postgres.log"),
            self.server.log(),
        );
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }

    /// The settings as a file, up to date.
    pub fn config(&self) -> PathBuf {
        static DRAFTS: AtomicU32 = AtomicU32::new(1);
        let path = self.directory.path().join("tidings.toml");
        // Whole at any time: a sidecar that starts may be reading it.
        let draft = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = self.directory.path().join(format!("draft{draft}"));
        std::fs::write(&draft, self.settings.render()).expect("the settings can be written");
        std::fs::rename(&draft, &path).expect("the settings can be replaced");
        path
    }

    /// A connection of the superuser to the worker's database.
    pub async fn connect(&self) -> Client {
        self.try_connect()
            .await
            .expect("the server takes connections")
    }

    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.server.url(DATABASE)).await
    }

    /// Runs statements, as a transaction unless they say otherwise.
    pub async fn execute(&self, sql: &str) {
        let done = self.connect().await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{error:?} in {sql}"));
    }

    /// Lets the WAL grow by so many segments (16 MiB each), which nobody is told of.
    pub async fn grow_wal(&self, segments: usize) {
        let client = self.connect().await;
        for _ in 0..segments {
            for sql in [
                "select pg_logical_emit_message(false, 'filler', '')",
                "select pg_switch_wal()",
            ] {
                client.execute(sql, &[]).await.expect(sql);
            }
        }
    }

    /// The one value that a query returns.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        self.try_value(sql)
            .await
            .unwrap_or_else(|error| panic!("{error:?} in {sql}"))
    }

    pub(crate) async fn try_value<T: FromSqlOwned>(
        &self,
        sql: &str,
    ) -> Result<T, tokio_postgres::Error> {
        self.try_connect()
            .await?
            .query_one(sql, &[])
            .await?
            .try_get(0)
    }

    /// This moment of the server's clock.
    pub(crate) async fn moment(&self) -> String {
        self.value("select clock_timestamp()::text").await
    }

    /// Waits until the condition, an SQL expression, is true. Until then it may fail, as it does
    /// while the server is down or a table is not there yet.
    pub async fn until(&self, condition: &str) {
        let query = format!("select coalesce(({condition}), false)");
        eventually(condition, async || {
            self.try_value(&query).await.unwrap_or(false)
        })
        .await;
    }

    /// Waits until project_actions has this many rows; panics if it gets more.
    pub async fn until_actions(&self, count: i64) {
        let query = "select count(*) from project_actions";
        eventually(&format!("there are {count} actions"), async || {
            let found = self.try_value::<i64>(query).await.unwrap_or(0);
            assert!(
                found <= count,
                "{found} actions where there should be {count}"
            );
            found == count
        })
        .await;
    }

    /// What project_actions holds, in commit order.
    pub async fn actions(&self) -> Vec<Action> {
        let query = "select action_id, action_type, coalesce(action_details, ''), status \
                     from project_actions order by action_id collate \"C\"";
        let rows = self
            .connect()
            .await
            .query(query, &[])
            .await
            .expect("actions can be read");
        let action = |row: &tokio_postgres::Row| Action {
            action_id: row.get(0),
            action_type: row.get(1),
            details: row.get(2),
            status: row.get(3),
        };
        rows.iter().map(action).collect()
    }

    /// The sentences of project_actions, in commit order.
    pub async fn sentences(&self) -> Vec<String> {
        self.actions()
            .await
            .into_iter()
            .map(|action| action.details)
            .collect()
    }
}

impl Drop for Stage {
    /// A wait that was in vain has ended the test.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("settings and logs are kept in {}", self.keep().display());
        }
    }
}

pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client, or with the server, which the client then tells.
    tokio::spawn(connection);
    Ok(client)
}

/// An address of this stage alone: it stays free while the sidecar is down, whatever ports others
/// are given on 127.0.0.1 meanwhile.
async fn free_address() -> String {
    static STAGES: AtomicU32 = AtomicU32::new(1);
    let number = STAGES.fetch_add(1, Ordering::Relaxed) + std::process::id() * 1000;
    let [_, a, b, c] = number.to_be_bytes();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::new(127, a, b, c), 0)).await;
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("an address is free").to_string()
}

/// From here on commits wait for a standby of this name, in the WAL and seen by nobody; where it is
/// empty they wait no more. Roles with `synchronous_commit = local` never do. Leaves `admin` such.
pub async fn commits_wait_for(admin: &Client, standby: &str) {
    for sql in [
        "set synchronous_commit = local",
        &format!("alter system set synchronous_standby_names = '{standby}'"),
        "select pg_reload_conf()",
    ] {
        admin.batch_execute(sql).await.expect(sql);
    }
    eventually("the setting is in force", async || {
        let shown = "show synchronous_standby_names";
        let row = admin.query_one(shown, &[]).await.expect(shown);
        row.get::<_, String>(0) == standby
    })
    .await;
    // Whether anybody waits at all is up to the checkpointer, which reads its settings before it does as it is told.
    let checkpoint = "checkpoint";
    admin.batch_execute(checkpoint).await.expect(checkpoint);
}
