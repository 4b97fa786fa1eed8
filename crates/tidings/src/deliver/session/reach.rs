//! Whose fault it is that an endpoint can not be reached: our own network's, as long as it reaches
//! nobody else either. Pure.

use std::time::{Duration, Instant};

use crate::deliver::lane::Verdict;

/// How long a fault that looks like our own network's is one, though others are reached: an address of a
/// kind that this machine has no route to is the endpoint's to mend.
const EXCUSED_MAX: Duration = Duration::from_secs(10 * 60);

/// When anybody was last reached.
#[derive(Debug, Default)]
pub(super) struct Reach(Option<Instant>);

impl Reach {
    pub(super) fn met(&mut self, verdict: Verdict, now: Instant) {
        if !matches!(verdict, Verdict::OwnNetwork | Verdict::Unsent) {
            self.0 = Some(now);
        }
    }

    /// Whether the next such fault of an endpoint uses up no attempt. `cut_off` is since when it has met
    /// with nothing else.
    pub(super) fn excuses(&self, cut_off: Option<Instant>, now: Instant) -> bool {
        let Some(since) = cut_off else {
            return true;
        };
        let others = self.0.is_some_and(|reached| reached > since);
        !others || now.saturating_duration_since(since) < EXCUSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_excused_while_nobody_is_reached_and_for_a_while_where_others_are() {
        let (mut reach, began) = (Reach::default(), Instant::now());
        let at = |minutes: u64| began + Duration::from_secs(60 * minutes);
        assert!(reach.excuses(None, at(0)));
        reach.met(Verdict::Delivered, at(0));
        reach.met(Verdict::OwnNetwork, at(60));
        let since = Some(at(1));
        assert!(reach.excuses(since, at(60)), "nobody was reached since");
        reach.met(Verdict::Fault, at(5));
        assert!(reach.excuses(since, at(10)));
        assert!(!reach.excuses(since, at(11)));
        assert!(reach.excuses(None, at(11)), "it was reached meanwhile");
    }
}
