//! A standby, made as the manual has it: start a backup, copy the files, stop the backup.

use std::ffi::OsStr;
use std::path::Path;

use tokio_postgres::Client;

use crate::cluster::{Copied, copy};
use crate::session::with_client;
use crate::{Error, Server};

impl Server {
    /// A hot standby that streams from this server and takes reads when this returns.
    ///
    /// It has a physical slot of its name here, `name` as application_name (what
    /// synchronous_standby_names wants), and hot_standby_feedback, which slot synchronisation needs.
    pub fn standby(&self, name: &str) -> Result<Self, Error> {
        let mut standby = Self::prepare(self.builder.clone())?;
        let (from, to, account) = (self.data_dir(), standby.data_dir(), standby.account);
        let label = with_client(&self.url("postgres"), async |client| {
            let slot = "select pg_create_physical_replication_slot($1, true)";
            client.execute(slot, &[&name]).await?;
            backup(client, self.version().major, || {
                copy(&from, &to, account, &choose)
            })
            .await
        })?;
        account.write(&to.join("backup_label"), &label)?;
        account.write(&to.join("standby.signal"), "")?;
        standby.conf = self.conf.clone();
        standby.conf.set("primary_slot_name", name);
        standby.conf.set("primary_conninfo", self.conninfo(name));
        standby.conf.set("hot_standby_feedback", "on");
        standby.configure()?;
        standby.start_anywhere()?;
        Ok(standby)
    }

    fn conninfo(&self, name: &str) -> String {
        let (sockets, port) = (self.socket_dir().display(), self.port());
        format!(
            "host='{sockets}' port={port} user=postgres dbname=postgres application_name={name}"
        )
    }
}

/// Returns what the copy needs as its backup_label.
async fn backup(
    client: &Client,
    major: u16,
    copy: impl FnOnce() -> Result<(), Error>,
) -> Result<String, Error> {
    let (start, stop) = match major {
        ..15 => (
            "pg_start_backup('scratch', true, false)",
            "pg_stop_backup(false, false)",
        ),
        15.. => ("pg_backup_start('scratch', true)", "pg_backup_stop(false)"),
    };
    client.batch_execute(&format!("select {start}")).await?;
    copy()?;
    let row = client
        .query_one(&format!("select labelfile from {stop}"), &[])
        .await?;
    Ok(row.try_get(0)?)
}

/// What the manual says to leave out of a backup.
fn choose(name: &OsStr) -> Copied {
    match Path::new(name).to_str() {
        Some("postmaster.pid" | "postmaster.opts") => Copied::Never,
        Some(
            "pg_wal" | "pg_replslot" | "pg_dynshmem" | "pg_notify" | "pg_serial" | "pg_snapshots"
            | "pg_stat_tmp" | "pg_subtrans",
        ) => Copied::Empty,
        _ => Copied::Whole,
    }
}
