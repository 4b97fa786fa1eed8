//! `tidings run` as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::{PATIENCE, program};

/// A running sidecar; killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    child: Child,
    log: PathBuf,
    api: String,
}

impl Sidecar {
    /// Starts `tidings run` with these further arguments. `api` is where it was told to listen.
    pub(crate) fn spawn(config: &Path, arguments: &[&str], log: PathBuf, api: String) -> Self {
        let file = File::options().create(true).append(true).open(&log);
        let file = file.expect("the log can be written");
        let mut command = program::command(config);
        command.arg("run").args(arguments).kill_on_drop(true);
        command
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file);
        let child = command.spawn().expect("the binary can be run");
        Self { child, log, api }
    }

    /// SIGKILL, now; returns when it is gone.
    pub async fn kill9(mut self) {
        self.child
            .kill()
            .await
            .expect("a child of ours can be killed");
    }

    /// SIGTERM, and its end; panics if it takes longer than the deadline.
    pub async fn terminate(self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.end_within(deadline).await
    }

    /// SIGHUP: it reads its settings and packs again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// SIGSTOP: it stands still until [`Self::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for it to end by itself.
    pub async fn end(self) -> ExitStatus {
        self.end_within(PATIENCE).await
    }

    async fn end_within(mut self, deadline: Duration) -> ExitStatus {
        match tokio::time::timeout(deadline, self.child.wait()).await {
            Ok(status) => status.expect("a child of ours can be waited for"),
            Err(_) => panic!(
                "tidings has not ended within {deadline:?}; its log:\n{}",
                self.log()
            ),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self
            .pid()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        {
            kill_process(pid, signal).expect("a child of ours can be signalled");
        }
    }

    /// None once it has ended and that was noticed.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What this sidecar, and those before it on the same stage, have logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(&self.log).expect("the log can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Resident memory at this moment.
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that was ever resident.
    pub fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let pid = self.pid().expect("the sidecar is running");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("the status tells the memory in kB") * 1024
    }

    /// GET from its API: status code and body; `None` while nobody answers there.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(&self.api).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.api);
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, body.to_owned()))
    }
}

impl Drop for Sidecar {
    /// A test that fails tells what the sidecar had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of tidings:\n{}", self.log());
        }
    }
}
