//! The server process: signals, and waiting for what follows from them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::{Binaries, Error};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(2);
/// What processes without a postmaster get to leave by themselves.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);

/// `pg_ctl stop -m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for every client to leave.
    Smart,
    /// Ends the sessions, and waits for walsenders to catch up.
    Fast,
    /// Without a shutdown checkpoint: the next start recovers.
    Immediate,
}

impl StopMode {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Postmaster {
    child: Child,
    data: PathBuf,
    /// Ends when the last process of the server has: every one of them inherits standard output,
    /// and this thread reads it to its end.
    family: JoinHandle<()>,
}

impl Postmaster {
    pub(crate) fn spawn(
        binaries: &Binaries,
        account: Account,
        data: &Path,
        log: &Path,
    ) -> Result<Self, Error> {
        let data = data.canonicalize().map_err(Error::at(data))?;
        let log = File::options()
            .append(true)
            .open(log)
            .map_err(Error::at(log))?;
        let program = binaries.program("postgres");
        let mut command = account.command(&program);
        command
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(log);
        // Of its own group: Ctrl-C is for us to handle.
        command.process_group(0);
        let mut child = command.spawn().map_err(Error::at(program))?;
        let stdout = child.stdout.take();
        let family = thread::spawn(move || {
            if let Some(mut stdout) = stdout {
                let _ = io::copy(&mut stdout, &mut io::sink());
            }
        });
        Ok(Self {
            child,
            data,
            family,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        // An error means that there is no such child any more.
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Until the server takes connections or has ended; true for the former.
    pub(crate) fn wait_until_ready(&mut self, patience: Duration) -> Result<bool, Error> {
        let (file, pid) = (self.data.join("postmaster.pid"), self.pid().to_string());
        wait(patience, "the start of the server", || {
            if self.has_ended() {
                return Some(false);
            }
            let status = fs::read_to_string(&file).ok()?;
            let mut lines = status.lines();
            // The first line is the pid, the eighth the state.
            let ours = lines.next() == Some(&pid);
            let ready = lines.nth(6).is_some_and(|state| state.trim() == "ready");
            (ours && ready).then_some(true)
        })
    }

    /// Does nothing to a server that has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.has_ended() {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the pid is still ours; it may have ended since, which is fine.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL to every process of the server, the postmaster standing still meanwhile: none of them comes to
    /// know that another has died, and so none ends at a moment of its own choice.
    ///
    /// Where there is no /proc it hits the postmaster alone.
    pub(crate) fn crash(&mut self, patience: Duration) -> Result<(), Error> {
        self.signal(Signal::STOP);
        let stands_still = || self.stands_still().then_some(());
        wait(patience, "the postmaster to stand still", stands_still)?;
        let own = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        inside(&self.data)
            .filter(|pid| Some(*pid) != own)
            .for_each(kill9);
        self.signal(Signal::KILL);
        Ok(())
    }

    /// A signal that stops a process does so a little later.
    fn stands_still(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid())) else {
            return true;
        };
        // The state comes behind the name, which is in brackets. 'Z' has ended by itself.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| state.starts_with(['T', 'Z']))
    }

    /// Until the server and every process of it are gone.
    ///
    /// Processes whose postmaster was killed leave when they notice. The autovacuum launcher of 14
    /// does not for 20 s when it waits for statistics, so what stays too long is killed as well.
    pub(crate) fn wait_until_gone(&mut self, patience: Duration) -> Result<(), Error> {
        let mut orphaned: Option<Instant> = None;
        wait(patience, "the end of the server", || {
            if !self.has_ended() {
                return None;
            }
            let since = *orphaned.get_or_insert_with(Instant::now);
            if since.elapsed() > ORPHAN_PATIENCE {
                inside(&self.data).for_each(kill9);
            }
            self.family.is_finished().then_some(())
        })
    }
}

/// The server processes that work in this directory; none where there is no /proc.
fn inside(directory: &Path) -> impl Iterator<Item = Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(move |process| {
        let pid = process
            .file_name()
            .to_str()?
            .parse()
            .ok()
            .and_then(Pid::from_raw)?;
        let cwd = fs::read_link(process.path().join("cwd")).ok()?;
        let name = fs::read(process.path().join("comm")).ok()?;
        (cwd == directory && name == b"postgres\n").then_some(pid)
    })
}

fn kill9(pid: Pid) {
    // It may have ended by itself since it was looked up.
    let _ = kill_process(pid, Signal::KILL);
}

/// Asks until there is an answer.
pub(crate) fn wait<T>(
    patience: Duration,
    what: &'static str,
    mut answer: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return Ok(answer);
        }
        if begun.elapsed() > patience {
            return Err(Error::Deadline { what, patience });
        }
        thread::sleep(LOOK);
    }
}
