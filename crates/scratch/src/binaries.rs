//! Finds the Postgres server binaries of this machine.

use std::cmp::Reverse;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::{Error, places};

/// The oldest major that Tidings serves.
const OLDEST: u16 = 14;

/// A server version, such as 16.14; a development version has minor 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl Version {
    /// Reads the output of `postgres --version`.
    fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_prefix("postgres (PostgreSQL) ")?;
        let digits = |text: &str| {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            let (digits, rest) = text.split_at(end);
            Some((digits.parse().ok()?, rest.to_owned()))
        };
        let (major, rest) = digits(number)?;
        let minor = rest
            .strip_prefix('.')
            .and_then(digits)
            .map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A directory that holds `postgres` and `initdb`; nothing else of it is relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    pub version: Version,
}

impl Binaries {
    /// The binaries to use: those in `TIDINGS_PG_BIN`; else the newest that are installed on the
    /// machine; else the newest that `make` put into the cache. `TIDINGS_PG_VERSION` picks a major.
    pub fn find() -> Result<Self, Error> {
        let wanted = wanted(env::var_os("TIDINGS_PG_VERSION"))?;
        match env::var_os("TIDINGS_PG_BIN").filter(|dir| !dir.is_empty()) {
            Some(dir) => Self::at(Path::new(&dir), wanted),
            None => Self::search(wanted),
        }
    }

    /// The binaries in this directory, which must be of the wanted major if one is named.
    fn at(dir: &Path, wanted: Option<u16>) -> Result<Self, Error> {
        let found = probe(Account::choose()?, dir).ok_or_else(|| {
            Error::Variable(format!(
                "TIDINGS_PG_BIN: {} does not hold postgres and initdb that can be run",
                dir.display()
            ))
        })?;
        match wanted {
            Some(major) if major != found.version.major => Err(Error::Variable(format!(
                "TIDINGS_PG_BIN holds Postgres {}, but TIDINGS_PG_VERSION asks for {major}",
                found.version
            ))),
            _ => Ok(found),
        }
    }

    fn search(wanted: Option<u16>) -> Result<Self, Error> {
        let account = Account::choose()?;
        let probe =
            |dirs: Vec<PathBuf>| dirs.iter().filter_map(|dir| probe(account, dir)).collect();
        // What the owner of the machine installed goes first, so that running the tests on another
        // major, which fills the cache, does not change the default.
        newest(probe(installed()), wanted)
            .or_else(|| newest(probe(places::cached_servers()), wanted))
            .ok_or_else(|| missing(wanted))
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn newest(mut found: Vec<Binaries>, wanted: Option<u16>) -> Option<Binaries> {
    found.retain(|binaries| match wanted {
        Some(major) => binaries.version.major == major,
        None => binaries.version.major >= OLDEST,
    });
    // Stable: of equals the first found wins.
    found.sort_by_key(|binaries| Reverse(binaries.version));
    found.into_iter().next()
}

/// Directories where packages and builds from source put servers.
fn installed() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.extend(String::from_utf8(output.stdout).map(|text| PathBuf::from(text.trim())));
    }
    dirs.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    dirs.extend(places::bins_below(Path::new("/usr/lib/postgresql")));
    for major in (OLDEST..40).rev() {
        dirs.push(PathBuf::from(format!("/usr/pgsql-{major}/bin")));
        dirs.push(PathBuf::from(format!(
            "/opt/homebrew/opt/postgresql@{major}/bin"
        )));
        dirs.push(PathBuf::from(format!(
            "/usr/local/opt/postgresql@{major}/bin"
        )));
    }
    dirs.push(PathBuf::from("/usr/local/pgsql/bin"));
    dirs.push(PathBuf::from("/opt/homebrew/bin"));
    dirs
}

/// Asks the server for its version, as the account that would run it: a directory that it can't
/// enter holds nothing for us.
fn probe(account: Account, dir: &Path) -> Option<Binaries> {
    // Servers find their libraries from where they really are; links in PATH often stand alone.
    let server = dir.join("postgres").canonicalize().ok()?;
    let dir = server.parent()?.to_owned();
    if !dir.join("initdb").exists() {
        return None;
    }
    let output = account.command(&server).arg("--version").output().ok()?;
    let version = Version::parse(&String::from_utf8(output.stdout).ok()?)?;
    Some(Binaries { dir, version })
}

fn wanted(variable: Option<OsString>) -> Result<Option<u16>, Error> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let major = value
        .to_str()
        .and_then(|value| value.parse().ok())
        .filter(|&v| v >= OLDEST);
    major.map(Some).ok_or_else(|| {
        Error::Variable(format!(
            "TIDINGS_PG_VERSION must be a major version from {OLDEST} on"
        ))
    })
}

fn missing(wanted: Option<u16>) -> Error {
    let (what, command) = match wanted {
        Some(major) => (
            format!("Postgres {major}"),
            format!("TIDINGS_PG_VERSION={major} make postgres"),
        ),
        None => (
            format!("Postgres {OLDEST} or later"),
            "make postgres".to_owned(),
        ),
    };
    Error::NoBinaries(format!(
        "no server binaries of {what} found: run `{command}`, \
         or set TIDINGS_PG_BIN to a directory that holds postgres and initdb"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &str, major: u16, minor: u16) -> Binaries {
        Binaries {
            dir: dir.into(),
            version: Version { major, minor },
        }
    }

    #[test]
    fn versions_are_read_from_what_servers_print() {
        let parse = Version::parse;
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(
            parse(debian),
            Some(Version {
                major: 15,
                minor: 18
            })
        );
        assert_eq!(
            parse("postgres (PostgreSQL) 19beta2"),
            Some(Version {
                major: 19,
                minor: 0
            })
        );
        assert_eq!(parse("pgbouncer 1.24"), None);
    }

    #[test]
    fn the_newest_wins_and_of_equals_the_first() {
        let found = vec![
            at("a", 15, 2),
            at("b", 17, 1),
            at("c", 17, 1),
            at("d", 9, 6),
        ];
        assert_eq!(newest(found, None), Some(at("b", 17, 1)));
        assert_eq!(newest(vec![at("d", 13, 6)], None), None);
    }

    #[test]
    fn a_named_major_is_the_only_one_taken() {
        let found = vec![at("a", 15, 2), at("b", 17, 1)];
        assert_eq!(newest(found.clone(), Some(15)), Some(at("a", 15, 2)));
        assert_eq!(newest(found, Some(16)), None);
    }

    #[test]
    fn a_major_that_is_no_number_is_refused() {
        assert!(wanted(Some("sixteen".into())).is_err());
        assert!(wanted(Some("9".into())).is_err());
        assert_eq!(wanted(Some("".into())).unwrap(), None);
        assert_eq!(wanted(Some("16".into())).unwrap(), Some(16));
    }
}
