use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::time::timeout;

use crate::{Address, Error, Host, Stream, Target, socket, tls};

/// The addresses of a [`Target`] in order: its hosts, each with everything its name resolves to.
///
/// A host's name is resolved when its turn comes.
pub struct Dial<'a> {
    target: &'a Target,
    hosts: std::vec::IntoIter<&'a Host>,
    resolved: VecDeque<(&'a Host, SocketAddr)>,
}

impl<'a> Dial<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self {
            target,
            hosts: target.hosts_in_turn().into_iter(),
            resolved: VecDeque::new(),
        }
    }

    /// Reaches the next address, TLS included; `None` once all were tried, which is never the
    /// first answer. Each address has [`Target::connect_timeout`].
    ///
    /// Cancel safe: an address whose attempt was cancelled counts as tried.
    pub async fn next(&mut self) -> Option<Result<Stream, Error>> {
        if let Some((host, address)) = self.resolved.pop_front() {
            return Some(self.tcp(host, address).await);
        }
        let host = self.hosts.next()?;
        match &host.address {
            Address::Unix(directory) => Some(self.unix(host, directory).await),
            Address::Tcp { name, dial } => match self.resolve(host, name, *dial).await {
                Ok(first) => Some(self.tcp(host, first).await),
                Err(error) => Some(Err(Error::unreachable(host, error))),
            },
        }
    }

    /// The first address of a host; the others wait in `resolved`.
    async fn resolve(
        &mut self,
        host: &'a Host,
        name: &str,
        dial: Option<std::net::IpAddr>,
    ) -> io::Result<SocketAddr> {
        if let Some(address) = dial {
            return Ok((address, host.port).into());
        }
        let lookup = tokio::net::lookup_host((name, host.port));
        let addresses = timeout(self.target.connect_timeout(), lookup).await??;
        self.resolved = addresses.map(|address| (host, address)).collect();
        let first = self.resolved.pop_front();
        first
            .map(|(_, address)| address)
            .ok_or_else(|| io::Error::other("its name resolves to no address"))
    }

    async fn tcp(&self, host: &Host, address: SocketAddr) -> Result<Stream, Error> {
        let parameters = self.target.parameters();
        let reach = async {
            let socket = socket::tcp(address, parameters).await;
            let socket = socket.map_err(|error| Error::unreachable(host, error))?;
            tls::negotiate(socket, host, self.target.ssl_mode(host), parameters).await
        };
        self.limited(host, reach).await
    }

    async fn unix(&self, host: &Host, directory: &Path) -> Result<Stream, Error> {
        let reach = async {
            match socket::unix(directory, host.port).await {
                Ok(socket) => Ok(Stream::unix(host.clone(), socket)),
                Err(error) => Err(Error::unreachable(host, error)),
            }
        };
        self.limited(host, reach).await
    }

    async fn limited(
        &self,
        host: &Host,
        reach: impl Future<Output = Result<Stream, Error>>,
    ) -> Result<Stream, Error> {
        timeout(self.target.connect_timeout(), reach)
            .await
            .unwrap_or_else(|elapsed| Err(Error::unreachable(host, elapsed.into())))
    }
}
