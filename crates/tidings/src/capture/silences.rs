use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Each silence makes the next session twice as patient, so many times: 16 minutes at most.
const DOUBLINGS_MAX: u32 = 5;
/// Twice what a session bears that is as patient as usual.
const OUTLIVED: Duration = Duration::from_secs(60);

/// How often in a row the server has been silent for too long. A server that decodes a large transaction
/// of which it sends nothing is silent too, and begins anew with each session: it must get through in the
/// end.
#[derive(Debug, Default)]
pub struct Silences(AtomicU32);

impl Silences {
    /// How many times as long as usual the next session bears a silence.
    pub(super) fn patience(&self) -> u32 {
        1 << self.doublings()
    }

    pub(super) fn another(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was confirmed in a session that began then. One that is young may be about to fall silent
    /// where the last one did.
    pub(super) fn outlived(&self, began: Instant, now: Instant) {
        if now.saturating_duration_since(began) > OUTLIVED * self.patience() {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn doublings(&self) -> u32 {
        self.0.load(Ordering::Relaxed).min(DOUBLINGS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_silence_doubles_the_patience_until_a_session_outlives_it() {
        let silences = Silences::default();
        for patience in [1, 2, 4, 8, 16, 32, 32] {
            assert_eq!(silences.patience(), patience);
            silences.another();
        }
        let began = Instant::now();
        silences.outlived(began, began + OUTLIVED * 31);
        assert_eq!(silences.patience(), 32, "it is young");
        silences.outlived(began, began + OUTLIVED * 33);
        assert_eq!(silences.patience(), 1);
    }
}
