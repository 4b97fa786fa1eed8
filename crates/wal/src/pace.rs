//! Decides when the server is told where we are. Pure: the clock is a parameter.

use std::time::Duration;

use activity::Lsn;
use tokio::time::Instant;

/// The least time between two status updates: eight a second at most.
const SPACING: Duration = Duration::from_millis(125);
/// The most time between two, whatever the server's patience is.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The most time between two status updates to a server of this `wal_sender_timeout`; `None` where it is off.
/// Whoever is silent for longer stands still.
pub fn spacing(timeout: Option<Duration>) -> Duration {
    let third = timeout.map_or(SILENCE_MAX, |timeout| timeout / 3);
    third.clamp(SPACING, SILENCE_MAX)
}

#[derive(Debug)]
pub(crate) struct Pace {
    silence: Duration,
    sent_at: Instant,
    sent: Lsn,
    asked: bool,
}

impl Pace {
    /// `timeout` is the server's `wal_sender_timeout`; `None` where it is off.
    pub(crate) fn new(timeout: Option<Duration>, now: Instant) -> Self {
        Self {
            silence: spacing(timeout),
            sent_at: now,
            sent: Lsn::ZERO,
            asked: false,
        }
    }

    /// The most time between two status updates.
    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    /// The server wants to hear from us.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
    }

    /// When the next status update is due, given what could be confirmed now.
    pub(crate) fn due(&self, confirmable: Lsn) -> Instant {
        if self.asked || confirmable > self.sent {
            self.sent_at + SPACING
        } else {
            self.sent_at + self.silence
        }
    }

    pub(crate) fn sent(&mut self, confirmed: Lsn, now: Instant) {
        self.sent = confirmed;
        self.sent_at = now;
        self.asked = false;
    }

    /// The socket took nothing: what was to be said is said next time.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.sent_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn an_idle_stream_speaks_three_times_within_the_servers_patience() {
        let now = Instant::now();
        let due = |timeout| Pace::new(timeout, now).due(Lsn::ZERO) - now;
        assert_eq!(due(Some(Duration::from_secs(6))), Duration::from_secs(2));
        assert_eq!(due(MINUTE), Duration::from_secs(10));
        assert_eq!(due(None), Duration::from_secs(10));
        assert_eq!(due(Some(Duration::from_millis(1))), SPACING);
    }

    #[test]
    fn news_and_questions_are_answered_soon() {
        let now = Instant::now();
        let mut pace = Pace::new(MINUTE, now);
        assert_eq!(pace.due(Lsn::new(7)) - now, SPACING);
        pace.sent(Lsn::new(7), now);
        assert_eq!(pace.due(Lsn::new(7)) - now, SILENCE_MAX);
        pace.ask();
        assert_eq!(pace.due(Lsn::new(7)) - now, SPACING);
    }

    proptest! {
        #[test]
        fn there_are_fewer_than_ten_updates_a_second(steps in prop::collection::vec((0..30u64, any::<bool>()), 1..500)) {
            let start = Instant::now();
            let mut pace = Pace::new(Some(Duration::from_secs(2)), start);
            let (mut now, mut position, mut sent) = (start, 0, 0u32);
            for (wait, news) in steps {
                now += Duration::from_millis(wait);
                if news { position += 1 } else { pace.ask() }
                if pace.due(Lsn::new(position)) <= now {
                    pace.sent(Lsn::new(position), now);
                    sent += 1;
                }
            }
            prop_assert!(f64::from(sent) <= (now - start).as_secs_f64() * 8.0 + 1.0);
        }
    }
}
