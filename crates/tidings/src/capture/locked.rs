//! Refused rows that wait for a lock of somebody's, and when each is tried next. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a row is let be that was found locked; doubles from the first to the last.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Locked(HashMap<i64, (Instant, Duration)>);

impl Locked {
    /// Whether the time of this row of the quarantine has not come yet.
    pub(super) fn waits(&self, id: i64, now: Instant) -> bool {
        self.0.get(&id).is_some_and(|(until, _)| *until > now)
    }

    /// It was found locked.
    pub(super) fn again(&mut self, id: i64, now: Instant) {
        let pause = match self.0.get(&id) {
            Some((_, pause)) => pause.saturating_mul(2).min(PAUSE_MAX),
            None => PAUSE,
        };
        self.0.insert(id, (now + pause, pause));
    }

    /// It waits for nobody any more.
    pub(super) fn free(&mut self, id: i64) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_row_is_let_be_for_longer_each_time_until_it_is_free() {
        let (mut locked, mut now) = (Locked::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(!locked.waits(7, now));
            locked.again(7, now);
            assert!(locked.waits(7, now) && !locked.waits(8, now));
            now += Duration::from_secs(seconds);
        }
        locked.again(7, now);
        locked.free(7);
        assert!(!locked.waits(7, now));
        locked.again(7, now);
        assert!(!locked.waits(7, now + PAUSE));
    }
}
