//! The guard against server-side request forgery: which addresses a notification may go to.
//!
//! Pure: an address goes in, leave or a [`Refusal`] comes out. What is not globally routable is
//! refused unless `allow_networks` contains it; plain http needs `allow_networks` in any case; an
//! address that carries an IPv4 address is judged by what it carries; the addresses where clouds
//! hand out credentials are refused always.

mod carried;
mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::Scheme;
use carried::Carried;

/// Decides whether a notification may go to an address.
#[derive(Clone, Debug)]
pub struct Guard {
    allow_networks: Arc<[IpNet]>,
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
    pub fn new(allow_networks: impl Into<Arc<[IpNet]>>) -> Self {
        let allow_networks = allow_networks.into();
        Self { allow_networks }
    }

    /// Gives leave to send to `address` over `scheme`.
    ///
    /// # Errors
    /// Why not. The address named is the IPv4 one where that is carried inside and at fault.
    pub fn check(&self, scheme: Scheme, address: IpAddr) -> Result<(), Refusal> {
        match (self.reach(address)?, scheme) {
            (Reach::Allowed, _) | (Reach::Global, Scheme::Https) => Ok(()),
            (Reach::Global, Scheme::Http) => Err(Refusal::PlainHttp { address }),
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
