//! Notices a server that says nothing though it was asked to. Pure: the clock is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Of the time between two status updates: so many of them are left without an answer.
const UNANSWERED: u32 = 3;

#[derive(Debug)]
pub(crate) struct Silence {
    /// From then on the server is asked for an answer.
    asks_after: Duration,
    ends_after: Duration,
    heard_at: Instant,
}

impl Silence {
    /// `spacing` is the most time between two status updates, `patience` how many times as long as usual
    /// the server may be silent.
    pub(crate) fn new(spacing: Duration, patience: u32, now: Instant) -> Self {
        Self {
            asks_after: spacing,
            ends_after: spacing * UNANSWERED.saturating_mul(patience.max(1)),
            heard_at: now,
        }
    }

    /// Something arrived, or nobody listened.
    pub(crate) fn broken(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Whether a status update is to ask for an answer.
    pub(crate) fn asks(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) >= self.asks_after
    }

    /// When the connection counts as lost.
    pub(crate) fn ends(&self) -> Instant {
        self.heard_at + self.ends_after
    }

    pub(crate) fn length(&self) -> Duration {
        self.ends_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_asked_before_it_counts_as_lost_and_a_patient_client_waits_longer() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut silence = Silence::new(Duration::from_secs(10), 1, began);
        assert!(!silence.asks(at(9)) && silence.asks(at(10)) && silence.asks(at(29)));
        assert_eq!(silence.ends(), at(30));
        silence.broken(at(29));
        assert!(!silence.asks(at(30)));
        assert_eq!(silence.ends(), at(59));
        let patient = Silence::new(Duration::from_secs(10), 4, began);
        assert_eq!(patient.ends(), at(120));
    }
}
