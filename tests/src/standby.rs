//! A standby of a stage's server, and what becomes of both.

use std::time::Instant;

use scratch::Server;
use tokio::task::block_in_place;
use tokio_postgres::types::FromSqlOwned;

use crate::stage::{DATABASE, connect};
use crate::{Stage, eventually};

/// Its name at the primary: of its physical slot, and what `synchronous_standby_names` calls it.
const NAME: &str = "b";
/// Whom it streams as.
const ROLE: &str = "replica";

/// Streams from the stage's server until that is gone.
#[derive(Debug)]
pub struct Standby {
    server: Server,
    hosts: String,
}

/// The primary that was.
#[derive(Debug)]
pub struct Fallen {
    /// It is down.
    pub server: Server,
    /// How much of its WAL came along: what commits later is the promoted server's own.
    pub branch: String,
    /// When the standby was asked to take over.
    pub asked: Instant,
}

impl Standby {
    /// Made and streaming. The sidecar's URL names both servers from here on, the primary first.
    pub async fn of(stage: &mut Stage) -> Self {
        // A role of its own: without REPLICATION it streams no more, and can still look.
        stage
            .execute(&format!("create role {ROLE} login replication"))
            .await;
        let server = block_in_place(|| {
            let mut server = stage.server.standby(NAME)?;
            let primary = &stage.server;
            let conninfo = format!(
                "host='{}' port={} user={ROLE} dbname={DATABASE} application_name={NAME}",
                primary.socket_dir().display(),
                primary.port()
            );
            server.set("primary_conninfo", &conninfo)?;
            Ok::<_, scratch::Error>(server)
        });
        let server = server.expect("a standby can be made");
        let hosts = format!("{},{}", stage.server.host(), server.host());
        let standby = Self { server, hosts };
        stage.settings.set("database.url", standby.url("tidings"));
        let streams = format!(
            "exists (select from pg_stat_replication where usename = '{ROLE}' and state = 'streaming')"
        );
        stage.until(&streams).await;
        standby
    }

    /// Leads to whichever of the two takes writes.
    pub fn url(&self, role: &str) -> String {
        let hosts = &self.hosts;
        format!("postgres://{role}@{hosts}/{DATABASE}?target_session_attrs=read-write")
    }

    /// Commits wait until the standby has them. Without that, what the worker was told is committed may be
    /// gone after a promotion, and no audit could say what must be there.
    pub async fn commits_wait(&self, stage: &mut Stage) {
        set(stage, "synchronous_standby_names", NAME).await;
    }

    /// The stream waits for the standby.
    pub async fn stream_waits(&self, stage: &mut Stage) {
        set(stage, "synchronized_standby_slots", NAME).await;
    }

    /// Waits until it has a copy of the sidecar's slot that outlives a promotion.
    pub async fn until_synced(&self, stage: &Stage) {
        eventually("the slot is synced", async || {
            // The slot moves on by such a record, which the server writes every 15 s otherwise.
            stage.execute("select pg_log_standby_snapshot()").await;
            self.sync().await;
            let synced = "select coalesce(bool_or(synced and not temporary), false)
                          from pg_replication_slots where slot_name = 'tidings'";
            self.value(synced).await
        })
        .await;
    }

    /// Copies slots once. That may come to nothing, as one that waits for the primary's does.
    pub async fn sync(&self) {
        let client = connect(&self.server.url(DATABASE)).await;
        let client = client.expect("a hot standby takes reads");
        drop(
            client
                .batch_execute("select pg_sync_replication_slots()")
                .await,
        );
    }

    /// From here on it copies slots by itself.
    pub fn syncs_by_itself(&mut self) {
        let set = block_in_place(|| self.server.set("sync_replication_slots", "on"));
        set.expect("it reloads");
    }

    /// Waits until it has everything that is committed by now.
    pub async fn catches_up(&self, stage: &Stage) {
        let end: String = stage.value("select pg_current_wal_lsn()::text").await;
        self.until(&format!("pg_last_wal_replay_lsn() >= '{end}'"))
            .await;
    }

    /// Ends its stream, and returns up to where it has the WAL. It may still ask for slots.
    pub async fn cut(&self, stage: &Stage) -> String {
        let reached: String = stage.value("select pg_current_wal_lsn()::text").await;
        self.until(&format!("pg_last_wal_receive_lsn() >= '{reached}'"))
            .await;
        stage
            .execute(&format!("alter role {ROLE} noreplication"))
            .await;
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_replication where usename = '{ROLE}'"
        );
        stage.execute(&end).await;
        self.until("not exists (select from pg_stat_wal_receiver)")
            .await;
        self.value("select pg_last_wal_receive_lsn()::text").await
    }

    /// The primary is killed, and this one takes writes when this returns: it is the stage's server then.
    pub async fn take_over(self, stage: &mut Stage) -> Fallen {
        block_in_place(|| stage.server.crash()).expect("a server can be killed");
        let has = "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text";
        let branch = self.value(has).await;
        let server = std::mem::replace(&mut stage.server, self.server);
        let asked = Instant::now();
        block_in_place(|| stage.server.promote()).expect("a standby can be promoted");
        let admin = stage.server.url(DATABASE);
        stage.settings.set("database.admin_url", admin);
        Fallen {
            server,
            branch,
            asked,
        }
    }

    /// The one value that a query returns here.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let client = connect(&self.server.url(DATABASE)).await;
        let client = client.expect("a hot standby takes reads");
        let row = client.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{error:?} in {sql}"))
            .get(0)
    }

    async fn until(&self, condition: &str) {
        let query = format!("select coalesce(({condition}), false)");
        eventually(condition, async || self.value(&query).await).await;
    }
}

async fn set(stage: &mut Stage, setting: &str, value: &str) {
    block_in_place(|| stage.server.set(setting, value)).expect("it reloads");
    stage
        .until(&format!("current_setting('{setting}') = '{value}'"))
        .await;
}
