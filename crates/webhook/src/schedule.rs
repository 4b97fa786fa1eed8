//! When a delivery is tried again. Time and randomness are parameters.

use std::time::Duration;

use jiff::Timestamp;

use crate::Outcome;
use crate::retry_after::later;

/// The share of a delay by which it is made longer or shorter, so that what failed together does
/// not come back together.
const JITTER: f64 = 0.1;

/// The delays between the attempts of one delivery: after the last one it is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    delays: Vec<Duration>,
}

impl Schedule {
    /// The delay after the first attempt, after the second, and so on. Empty: one attempt only.
    pub fn new(delays: Vec<Duration>) -> Self {
        Self { delays }
    }

    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// The delay that follows the `attempt`th attempt, from 1; `None` where it was the last.
    fn after(&self, attempt: u32) -> Option<Duration> {
        let index = usize::try_from(attempt.saturating_sub(1)).ok()?;
        self.delays.get(index).copied()
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    /// Try again at this time, never before now.
    RetryAt(Timestamp),
    /// The schedule is used up.
    Dead,
    /// The subscriber is gone for good (410): nothing more goes to this endpoint.
    Disable,
}

/// Decides what follows the `attempt`th attempt (from 1), just made.
///
/// 2xx delivers, 410 disables, anything else is tried again as the schedule says, ±10 % by
/// `random` in 0..1. A `Retry-After` beside 429, 502, 503 or 504 can put the time off, by
/// [`RETRY_AFTER_MAX`](crate::RETRY_AFTER_MAX) at most, and never brings it forward.
pub fn next(
    attempt: u32,
    outcome: &Outcome,
    schedule: &Schedule,
    now: Timestamp,
    random: f64,
) -> Next {
    let asked = match outcome {
        Outcome::Answered {
            status: 200..=299, ..
        } => return Next::Delivered,
        Outcome::Answered { status: 410, .. } => return Next::Disable,
        Outcome::Answered {
            status: 429 | 502..=504,
            retry_after,
            ..
        } => retry_after.map(|asked| asked.time(now)),
        Outcome::Answered { .. } | Outcome::Failed { .. } => None,
    };
    match schedule.after(attempt) {
        None => Next::Dead,
        Some(delay) => {
            let scheduled = later(now, jittered(delay, random));
            Next::RetryAt(asked.map_or(scheduled, |asked| asked.max(scheduled)))
        }
    }
}

fn jittered(delay: Duration, random: f64) -> Duration {
    let factor = 1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0);
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FailureKind, RETRY_AFTER_MAX, RetryAfter};
    use jiff::SignedDuration;
    use proptest::prelude::*;

    fn answered(status: u16, retry_after: Option<RetryAfter>) -> Outcome {
        Outcome::Answered {
            status,
            excerpt: String::new(),
            retry_after,
        }
    }

    fn schedule(seconds: &[u64]) -> Schedule {
        Schedule::new(seconds.iter().copied().map(Duration::from_secs).collect())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const NOW: i64 = 1_700_000_000;

    fn after(attempt: u32, outcome: &Outcome) -> Next {
        next(attempt, outcome, &schedule(&[5, 300]), at(NOW), 0.5)
    }

    #[test]
    fn every_2xx_delivers_and_nothing_else_does() {
        for status in 100..600 {
            let delivered = after(1, &answered(status, None)) == Next::Delivered;
            assert_eq!(delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_410_disables_on_whatever_attempt() {
        assert_eq!(after(1, &answered(410, None)), Next::Disable);
        assert_eq!(after(99, &answered(410, None)), Next::Disable);
    }

    #[test]
    fn a_failure_takes_the_delay_of_its_attempt_until_there_is_none() {
        let failed = Outcome::Failed {
            kind: FailureKind::Timeout,
            detail: String::new(),
        };
        for outcome in [failed, answered(302, None), answered(500, None)] {
            assert_eq!(after(1, &outcome), Next::RetryAt(at(NOW + 5)));
            assert_eq!(after(2, &outcome), Next::RetryAt(at(NOW + 300)));
            assert_eq!(after(3, &outcome), Next::Dead);
            assert_eq!(after(u32::MAX, &outcome), Next::Dead);
        }
    }

    #[test]
    fn retry_after_counts_beside_the_statuses_that_mean_it() {
        let asked = Some(RetryAfter::Delay(Duration::from_secs(60)));
        for status in 300..600 {
            let expected = match status {
                410 => Next::Disable,
                429 | 502 | 503 | 504 => Next::RetryAt(at(NOW + 60)),
                _ => Next::RetryAt(at(NOW + 5)),
            };
            assert_eq!(after(1, &answered(status, asked)), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_does_not_revive_a_delivery_that_is_given_up() {
        let asked = Some(RetryAfter::Delay(Duration::from_secs(60)));
        assert_eq!(after(3, &answered(503, asked)), Next::Dead);
    }

    #[test]
    fn randomness_that_is_no_number_leaves_the_delay_as_it_is() {
        let next = next(1, &answered(500, None), &schedule(&[5]), at(NOW), f64::NAN);
        assert_eq!(next, Next::RetryAt(at(NOW + 5)));
    }

    fn retry_after() -> impl Strategy<Value = Option<RetryAfter>> {
        prop_oneof![
            Just(None),
            any::<u64>().prop_map(|s| Some(RetryAfter::Delay(Duration::from_secs(s)))),
            (0..500_000u64).prop_map(|s| Some(RetryAfter::Delay(Duration::from_secs(s)))),
            (0..4_000_000_000i64).prop_map(|s| Some(RetryAfter::At(at(s)))),
        ]
    }

    proptest! {
        #[test]
        fn a_retry_is_within_its_window(
            attempt in 0..12u32, status in 100..600u16, asked in retry_after(),
            seconds in proptest::collection::vec(0..1_000_000u64, 0..10), random in 0.0..1.0,
        ) {
            let (schedule, now) = (schedule(&seconds), at(NOW));
            let plain = next(attempt, &answered(500, None), &schedule, now, random);
            let Next::RetryAt(time) = next(attempt, &answered(status, asked), &schedule, now, random)
            else {
                return Ok(());
            };
            let delay = schedule.delays[attempt.saturating_sub(1) as usize];
            let delay = SignedDuration::try_from(delay).unwrap();
            let Next::RetryAt(plain) = plain else { panic!("the schedule has a delay") };
            prop_assert!(time >= now, "never goes back in time");
            prop_assert!(time >= plain, "Retry-After only delays");
            let latest = (delay * 11 / 10).max(SignedDuration::try_from(RETRY_AFTER_MAX).unwrap());
            let rounding = SignedDuration::from_micros(1);
            prop_assert!(time.duration_since(now) <= latest + rounding, "the cap holds");
            prop_assert!(plain.duration_since(now) + rounding >= delay * 9 / 10);
        }

        /// A whole life: each attempt is made when it is due and fails at once.
        #[test]
        fn a_delivery_is_given_up_within_its_window_and_its_attempts_never_go_back(
            seconds in proptest::collection::vec(0..1_000_000u64, 0..12),
            answers in proptest::collection::vec((300..600u16, retry_after(), 0.0..1.0), 13),
        ) {
            let schedule = schedule(&seconds);
            let begun = at(NOW);
            let day = SignedDuration::try_from(RETRY_AFTER_MAX).unwrap();
            let rounding = SignedDuration::from_micros(1);
            let (mut now, mut window) = (begun, SignedDuration::ZERO);
            for (attempt, (status, asked, random)) in (1..).zip(answers) {
                match next(attempt, &answered(status, asked), &schedule, now, random) {
                    Next::RetryAt(time) => {
                        let delay = SignedDuration::from_secs(seconds[attempt as usize - 1] as i64);
                        let asked = asked.map_or(SignedDuration::ZERO, |_| day);
                        window += (delay * 11 / 10).max(asked) + rounding;
                        prop_assert!(time >= now, "never goes back in time");
                        prop_assert!(time.duration_since(begun) <= window, "the window holds");
                        prop_assert!(attempt as usize <= seconds.len());
                        now = time;
                    }
                    Next::Dead => {
                        prop_assert_eq!(attempt as usize, seconds.len() + 1);
                        break;
                    }
                    Next::Disable => {
                        prop_assert_eq!(status, 410);
                        break;
                    }
                    Next::Delivered => prop_assert!(false, "{} delivers nothing", status),
                }
            }
        }

        #[test]
        fn no_delay_and_no_time_overflows(
            delay in any::<u64>(), random in any::<f64>(), asked in retry_after(),
            now in -377_705_023_201i64..253_402_207_200,
        ) {
            let now = at(now);
            let schedule = Schedule::new(vec![Duration::from_secs(delay)]);
            let next = next(1, &answered(503, asked), &schedule, now, random);
            prop_assert!(matches!(next, Next::RetryAt(time) if time >= now));
        }
    }
}
