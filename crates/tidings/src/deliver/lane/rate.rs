//! A token bucket: so many attempts at once, and as many again over its seconds.

use std::time::{Duration, Instant};

use store::endpoints::Rate;

/// Kept as one moment, the theoretical arrival time of GCRA (ITU-T I.371, annex A): until when the
/// tokens that are taken last. A full bucket's lies in the past.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// From one token to the next.
    interval: Duration,
    /// How far ahead of now `taken_to` may lie for one more to be taken.
    tolerance: Duration,
    taken_to: Option<Instant>,
}

impl Bucket {
    /// A full one. What asks for no attempts or no time is taken for one.
    pub fn new(rate: Rate) -> Self {
        let attempts = rate.attempts.max(1);
        let interval = Duration::from_secs(rate.seconds.max(1).into()) / attempts;
        Self {
            interval,
            tolerance: interval * (attempts - 1),
            taken_to: None,
        }
    }

    /// When a token may be taken; `None`: now.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        let at = self.taken_to?.checked_sub(self.tolerance)?;
        (at > now).then_some(at)
    }

    /// Takes a token, whether there was one or not.
    pub fn take(&mut self, now: Instant) {
        let from = self.taken_to.map_or(now, |taken_to| taken_to.max(now));
        self.taken_to = Some(from + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_bucket_gives_all_its_tokens_at_once_and_then_one_by_one() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Rate {
            attempts: 3,
            seconds: 6,
        });
        for _ in 0..3 {
            assert_eq!(bucket.opens_at(now), None);
            bucket.take(now);
        }
        assert_eq!(bucket.opens_at(now), Some(now + Duration::from_secs(2)));
        assert_eq!(bucket.opens_at(now + Duration::from_secs(2)), None);
    }

    proptest! {
        /// The model counts tokens, in whole microseconds: as many as there are attempts, filled
        /// evenly.
        #[test]
        fn a_bucket_gives_what_a_count_of_tokens_would(
            attempts in 1..20u32, seconds in 1..20u32,
            gaps in prop::collection::vec(0..3_000_000u64, 1..100),
        ) {
            // A round interval: the model has no fractions.
            let (attempts, seconds) = (attempts, attempts * seconds);
            let mut bucket = Bucket::new(Rate { attempts, seconds });
            let per_token = u64::from(seconds / attempts) * 1_000_000;
            let full = u64::from(attempts) * per_token;
            let (mut level, mut now) = (full, Instant::now());
            for gap in gaps {
                now += Duration::from_micros(gap);
                level = (level + gap).min(full);
                prop_assert_eq!(bucket.opens_at(now).is_none(), level >= per_token);
                if let Some(at) = bucket.opens_at(now) {
                    let missing = Duration::from_micros(per_token - level);
                    prop_assert_eq!(at, now + missing, "says when it may be asked again");
                } else {
                    bucket.take(now);
                    level -= per_token;
                }
            }
        }
    }
}
