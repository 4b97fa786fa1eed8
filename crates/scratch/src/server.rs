use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio_postgres::SimpleQueryMessage;

use crate::account::Account;
use crate::conf::Conf;
use crate::guardian::Guardian;
use crate::home::{Home, free_port};
use crate::postmaster::{self, Postmaster, StopMode};
use crate::session::with_client;
use crate::{Binaries, Builder, Error, Version, cluster};

/// Recovery after a kill -9 under load included.
const START_PATIENCE: Duration = Duration::from_secs(60);
const END_PATIENCE: Duration = Duration::from_secs(20);
/// How often another port is tried when somebody else got there first.
const PORT_TRIES: usize = 10;
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";

/// A running server, or one stopped for a while; gone with its directory when dropped.
#[derive(Debug)]
pub struct Server {
    pub(crate) builder: Builder,
    pub(crate) binaries: Binaries,
    pub(crate) account: Account,
    pub(crate) conf: Conf,
    home: Home,
    port: u16,
    postmaster: Option<Postmaster>,
    guardian: Guardian,
}

impl Server {
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(builder: Builder) -> Result<Self, Error> {
        let mut server = Self::prepare(builder)?;
        let (binaries, data) = (&server.binaries, server.data_dir());
        cluster::create(binaries, server.account, &data, server.builder.own_identity)?;
        server.configure()?;
        server.start_anywhere()?;
        Ok(server)
    }

    /// Directories and a guardian, but no cluster in them yet.
    pub(crate) fn prepare(builder: Builder) -> Result<Self, Error> {
        let account = Account::choose()?;
        let binaries = builder.binaries.clone().map_or_else(Binaries::find, Ok)?;
        let home = Home::make(builder.data_root.as_deref(), account)?;
        let guardian = Guardian::watch(&home)?;
        let conf = builder.conf.clone();
        let (port, postmaster) = (0, None);
        Ok(Self {
            builder,
            binaries,
            account,
            conf,
            home,
            port,
            postmaster,
            guardian,
        })
    }

    /// Writes the configuration files of a cluster that has those of initdb.
    pub(crate) fn configure(&mut self) -> Result<(), Error> {
        let data = self.data_dir();
        let method = self.builder.auth.method();
        let mut hba = self.builder.hba.join("\n");
        hba.push_str(&format!(
            "\nlocal all,replication postgres trust\n\
             local all,replication all {method}\n\
             host all,replication all 127.0.0.1/32 {method}\n"
        ));
        self.account.write(&data.join("pg_hba.conf"), &hba)?;
        if let Some(tls) = self.builder.tls.clone() {
            self.account
                .write(&data.join("server.crt"), &tls.cert_pem)?;
            self.account.write(&data.join("server.key"), &tls.key_pem)?;
            self.conf.set("ssl", "on");
        }
        if let Some(pem) = self.builder.client_ca.clone() {
            self.account.write(&data.join("client_ca.crt"), &pem)?;
            self.conf.set("ssl_ca_file", "client_ca.crt");
        }
        if self.builder.tcp {
            self.conf.set("listen_addresses", "127.0.0.1");
        }
        self.conf.set(
            "unix_socket_directories",
            self.home.sockets.display().to_string(),
        );
        self.account
            .write(&data.join("postgresql.conf"), "include 'scratch.conf'\n")?;
        self.take_port()
    }

    fn take_port(&mut self) -> Result<(), Error> {
        // The socket's directory is its own, so any port will do there.
        self.port = if self.builder.tcp { free_port()? } else { 5432 };
        self.conf.set("port", self.port.to_string());
        self.write_conf()
    }

    fn write_conf(&self) -> Result<(), Error> {
        self.account
            .write(&self.data_dir().join("scratch.conf"), &self.conf.render())
    }

    /// Starts a server that was stopped or killed, on the same port. Does nothing to one that runs.
    pub fn start_again(&mut self) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        // Of one that crashed, processes may be left that would refuse it a new start.
        self.end(Signal::KILL, END_PATIENCE)?;
        let logged = self.log().len();
        if self.launch()? {
            return Ok(());
        }
        let log = tail(&self.log().split_off(logged));
        Err(Error::Start { log })
    }

    /// The first start, which may still go to another port.
    pub(crate) fn start_anywhere(&mut self) -> Result<(), Error> {
        for _ in 1..PORT_TRIES {
            match self.start_again() {
                Err(Error::Start { log }) if log.contains(PORT_TAKEN) => self.take_port()?,
                outcome => return outcome,
            }
        }
        self.start_again()
    }

    /// False if the server ended instead.
    fn launch(&mut self) -> Result<bool, Error> {
        let data = self.data_dir();
        let log = self.home.log();
        let mut postmaster = Postmaster::spawn(&self.binaries, self.account, &data, &log)?;
        self.guardian.tell(Some(postmaster.pid()));
        let ready = postmaster.wait_until_ready(START_PATIENCE);
        self.postmaster = Some(postmaster);
        if let Ok(false) = ready {
            self.forget();
        }
        ready
    }

    fn forget(&mut self) {
        self.guardian.tell(None);
        self.postmaster = None;
    }

    /// Asks the server to stop and waits for it until the deadline. When that passes the server is
    /// left as it is: stopping.
    pub fn stop(&mut self, mode: StopMode, deadline: Duration) -> Result<(), Error> {
        self.end(mode.signal(), deadline)
    }

    /// SIGKILL to the postmaster; returns when all its children are gone too. Committed data is
    /// there after [`Self::start_again`].
    pub fn kill9(&mut self) -> Result<(), Error> {
        self.end(Signal::KILL, END_PATIENCE)
    }

    /// The same to all of them at once, wherever each of them is: [`Self::kill9`] leaves the children to end when
    /// they notice.
    pub fn crash(&mut self) -> Result<(), Error> {
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.crash(END_PATIENCE)?;
        }
        self.kill9()
    }

    fn end(&mut self, signal: Signal, patience: Duration) -> Result<(), Error> {
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.signal(signal);
            postmaster.wait_until_gone(patience)?;
            self.forget();
        }
        Ok(())
    }

    /// A fast stop and a start.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop(StopMode::Fast, START_PATIENCE)?;
        self.start_again()
    }

    pub fn is_running(&mut self) -> bool {
        self.postmaster
            .as_mut()
            .is_some_and(|postmaster| !postmaster.has_ended())
    }

    /// Sets a setting and reloads. One that needs a restart waits for [`Self::restart`]; one that
    /// does not is seen by every command that begins after this returned.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.conf.set(name, value);
        self.write_conf()?;
        if !self.is_running() {
            return Ok(());
        }
        let reloads = || self.log().matches("reloading configuration files").count();
        let before = reloads();
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.signal(Signal::HUP);
        }
        let reloads = || self.log().matches("reloading configuration files").count();
        postmaster::wait(END_PATIENCE, "the reload", || {
            (reloads() > before).then_some(())
        })
    }

    /// Runs statements, separated by semicolons, as superuser.
    pub fn execute(&self, database: &str, sql: &str) -> Result<(), Error> {
        with_client(&self.url(database), async |client| {
            Ok(client.batch_execute(sql).await?)
        })
    }

    /// The first column of the first row, as text; `None` if it is null or there is no row.
    pub fn value(&self, database: &str, sql: &str) -> Result<Option<String>, Error> {
        with_client(&self.url(database), async |client| {
            let messages = client.simple_query(sql).await?;
            Ok(messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            }))
        })
    }

    /// Ends recovery of a standby; returns when it takes writes.
    pub fn promote(&mut self) -> Result<(), Error> {
        self.execute("postgres", "select pg_promote(true, 60)")
    }

    /// On the Unix socket, as superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// On the Unix socket. `user` may carry a password: `name:secret`, both percent-encoded.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.host())
    }

    /// The Unix socket and the port as a URL has them: for one that names several servers.
    pub fn host(&self) -> String {
        format!("{}:{}", self.home.host(), self.port)
    }

    /// On 127.0.0.1; the server must have been told to listen there.
    pub fn tcp_url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket_dir(&self) -> &Path {
        &self.home.sockets
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.data()
    }

    /// Of the postmaster, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::pid)
    }

    pub fn version(&self) -> Version {
        self.binaries.version
    }

    /// The server's log from its first start on.
    pub fn log(&self) -> String {
        self.home.read_log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.end(Signal::QUIT, END_PATIENCE).is_err() {
            let _ = self.kill9();
        }
        // The guardian, dropped next, removes the directories.
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
