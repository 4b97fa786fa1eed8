use std::path::PathBuf;

use crate::conf::Conf;
use crate::{Binaries, Error, Server};

/// How clients other than the superuser on the socket prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    Trust,
    ScramSha256,
    Md5,
    /// Cleartext.
    Password,
}

impl Auth {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::ScramSha256 => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Password => "password",
        }
    }

    /// How passwords set from now on are stored.
    fn password_encryption(self) -> Option<&'static str> {
        match self {
            Self::Trust => None,
            Self::ScramSha256 | Self::Password => Some("scram-sha-256"),
            Self::Md5 => Some("md5"),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
}

/// What a [`Server`] is to be like.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) conf: Conf,
    pub(crate) auth: Auth,
    pub(crate) hba: Vec<String>,
    pub(crate) tcp: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) client_ca: Option<String>,
    pub(crate) data_root: Option<PathBuf>,
    pub(crate) binaries: Option<Binaries>,
    pub(crate) own_identity: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            conf: Conf::defaults(),
            auth: Auth::default(),
            hba: Vec::new(),
            tcp: false,
            tls: None,
            client_ca: None,
            data_root: None,
            binaries: None,
            own_identity: false,
        }
    }
}

impl Builder {
    /// A setting of postgresql.conf.
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.conf.set(name, value);
        self
    }

    /// No fsync. Killed servers recover all the same; only a crash of the machine would not.
    pub fn fast(self) -> Self {
        self.setting("fsync", "off")
    }

    /// Also listen on 127.0.0.1, on a free port.
    ///
    /// Off unless asked for: with [`Auth::Trust`] every user of the machine could come in as
    /// superuser, while the socket lies in a directory that others can't enter.
    pub fn listen_tcp(mut self, yes: bool) -> Self {
        self.tcp = yes;
        self
    }

    /// Trust by default. The superuser is trusted on the socket whatever is said here.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        if let Some(encryption) = auth.password_encryption() {
            self.conf.set("password_encryption", encryption);
        }
        self
    }

    /// A line of pg_hba.conf that goes before all others.
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Offers TLS with this certificate and key, both PEM; listens on TCP too.
    pub fn tls(mut self, cert_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        self.tls = Some(Tls {
            cert_pem: cert_pem.into(),
            key_pem: key_pem.into(),
        });
        self.listen_tcp(true)
    }

    /// The authority (PEM) that client certificates are checked against.
    pub fn client_ca(mut self, pem: impl Into<String>) -> Self {
        self.client_ca = Some(pem.into());
        self
    }

    /// Where the server's directory is made; the system's temporary directory by default.
    pub fn data_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.data_root = Some(root.into());
        self
    }

    /// Instead of those that [`Binaries::find`] finds.
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Runs initdb instead of copying the cached cluster: a second or two slower, but the server
    /// has a system identifier that no other scratch server has.
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    pub fn start(self) -> Result<Server, Error> {
        Server::start(self)
    }
}
