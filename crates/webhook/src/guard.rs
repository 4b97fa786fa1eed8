//! The guard against server-side request forgery: which addresses a notification may go to.
//!
//! Pure: an address goes in, leave or a [`Refusal`] comes out. What is not globally routable is
//! refused unless `allow_networks` contains it; plain http and ports that are not listed reach
//! `allow_networks` alone; an address that carries an IPv4 address is judged by what it carries; the
//! addresses where clouds hand out credentials are refused always.

mod carried;
mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::{EndpointUrl, Scheme};
use carried::Carried;

/// Decides whether a notification may go to an address.
#[derive(Clone, Debug)]
pub struct Guard {
    allow_networks: Arc<[IpNet]>,
    /// Empty for any.
    ports: Arc<[u16]>,
    /// Empty for any.
    schemes: Arc<[Scheme]>,
}

/// Why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{address} is {kind}; to send there, add its network to webhooks.allow_networks")]
    NotGlobal { address: IpAddr, kind: &'static str },
    #[error("{address} hands out the credentials of a machine; nothing is ever sent there")]
    Metadata { address: IpAddr },
    #[error(
        "{address} is outside webhooks.allow_networks, and plain http reaches only those; use https"
    )]
    PlainHttp { address: IpAddr },
    #[error(
        "{address} is outside webhooks.allow_networks, and only those are reached on a port that \
         webhooks.ports does not list"
    )]
    OtherPort { address: IpAddr },
    #[error("{0} is not one of webhooks.schemes")]
    Scheme(Scheme),
}

/// What a URL's scheme and port leave open of the addresses behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passage {
    /// The global internet, and `allow_networks`.
    Open,
    /// `allow_networks` alone, since nothing protects the request on its way.
    PlainHttp,
    /// `allow_networks` alone, since something else than web servers may listen there.
    OtherPort,
}

/// How an address may be reached, the narrower first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Globally routable.
    Global,
    /// In one of `allow_networks`.
    Allowed,
}

impl Guard {
    /// For any port and both schemes.
    pub fn new(allow_networks: impl Into<Arc<[IpNet]>>) -> Self {
        Self {
            allow_networks: allow_networks.into(),
            ports: Arc::default(),
            schemes: Arc::default(),
        }
    }

    /// The same for these ports, outside of `allow_networks`; none stands for any.
    #[must_use]
    pub fn with_ports(self, ports: impl Into<Arc<[u16]>>) -> Self {
        let ports = ports.into();
        Self { ports, ..self }
    }

    /// The same for these schemes; none stands for any.
    #[must_use]
    pub fn with_schemes(self, schemes: impl Into<Arc<[Scheme]>>) -> Self {
        let schemes = schemes.into();
        Self { schemes, ..self }
    }

    /// What the URL leaves open, whatever its name leads to.
    ///
    /// # Errors
    /// Why nothing goes there, as far as that shows without DNS.
    pub fn passage(&self, url: &EndpointUrl) -> Result<Passage, Refusal> {
        let scheme = url.scheme();
        if !self.schemes.is_empty() && !self.schemes.contains(&scheme) {
            return Err(Refusal::Scheme(scheme));
        }
        let passage = match scheme {
            Scheme::Http => Passage::PlainHttp,
            Scheme::Https if self.ports.is_empty() || self.ports.contains(&url.port()) => {
                Passage::Open
            }
            Scheme::Https => Passage::OtherPort,
        };
        if let Some(address) = url.address() {
            self.check(passage, address)?;
        }
        Ok(passage)
    }

    /// Gives leave to send to `address` by this passage.
    ///
    /// # Errors
    /// Why not. The address named is the IPv4 one where that is carried inside and at fault.
    pub fn check(&self, passage: Passage, address: IpAddr) -> Result<(), Refusal> {
        match (self.reach(address)?, passage) {
            (Reach::Allowed, _) | (Reach::Global, Passage::Open) => Ok(()),
            (Reach::Global, Passage::PlainHttp) => Err(Refusal::PlainHttp { address }),
            (Reach::Global, Passage::OtherPort) => Err(Refusal::OtherPort { address }),
        }
    }

    pub(crate) fn allows_nothing(&self) -> bool {
        self.allow_networks.is_empty()
    }

    fn reach(&self, address: IpAddr) -> Result<Reach, Refusal> {
        let carried = match address {
            IpAddr::V4(_) => Carried::Nothing,
            IpAddr::V6(address) => Carried::by(address),
        };
        match carried {
            Carried::Nothing => self.own_reach(address),
            Carried::Instead(inner) => self.narrowest(&inner),
            Carried::Besides(inner) => {
                let outer = self.own_reach(address)?;
                Ok(outer.min(self.narrowest(&[inner])?))
            }
        }
    }

    fn narrowest(&self, addresses: &[Ipv4Addr]) -> Result<Reach, Refusal> {
        addresses.iter().try_fold(Reach::Allowed, |reach, address| {
            Ok(reach.min(self.own_reach((*address).into())?))
        })
    }

    fn own_reach(&self, address: IpAddr) -> Result<Reach, Refusal> {
        if special::is_metadata(address) {
            return Err(Refusal::Metadata { address });
        }
        if self.allow_networks.iter().any(|net| net.contains(&address)) {
            return Ok(Reach::Allowed);
        }
        match special::kind(address) {
            Some(kind) => Err(Refusal::NotGlobal { address, kind }),
            None => Ok(Reach::Global),
        }
    }
}
