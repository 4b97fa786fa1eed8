//! The HTTP clients: one for each passage, and one for each client certificate in use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use rustls::RootCertStore;

use crate::credentials::Fingerprint;
use crate::guard::Passage;
use crate::resolver::{GuardedResolver, Lookups};
use crate::{ClientCertificate, Error, Guard, SenderSettings, client};

/// Clients with a certificate that are kept: each has connections of its own.
const CERTIFIED_MAX: usize = 256;
/// After this long without a request a client with a certificate is let go, and its key with it.
const CERTIFIED_IDLE: Duration = Duration::from_secs(10 * 60);

pub(crate) struct Clients {
    guard: Guard,
    roots: Arc<RootCertStore>,
    lookups: Arc<Lookups>,
    settings: SenderSettings,
    open: Client,
    plain_http: Client,
    other_port: Client,
    certified: Mutex<Certified<Client>>,
}

impl Clients {
    pub(crate) fn new(
        guard: Guard,
        roots: RootCertStore,
        lookups: Lookups,
        settings: &SenderSettings,
    ) -> Result<Self, Error> {
        let (roots, lookups) = (Arc::new(roots), Arc::new(lookups));
        let tls = client::tls(Arc::clone(&roots), None)?;
        let client = |passage| {
            let resolver = GuardedResolver {
                guard: guard.clone(),
                passage,
                lookups: Arc::clone(&lookups),
            };
            client::client(resolver, tls.clone(), settings)
        };
        Ok(Self {
            open: client(Passage::Open)?,
            plain_http: client(Passage::PlainHttp)?,
            other_port: client(Passage::OtherPort)?,
            certified: Mutex::default(),
            settings: settings.clone(),
            guard,
            roots,
            lookups,
        })
    }

    /// The client of this passage, which shows `certificate`. Connections under one certificate are
    /// never used for another.
    pub(crate) fn of(
        &self,
        passage: Passage,
        certificate: Option<&ClientCertificate>,
        now: Instant,
    ) -> Result<Client, Error> {
        match (passage, certificate) {
            (Passage::PlainHttp, _) => Ok(self.plain_http.clone()),
            (Passage::Open, None) => Ok(self.open.clone()),
            (Passage::OtherPort, None) => Ok(self.other_port.clone()),
            (Passage::Open | Passage::OtherPort, Some(certificate)) => {
                let place = (certificate.fingerprint(), passage);
                let mut certified = self.certified.lock().expect("no holder panics");
                certified.of(place, now, || self.showing(certificate, passage))
            }
        }
    }

    fn showing(&self, certificate: &ClientCertificate, passage: Passage) -> Result<Client, Error> {
        let tls = client::tls(Arc::clone(&self.roots), Some(certificate))?;
        let resolver = GuardedResolver {
            guard: self.guard.clone(),
            passage,
            lookups: Arc::clone(&self.lookups),
        };
        client::client(resolver, tls, &self.settings)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

type Place = (Fingerprint, Passage);

/// What is held for certificates, with the time of its last use.
struct Certified<C>(HashMap<Place, (C, Instant)>);

impl<C> Default for Certified<C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C: Clone> Certified<C> {
    /// What is held at this place, or what `make` makes for it. Lets go of what was not used for long,
    /// and of what was used the longest ago where there is too much.
    fn of<E>(
        &mut self,
        place: Place,
        now: Instant,
        make: impl FnOnce() -> Result<C, E>,
    ) -> Result<C, E> {
        self.0
            .retain(|_, (_, used)| now.saturating_duration_since(*used) < CERTIFIED_IDLE);
        if let Some((held, used)) = self.0.get_mut(&place) {
            *used = now;
            return Ok(held.clone());
        }
        let made = make()?;
        if self.0.len() >= CERTIFIED_MAX {
            let oldest = self.0.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(place, _)| *place) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(place, (made.clone(), now));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Place {
        (Fingerprint::of_number(number), Passage::Open)
    }

    /// What is held at a place, or its number.
    fn take(certified: &mut Certified<usize>, number: usize, now: Instant, made: usize) -> usize {
        let held = certified.of(place(number), now, || Ok::<_, Error>(made));
        held.unwrap()
    }

    #[test]
    fn a_certificate_keeps_its_client_while_it_is_used() {
        let (mut certified, mut now) = (Certified::default(), Instant::now());
        for made in 0..5 {
            assert_eq!(take(&mut certified, 1, now, made), 0);
            now += CERTIFIED_IDLE - Duration::from_secs(1);
        }
        assert_eq!(take(&mut certified, 1, now + CERTIFIED_IDLE, 7), 7);
        assert_eq!(certified.0.len(), 1);
    }

    #[test]
    fn there_are_never_too_many_and_the_longest_unused_goes_first() {
        let (mut certified, began) = (Certified::default(), Instant::now());
        let at = |number: usize| began + Duration::from_millis(number as u64);
        for number in 0..CERTIFIED_MAX + 10 {
            take(&mut certified, number, at(number), number);
            // Kept by its use.
            take(&mut certified, 0, at(number), 1000);
            assert!(certified.0.len() <= CERTIFIED_MAX);
        }
        let end = at(CERTIFIED_MAX + 10);
        assert_eq!(take(&mut certified, 0, end, 1000), 0);
        assert!(!certified.0.contains_key(&place(1)));
        assert!(certified.0.contains_key(&place(CERTIFIED_MAX + 9)));
    }

    #[test]
    fn passages_of_one_certificate_share_no_client() {
        let (mut certified, now) = (Certified::default(), Instant::now());
        let other = (Fingerprint::of_number(1), Passage::OtherPort);
        take(&mut certified, 1, now, 1);
        let made = certified.of(other, now, || Ok::<_, Error>(2)).unwrap();
        assert_eq!((made, take(&mut certified, 1, now, 3)), (2, 1));
    }
}
