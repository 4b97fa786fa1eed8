//! The user that server processes run as.
//!
//! Ourselves, unless we are root: Postgres refuses root, so it gets `postgres` or `nobody`, whose
//! own directories it must be able to enter.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// User and group to change to; `None` where we are nobody special.
    other: Option<(u32, u32)>,
}

impl Account {
    pub(crate) fn choose() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { other: None });
        }
        let other = ["postgres", "nobody"].into_iter().find_map(ids);
        other
            .map(|ids| Self { other: Some(ids) })
            .ok_or(Error::NoAccount)
    }

    pub(crate) fn uid(self) -> u32 {
        let own = || rustix::process::geteuid().as_raw();
        self.other.map_or_else(own, |(uid, _)| uid)
    }

    /// A command that runs as this account, with an environment and a working directory that
    /// depend on nothing of the caller's: Postgres reads a dozen variables and its directory.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/");
        for kept in ["PATH", "LD_LIBRARY_PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.stdin(Stdio::null());
        if let Some((uid, gid)) = self.other {
            // As root this also drops the supplementary groups.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes this account the owner of one file or directory.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        match self.other {
            None => Ok(()),
            Some((uid, gid)) => {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(Error::at(path))
            }
        }
    }

    /// Writes a file that only this account reads, as Postgres demands of private keys.
    pub(crate) fn write(self, path: &Path, contents: &str) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        fs::write(path, contents).map_err(Error::at(path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::at(path))?;
        self.own(path)
    }

    /// Whether this account may walk into the directory.
    pub(crate) fn can_enter(self, directory: &Path) -> bool {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", "cd \"$0\""]).arg(directory);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }
}

fn ids(user: &str) -> Option<(u32, u32)> {
    let id = |flag| {
        let output = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((id("-u")?, id("-g")?))
}
