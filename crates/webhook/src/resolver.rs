use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::{Guard, Scheme};

/// How many names are looked up at the same time. The system's resolver holds a thread for each,
/// for up to half a minute where a name server is silent.
const LOOKUPS_MAX: usize = 64;

/// Resolves names by the system's resolver, and refuses a name with any address that the guard
/// refuses.
///
/// The connection is made to the very addresses that were checked, so a name that changes its
/// address between two lookups gains nothing.
pub(crate) struct GuardedResolver {
    guard: Guard,
    scheme: Scheme,
    lookups: Arc<Semaphore>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Guard, scheme: Scheme) -> Self {
        Self {
            guard,
            scheme,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let scheme = self.scheme;
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            // The permit goes with the thread, which outlives a request that gave up.
            let permit = lookups.acquire_owned().await?;
            let lookup = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            });
            let addresses: Vec<SocketAddr> = lookup.await??.collect();
            for address in &addresses {
                guard.check(scheme, address.ip())?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").finish_non_exhaustive()
    }
}
