use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::{Guard, Scheme};

/// How many names are looked up at the same time. The system's resolver holds a thread for each,
/// for up to half a minute where a name server is silent.
const LOOKUPS_MAX: usize = 64;
/// How many of them may be for one name: a silent name server holds up its own names only.
const LOOKUPS_OF_NAME_MAX: usize = 2;
/// Names that are remembered before those without a lookup under way are forgotten.
const NAMES_MAX: usize = 1024;

/// Resolves names by the system's resolver, and refuses a name with any address that the guard
/// refuses.
///
/// The connection is made to the very addresses that were checked, so a name that changes its
/// address between two lookups gains nothing.
pub(crate) struct GuardedResolver {
    guard: Guard,
    scheme: Scheme,
    lookups: Arc<Semaphore>,
    names: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl GuardedResolver {
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

    pub(crate) fn new(guard: Guard, scheme: Scheme) -> Self {
        Self {
            guard,
            scheme,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            names: Mutex::default(),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let scheme = self.scheme;
        let lookups = Arc::clone(&self.lookups);
        let of_name = self.of_name(name.as_str());
        Box::pin(async move {
            // The permits go with the thread, which outlives a request that gave up.
            let permits = (
                of_name.acquire_owned().await?,
                lookups.acquire_owned().await?,
            );
            let lookup = tokio::task::spawn_blocking(move || {
                let _permits = permits;
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
