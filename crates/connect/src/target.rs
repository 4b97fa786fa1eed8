use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::parameters::Parameters;
use crate::url::Url;
use crate::{
    Address, ChannelBinding, Dial, Error, Host, SessionAttrs, SslMode, Timelines, session,
};

/// Where to connect, as whom, and how: a URL that has been understood.
/// Clones share what was met there ([`Timelines`]).
#[derive(Clone)]
pub struct Target {
    user: String,
    password: Option<Vec<u8>>,
    database: String,
    hosts: Vec<Host>,
    parameters: Parameters,
    timelines: Arc<Timelines>,
    /// The place of the host that gave the last session.
    last: Arc<AtomicUsize>,
}

impl Target {
    /// Reads `postgres://user:password@host:port,host:port/database?…`.
    ///
    /// Hosts may be names, addresses, or directories of Unix sockets. Without `sslmode` each host
    /// gets `prefer` if it is on this machine, else `verify-full`. No environment variable is read.
    ///
    /// # Errors
    /// [`Error::Url`], which says what to write instead and repeats nothing of the URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let url = Url::parse(url)?;
        let mut parameters = Parameters::of(&url)?;
        let hosts = hosts(&url, &parameters)?;
        if parameters.ssl_cert.is_some() != parameters.ssl_key.is_some() {
            return Err(Error::url("sslcert and sslkey are only of use together"));
        }
        let user = url.user.or_else(|| parameters.user.clone());
        let user = user
            .ok_or_else(|| Error::url("it names no user; write postgres://USER@HOST/DATABASE"))?;
        let database = url.database.or_else(|| parameters.database.clone());
        let password = parameters.password.take().map(String::into_bytes);
        Ok(Self {
            database: database.unwrap_or_else(|| user.clone()),
            password: url.password.or(password),
            user,
            hosts,
            parameters,
            timelines: Arc::default(),
            last: Arc::default(),
        })
    }

    /// Addresses to try, in order; each becomes a [`crate::Stream`].
    pub fn dial(&self) -> Dial<'_> {
        Dial::new(self)
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// As the URL has them; never empty.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// In the order in which they are tried. Where only a primary will do, the one that was found last goes
    /// first: one that does not answer, named before it, would cost every session its time.
    pub(crate) fn hosts_in_turn(&self) -> Vec<&Host> {
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        let last = self.last.load(Ordering::Relaxed);
        if self.session_attrs() == SessionAttrs::ReadWrite && last < hosts.len() {
            let found = hosts.remove(last);
            hosts.insert(0, found);
        }
        hosts
    }

    /// This host gave a session of the kind asked for.
    pub fn found(&self, host: &Host) {
        if let Some(place) = self.hosts.iter().position(|one| one == host) {
            self.last.store(place, Ordering::Relaxed);
        }
    }

    /// What the sessions of this target have met.
    pub fn timelines(&self) -> &Timelines {
        &self.timelines
    }

    pub(crate) fn shared_timelines(&self) -> &Arc<Timelines> {
        &self.timelines
    }

    pub fn session_attrs(&self) -> SessionAttrs {
        self.parameters.session_attrs
    }

    pub fn channel_binding(&self) -> ChannelBinding {
        self.parameters.channel_binding
    }

    /// The limit for reaching one address, and again for authenticating there.
    pub fn connect_timeout(&self) -> Duration {
        self.parameters.connect_timeout
    }

    /// The URL's `application_name`, else `default`.
    pub fn application_name<'a>(&'a self, default: &'a str) -> &'a str {
        let own = self.parameters.application_name.as_deref();
        own.unwrap_or(default)
    }

    /// The startup parameter `options` of a replication session.
    pub fn replication_options(&self) -> String {
        session::options(self.parameters.options.as_deref(), false)
    }

    /// The same server and role, another database.
    #[must_use]
    pub fn with_database(&self, database: impl Into<String>) -> Self {
        let database = database.into();
        Self {
            database,
            ..self.clone()
        }
    }

    /// Each host by itself, whatever kind of session it gives.
    pub fn each_host(&self) -> impl Iterator<Item = Self> {
        self.hosts.iter().map(|host| {
            let mut one = self.clone();
            one.hosts = vec![host.clone()];
            one.last = Arc::default();
            one.parameters.session_attrs = SessionAttrs::Any;
            one
        })
    }

    /// The same server and database, another role, and its password.
    #[must_use]
    pub fn with_user(&self, user: impl Into<String>, password: Option<&str>) -> Self {
        Self {
            user: user.into(),
            password: password.map(|p| p.as_bytes().to_vec()),
            ..self.clone()
        }
    }

    pub(crate) fn sql_options(&self) -> String {
        session::options(self.parameters.options.as_deref(), true)
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// TLS is not spoken on Unix sockets, as in libpq.
    pub fn ssl_mode(&self, host: &Host) -> SslMode {
        match (&host.address, self.parameters.ssl_mode) {
            (Address::Unix(_), _) => SslMode::Disable,
            (_, Some(SslMode::Require)) if self.parameters.ssl_root.is_some() => SslMode::VerifyCa,
            (_, Some(mode)) => mode,
            (_, None) if host.is_local() => SslMode::Prefer,
            (_, None) => SslMode::VerifyFull,
        }
    }
}

fn hosts(url: &Url, parameters: &Parameters) -> Result<Vec<Host>, Error> {
    let (mut names, mut ports): (Vec<&str>, Vec<Option<&str>>) = url
        .hosts
        .iter()
        .map(|(name, port)| (name.as_str(), port.as_deref()))
        .unzip();
    if names.iter().all(|name| name.is_empty()) && !parameters.host.is_empty() {
        names = parameters.host.iter().map(String::as_str).collect();
    }
    if names.is_empty() {
        names = vec![""; parameters.hostaddr.len()];
    }
    if ports.iter().all(Option::is_none) {
        ports = parameters.port.iter().map(|p| Some(p.as_str())).collect();
    }
    if names.is_empty() {
        return Err(Error::url(
            "it names no host; write postgres://USER@HOST/DATABASE, or ?host=/DIRECTORY for a socket",
        ));
    }
    if !parameters.hostaddr.is_empty() && parameters.hostaddr.len() != names.len() {
        return Err(Error::url(
            "there are not as many addresses in hostaddr as hosts",
        ));
    }
    if ports.len() > 1 && ports.len() != names.len() {
        return Err(Error::url("there are not as many ports as hosts"));
    }
    let one = |(place, name): (usize, &&str)| {
        let port = ports.get(place).or(ports.first()).copied().flatten();
        let dial = parameters.hostaddr.get(place).copied();
        Ok(Host {
            address: address(name, dial)?,
            port: self::port(port.unwrap_or_default())?,
        })
    };
    names.iter().enumerate().map(one).collect()
}

fn address(name: &str, dial: Option<std::net::IpAddr>) -> Result<Address, Error> {
    match (name, dial) {
        ("", None) => Err(Error::url("a host is empty")),
        ("", Some(address)) => Ok(Address::Tcp {
            name: address.to_string(),
            dial,
        }),
        (directory, _) if directory.starts_with('/') => Ok(Address::Unix(directory.into())),
        _ => Ok(Address::Tcp {
            name: name.to_owned(),
            dial,
        }),
    }
}

fn port(text: &str) -> Result<u16, Error> {
    match text {
        "" => Ok(5432),
        _ => match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Error::url("a port is not a number between 1 and 65535")),
        },
    }
}

/// `user@host:port,host:port/database`: no password, no parameters.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user)?;
        for (place, host) in self.hosts.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{host}")?;
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests;
