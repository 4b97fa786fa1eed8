//! The directories of one server, and the port it is found at.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::account::Account;

/// The longest path of a socket that all systems take, less the longest name it has.
const SOCKET_DIR_BYTES_MAX: usize = 103 - "/.s.PGSQL.65535.lock".len();

/// Below the range that systems take the ports of outgoing connections from, so that a port is
/// still free when its server starts again.
const PORTS: Range<u16> = 15_000..32_000;

/// Nothing removes them but the guardian.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) directory: PathBuf,
    pub(crate) sockets: PathBuf,
}

impl Home {
    /// New directories that only `account` (and root) can enter, below `root` if it is given.
    pub(crate) fn make(root: Option<&Path>, account: Account) -> Result<Self, Error> {
        let directory = match root {
            Some(root) => make_directory(root, account)?,
            None => make_directory(&temporary(account), account)?,
        };
        let sockets = if directory.as_os_str().len() > SOCKET_DIR_BYTES_MAX {
            make_directory(Path::new("/tmp"), account)?
        } else {
            directory.clone()
        };
        let home = Self { directory, sockets };
        account.write(&home.log(), "")?;
        Ok(home)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub(crate) fn read_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// The directory of the sockets as the host of a URL.
    pub(crate) fn host(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let encode = |byte: u8| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        self.sockets
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .copied()
            .map(encode)
            .collect()
    }
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16, Error> {
    let random = RandomState::new().build_hasher().finish();
    let count = u64::from(PORTS.end - PORTS.start);
    let start = u16::try_from(random % count).expect("the range has fewer ports than u16 values");
    let ports = PORTS
        .cycle()
        .skip(usize::from(start))
        .take(usize::from(PORTS.end - PORTS.start));
    for port in ports {
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::at("127.0.0.1")(ErrorKind::AddrInUse.into()))
}

fn temporary(account: Account) -> PathBuf {
    let usual = std::env::temp_dir();
    if account.can_enter(&usual) {
        usual
    } else {
        PathBuf::from("/tmp")
    }
}

fn make_directory(root: &Path, account: Account) -> Result<PathBuf, Error> {
    let directory = tempfile::Builder::new()
        .prefix("tidings-pg-")
        .tempdir_in(root);
    let directory = directory.map_err(Error::at(root))?.keep();
    account.own(&directory)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_into_a_host() {
        let home = Home {
            directory: "/x".into(),
            sockets: "/tmp/a-b.c/é".into(),
        };
        assert_eq!(home.host(), "%2Ftmp%2Fa-b.c%2F%C3%A9");
    }

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free_port().unwrap();
        assert!(PORTS.contains(&port));
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
