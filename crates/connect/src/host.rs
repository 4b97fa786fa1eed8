use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// One server of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub address: Address,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or an IP address, without brackets, and where given (`hostaddr`) the address
    /// to dial instead of resolving the name.
    Tcp { name: String, dial: Option<IpAddr> },
    /// The directory that holds the server's Unix socket.
    Unix(PathBuf),
}

impl Host {
    /// Whether packets to this host never leave the machine.
    pub fn is_local(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp { name, dial } => dial.or_else(|| name.parse().ok()).map_or_else(
                || name.eq_ignore_ascii_case("localhost"),
                |address| address.is_loopback(),
            ),
        }
    }
}

/// Prints as a URL writes it: `db.internal:5432`, `[::1]:5432`, `/run/postgresql:5432`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Address::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
            Address::Unix(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(name: &str, dial: Option<&str>) -> Host {
        Host {
            address: Address::Tcp {
                name: name.to_owned(),
                dial: dial.map(|ip| ip.parse().unwrap()),
            },
            port: 5432,
        }
    }

    #[test]
    fn loopback_names_and_addresses_are_local() {
        for name in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(tcp(name, None).is_local(), "{name}");
        }
        for name in [
            "db.internal",
            "10.0.0.1",
            "localhost.example.com",
            "2001:db8::1",
        ] {
            assert!(!tcp(name, None).is_local(), "{name}");
        }
    }

    #[test]
    fn the_address_dialled_decides_not_the_name() {
        assert!(!tcp("localhost", Some("192.0.2.1")).is_local());
        assert!(tcp("db.internal", Some("127.0.0.1")).is_local());
    }
}
