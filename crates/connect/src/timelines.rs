//! The newest timeline of each cluster that this process has met.
//!
//! A promotion begins a new timeline. A primary that comes back after that, and knows nothing of it, takes
//! writes like the promoted server and looks the same from within: its slot and its progress are as they
//! were left. Only who has seen the later timeline can tell that it is behind.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::{Error, Identity};

#[derive(Debug, Default)]
pub struct Timelines(Mutex<Met>);

#[derive(Debug, Default)]
struct Met {
    /// By system identifier.
    newest: HashMap<String, Newest>,
    /// Hosts that were told of, and at what timeline.
    told: HashSet<(String, u32)>,
}

#[derive(Debug)]
struct Newest {
    timeline: u32,
    host: String,
}

impl Timelines {
    /// Takes note of a server that takes writes. A standby changes nothing and is never refused. What is
    /// refused is told in the log, once: another host may be reached instead.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if a later timeline of its cluster has been met.
    pub fn meet(&self, host: &str, server: &Identity) -> Result<(), Error> {
        let Some(timeline) = server.timeline else {
            return Ok(());
        };
        let mut met = self.0.lock().expect("no holder panics");
        let Met { newest, told } = &mut *met;
        let newest = newest
            .entry(server.system_id.clone())
            .or_insert_with(|| Newest::new(timeline, host));
        if newest.timeline < timeline {
            *newest = Newest::new(timeline, host);
        }
        if newest.timeline == timeline {
            return Ok(());
        }
        let overtaken = Error::Overtaken {
            host: host.to_owned(),
            timeline,
            newest: newest.timeline,
            at: newest.host.clone(),
        };
        if told.insert((host.to_owned(), timeline)) {
            tracing::error!("{overtaken}");
        }
        Err(overtaken)
    }
}

impl Newest {
    fn new(timeline: u32, host: &str) -> Self {
        let host = host.to_owned();
        Self { timeline, host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(system_id: &str, timeline: Option<u32>) -> Identity {
        Identity {
            system_id: system_id.to_owned(),
            timeline,
            started: "now".to_owned(),
        }
    }

    #[test]
    fn after_a_later_timeline_an_earlier_one_of_the_same_cluster_is_refused_by_name() {
        let timelines = Timelines::default();
        for (host, timeline) in [("a:1", Some(1)), ("b:1", Some(2)), ("b:1", Some(2))] {
            timelines.meet(host, &server("7", timeline)).unwrap();
        }
        let error = timelines.meet("a:1", &server("7", Some(1))).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("a:1 is on timeline 1"), "{text}");
        assert!(text.contains("b:1 is on timeline 2"), "{text}");
        timelines.meet("a:1", &server("7", Some(3))).unwrap();
        assert!(timelines.meet("b:1", &server("7", Some(2))).is_err());
    }

    #[test]
    fn standbys_and_other_clusters_are_not_compared() {
        let timelines = Timelines::default();
        timelines.meet("a:1", &server("7", Some(5))).unwrap();
        timelines.meet("b:1", &server("7", None)).unwrap();
        timelines.meet("c:1", &server("8", Some(1))).unwrap();
        timelines.meet("a:1", &server("7", Some(5))).unwrap();
    }
}
