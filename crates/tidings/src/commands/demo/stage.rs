//! A Postgres of our own with a worker's database.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use scratch::Server;
use tokio_postgres::{Client, Config, NoTls};

use crate::Failure;

/// The worker's tables.
pub const TABLES: &str = include_str!("../../../../../config/reference.sql");

const DATABASE: &str = "app";
/// How long the sidecar gets to begin.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// The server stops, and its directory goes, when the value is dropped.
pub struct Stage {
    server: Server,
}

impl Stage {
    /// Role `worker` owns database `app` with its tables; role `tidings` may log in and replicate.
    pub async fn open() -> Result<Self, Failure> {
        let server = tokio::task::spawn_blocking(|| Server::builder().start()).await;
        let server = server
            .context("the thread that starts Postgres died")?
            .map_err(|error| match error {
                scratch::Error::NoBinaries(text) => Failure::NotReady(text),
                error @ scratch::Error::Variable(_) => Failure::Settings(error.into()),
                error => Failure::Failed(error.into()),
            })?;
        let stage = Self { server };
        let postgres = connect(&stage.server.url("postgres")).await?;
        for sql in [
            "create role worker login",
            "create role tidings login replication",
            "create database app owner worker",
        ] {
            postgres.batch_execute(sql).await.context(sql)?;
        }
        let admin = connect(&stage.server.url(DATABASE)).await?;
        admin
            .batch_execute("alter schema public owner to worker")
            .await
            .context("the worker's schema")?;
        let worker = stage.worker().await?;
        let tables = worker.batch_execute(TABLES).await;
        tables.context("the worker's tables")?;
        Ok(stage)
    }

    /// A session of the worker.
    pub async fn worker(&self) -> anyhow::Result<Client> {
        connect(&self.server.url_as("worker", DATABASE)).await
    }

    /// A session that can only read.
    pub async fn reader(&self) -> anyhow::Result<Client> {
        let mut config: Config = self.server.url(DATABASE).parse()?;
        config.options("-c default_transaction_read_only=on");
        open(&config).await
    }

    pub fn url_of_sidecar(&self) -> String {
        self.server.url_as("tidings", DATABASE)
    }

    /// Of the superuser.
    pub fn url_of_admin(&self) -> String {
        self.server.url(DATABASE)
    }

    /// For people: which Postgres this is.
    pub fn version(&self) -> String {
        self.server.version().to_string()
    }

    /// Stops the server and removes its directory.
    pub async fn close(self) {
        let closed = tokio::task::spawn_blocking(move || drop(self.server)).await;
        // A panic in there has been told already.
        drop(closed);
    }
}

/// Returns when the sidecar reads the stream and delivers to its endpoint.
pub async fn begun(reader: &Client) -> anyhow::Result<()> {
    let query = "select exists (select from pg_replication_slots where active) and exists (
                     select from tidings.endpoints e
                     join tidings.delivery_progress d on d.shard = e.shard and d.epoch > 0)";
    let begun = async {
        while !reader.query_one(query, &[]).await?.try_get(0)? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BEGIN_MAX, begun)
        .await
        .map_err(|_| anyhow!("the sidecar did not begin within {BEGIN_MAX:?}"))?
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    open(&url.parse()?).await
}

async fn open(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .context("the demo's own Postgres")?;
    // Ends with the client, or with the server, which the client then tells.
    tokio::spawn(connection);
    Ok(client)
}
