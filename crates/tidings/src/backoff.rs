use std::time::Duration;

/// Pauses between tries: each twice the last up to a cap, varied so that many do not come at once.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    /// How often the pause has doubled.
    doublings: u32,
    tries: u32,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            doublings: 0,
            tries: 0,
        }
    }

    /// The next pause; `random` in 0..1 takes it down by up to a half.
    pub fn next(&mut self, random: f64) -> Duration {
        let pause = self
            .first
            .saturating_mul(1 << self.doublings.min(16))
            .min(self.cap);
        self.doublings = self.doublings.saturating_add(1);
        self.tries = self.tries.saturating_add(1);
        pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// How many pauses there were since the last try that worked.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// A try that worked: the next pause is the first one again.
    pub fn reset(&mut self) {
        (self.doublings, self.tries) = (0, 0);
    }

    /// A try that did not work, and took so long: one that took longer than any pause needs none.
    pub fn took(&mut self, time: Duration) {
        if time >= self.cap {
            self.doublings = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_the_cap_and_stay_there(randoms in prop::collection::vec(0.0..1.0, 1..80)) {
            let (first, cap) = (Duration::from_millis(50), Duration::from_secs(5));
            let mut backoff = Backoff::new(first, cap);
            let mut least = first / 2;
            for random in randoms {
                let pause = backoff.next(random);
                prop_assert!(pause >= least.min(cap / 2) && pause <= cap);
                least = (least * 2).min(cap / 2);
            }
            let tries = backoff.tries();
            backoff.took(cap - Duration::from_millis(1));
            prop_assert!(tries < 20 || backoff.next(0.0) == cap);
            backoff.took(cap);
            prop_assert!(backoff.next(0.0) == first && backoff.tries() > tries);
            backoff.reset();
            prop_assert!(backoff.next(0.0) == first && backoff.tries() == 1);
        }
    }
}
