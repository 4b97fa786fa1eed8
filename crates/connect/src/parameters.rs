//! The query parameters of a URL, those of libpq by name and meaning, as typed values.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::{Roots, SslMode};
use crate::{Error, url::Url};

/// Which kind of session is wanted (`target_session_attrs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionAttrs {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
}

impl SessionAttrs {
    /// Whether a session fits, by what `show transaction_read_only` answers in it.
    pub fn accepts(self, transaction_read_only: &str) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => transaction_read_only == "off",
            Self::ReadOnly => transaction_read_only == "on",
        }
    }
}

impl fmt::Display for SessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
        })
    }
}

/// Whether SCRAM is bound to the TLS session (`channel_binding`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    /// Wherever both sides can.
    #[default]
    Prefer,
    Require,
}

/// TCP keepalive probes (`keepalives_idle`, `_interval`, `_count`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
}

/// Not `Debug`: it may hold a password while a URL is read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) ssl_root: Option<Roots>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
    pub(crate) session_attrs: SessionAttrs,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) connect_timeout: Duration,
    pub(crate) tcp_user_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) host: Vec<String>,
    pub(crate) hostaddr: Vec<IpAddr>,
    pub(crate) port: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            ssl_mode: None,
            ssl_root: None,
            ssl_cert: None,
            ssl_key: None,
            session_attrs: SessionAttrs::default(),
            channel_binding: ChannelBinding::default(),
            connect_timeout: Duration::from_secs(10),
            tcp_user_timeout: Duration::from_secs(30),
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(30),
                interval: Duration::from_secs(10),
                count: 3,
            }),
            application_name: None,
            options: None,
            host: Vec::new(),
            hostaddr: Vec::new(),
            port: Vec::new(),
            user: None,
            password: None,
            database: None,
        }
    }
}

impl Parameters {
    pub(crate) fn of(url: &Url) -> Result<Self, Error> {
        let mut parameters = Self::default();
        let mut probes = true;
        for (name, value) in &url.query {
            if name == "keepalives" {
                probes = number::<u8>(name, value)? != 0;
            } else {
                parameters.set(name, value)?;
            }
        }
        if !probes {
            parameters.keepalive = None;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        let path = || (!value.is_empty()).then(|| PathBuf::from(value));
        match name {
            "sslmode" => self.ssl_mode = Some(one_of(name, value, SSL_MODES)?),
            "sslrootcert" => {
                self.ssl_root = text().map(|value| match value.as_str() {
                    "system" => Roots::System,
                    path => Roots::File(path.into()),
                });
            }
            "sslcert" => self.ssl_cert = path(),
            "sslkey" => self.ssl_key = path(),
            "sslnegotiation" => one_of(name, value, &[("postgres", ())])?,
            "target_session_attrs" => self.session_attrs = one_of(name, value, SESSIONS)?,
            "load_balance_hosts" => one_of(name, value, &[("disable", ())])?,
            "channel_binding" => self.channel_binding = one_of(name, value, BINDINGS)?,
            "connect_timeout" => match number::<u64>(name, value)? {
                0 => {}
                seconds => self.connect_timeout = Duration::from_secs(seconds),
            },
            "tcp_user_timeout" => {
                self.tcp_user_timeout = Duration::from_millis(number(name, value)?);
            }
            "keepalives_idle" => {
                self.probes().idle = Duration::from_secs(positive(name, value)?.into());
            }
            "keepalives_interval" => {
                self.probes().interval = Duration::from_secs(positive(name, value)?.into());
            }
            "keepalives_count" | "keepalives_retries" => {
                self.probes().count = positive(name, value)?.into();
            }
            "application_name" => self.application_name = text(),
            "options" => self.options = text(),
            "host" => self.host = value.split(',').map(str::to_owned).collect(),
            "hostaddr" => {
                let addresses = value.split(',').map(str::parse).collect::<Result<_, _>>();
                self.hostaddr = addresses.map_err(|_| Error::url("hostaddr is no IP address"))?;
            }
            "port" => self.port = value.split(',').map(str::to_owned).collect(),
            "user" => self.user = text(),
            "password" => self.password = text(),
            "dbname" => self.database = text(),
            "client_encoding" => one_of(name, value, &[("UTF8", ()), ("auto", ())])?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn probes(&mut self) -> &mut Keepalive {
        let default = || Self::default().keepalive.expect("probes are on by default");
        self.keepalive.get_or_insert_with(default)
    }
}

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const SESSIONS: &[(&str, SessionAttrs)] = &[
    ("any", SessionAttrs::Any),
    ("read-write", SessionAttrs::ReadWrite),
    ("read-only", SessionAttrs::ReadOnly),
];

const BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

fn one_of<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T, Error> {
    let chosen = choices.iter().find(|(choice, _)| *choice == value);
    chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        Error::url(format!("{name} can only be {}", names.join(", ")))
    })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Error> {
    let number = value.parse().map_err(|_| ());
    number.map_err(|()| Error::url(format!("{name} is not a number that fits")))
}

fn positive(name: &str, value: &str) -> Result<u16, Error> {
    match number(name, value)? {
        0 => Err(Error::url(format!("{name} must be 1 or more"))),
        number => Ok(number),
    }
}

/// Names the parameter only where it looks like one: it may be a piece of a password.
fn unknown(name: &str) -> Error {
    let plain = name.len() <= 24 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    Error::url(if plain {
        format!("the parameter {name} is not supported")
    } else {
        "a query parameter is not supported".to_owned()
    })
}
