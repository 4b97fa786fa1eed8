//! Names to addresses, by the system's resolver, under the guard.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::Guard;
use crate::failure::LookupFailure;
use crate::guard::Passage;
use crate::latency::Stopwatch;

/// How many names are looked up at the same time. The system's resolver holds a thread for each,
/// for up to half a minute where a name server is silent.
const LOOKUPS_MAX: usize = 64;
/// How many of them may be for one name: a silent name server holds up its own names only.
const LOOKUPS_OF_NAME_MAX: usize = 2;
/// Names that are remembered before those without a lookup under way are forgotten.
const NAMES_MAX: usize = 1024;

type Lookup = dyn Fn(&str) -> Result<Vec<IpAddr>, LookupFailure> + Send + Sync;

/// The lookups of every client together, and their limits.
pub(crate) struct Lookups {
    lookup: Box<Lookup>,
    all: Arc<Semaphore>,
    names: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Lookups {
    pub(crate) fn by_system() -> Self {
        Self::by(|name| {
            let found = dns_lookup::lookup_host(name)?;
            Ok(found.collect())
        })
    }

    /// By anything that finds addresses, on a thread that may block.
    pub(crate) fn by(
        lookup: impl Fn(&str) -> Result<Vec<IpAddr>, LookupFailure> + Send + Sync + 'static,
    ) -> Self {
        Self {
            lookup: Box::new(lookup),
            all: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            names: Mutex::default(),
        }
    }

    fn of_name(&self, name: &str) -> Arc<Semaphore> {
        let mut names = self.names.lock().expect("no holder panics");
        if names.len() >= NAMES_MAX {
            names.retain(|_, lookups| lookups.available_permits() < LOOKUPS_OF_NAME_MAX);
        }
        let lookups = names
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(LOOKUPS_OF_NAME_MAX)));
        Arc::clone(lookups)
    }
}

/// Refuses a name with any address that the guard refuses.
///
/// The connection is made to the very addresses that were checked, so a name that changes its
/// address between two lookups gains nothing.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) guard: Guard,
    pub(crate) passage: Passage,
    pub(crate) lookups: Arc<Lookups>,
}

impl GuardedResolver {
    async fn addresses(
        self,
        name: Name,
    ) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
        let lookups = self.lookups;
        let of_name = lookups.of_name(name.as_str());
        // The permits go with the thread, which outlives a request that gave up.
        let permits = (
            of_name.acquire_owned().await?,
            Arc::clone(&lookups.all).acquire_owned().await?,
        );
        let lookup = tokio::task::spawn_blocking(move || {
            let _permits = permits;
            let addresses = (lookups.lookup)(name.as_str())?;
            for address in &addresses {
                self.guard.check(self.passage, *address)?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(routed(addresses))
        });
        let addresses = lookup.await??;
        let sockets = addresses.into_iter().map(|it| SocketAddr::new(it, 0));
        Ok(Box::new(sockets))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        let stopwatch = Stopwatch::current();
        Box::pin(async move {
            if let Some(stopwatch) = &stopwatch {
                stopwatch.looking_up(Instant::now());
            }
            let addresses = resolver.addresses(name).await;
            if let Some(stopwatch) = &stopwatch {
                stopwatch.looked_up(Instant::now());
            }
            addresses
        })
    }
}

/// Of addresses of both families those that this machine has a route to; all where it has none.
///
/// Else a host without IPv6 would say of an endpoint that refused it by IPv4, "network unreachable".
fn routed(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let both = addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
    if !both {
        return addresses;
    }
    let routed: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|it| has_route(*it))
        .collect();
    if routed.is_empty() { addresses } else { routed }
}

/// Connecting a UDP socket looks for a route and sends nothing.
fn has_route(address: IpAddr) -> bool {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The port is the discard service's; any would do.
    UdpSocket::bind((unspecified, 0)).is_ok_and(|socket| socket.connect((address, 9)).is_ok())
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_route_is_left_out_only_where_another_has_one() {
        let here: IpAddr = Ipv4Addr::LOCALHOST.into();
        // Of the documentation's network: no route leads there, or one that nothing answers on.
        let nowhere: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(routed(vec![nowhere]), [nowhere]);
        assert_eq!(routed(vec![here]), [here]);
        let left = routed(vec![nowhere, here]);
        assert!(left.contains(&here));
        assert_eq!(left.contains(&nowhere), has_route(nowhere));
    }
}
