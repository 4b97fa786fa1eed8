//! When and how many at once: rate, breaker, what the endpoint asked for, and our own network.
//! What these put off uses up no attempt.

use std::time::{Duration, Instant};

use store::endpoints::Rate;

use super::breaker::{Admission, Breaker, BreakerChange, BreakerSettings};
use super::rate::Bucket;
use super::verdict::Verdict;

/// How long nothing is sent after a fault of our own network; doubles from the first to the last.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Gate {
    rate: Option<Rate>,
    bucket: Option<Bucket>,
    breaker: Breaker,
    /// At most so many at once, where the endpoint asked for less than its limit.
    places: Option<usize>,
    /// It asked for nothing before this.
    asked_until: Option<Instant>,
    /// Our own network is let be until then, and how long that was.
    pause: Option<(Instant, Duration)>,
    /// Since when every attempt has met with a fault of our own network.
    cut_off: Option<Instant>,
}

impl Gate {
    pub fn new(rate: Option<Rate>, breaker: BreakerSettings) -> Self {
        Self {
            rate,
            bucket: rate.map(Bucket::new),
            breaker: Breaker::new(breaker),
            places: None,
            asked_until: None,
            pause: None,
            cut_off: None,
        }
    }

    /// Takes other settings. A bucket stays as empty as it is unless its rate is another.
    pub fn set(&mut self, rate: Option<Rate>, breaker: BreakerSettings) {
        if rate != self.rate {
            (self.rate, self.bucket) = (rate, rate.map(Bucket::new));
        }
        self.breaker.set(breaker);
    }

    /// How many may be under way, of a limit of `in_flight_max`.
    pub fn places(&self, in_flight_max: usize) -> usize {
        self.places
            .map_or(in_flight_max, |places| places.clamp(1, in_flight_max))
    }

    pub fn admission(&self, now: Instant) -> Admission {
        let waits = [
            self.bucket.and_then(|bucket| bucket.opens_at(now)),
            self.asked_until.filter(|until| *until > now),
            self.pause
                .map(|(until, _)| until)
                .filter(|until| *until > now),
        ];
        let latest = waits.into_iter().flatten().max();
        match (self.breaker.admission(now), latest) {
            (Admission::Later, _) => Admission::Later,
            (Admission::At(until), Some(latest)) => Admission::At(until.max(latest)),
            (Admission::At(until), None) | (Admission::Now, Some(until)) => Admission::At(until),
            (Admission::Now, None) => Admission::Now,
        }
    }

    /// Since when every attempt has met with a fault of our own network.
    pub fn cut_off(&self) -> Option<Instant> {
        self.cut_off
    }

    /// An attempt begins.
    pub fn sent(&mut self, now: Instant) {
        self.breaker.sent();
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
    }

    /// An attempt is over. `in_flight_max` is the limit of the endpoint, `random` in 0..1.
    pub fn over(
        &mut self,
        verdict: Verdict,
        in_flight_max: usize,
        now: Instant,
        random: f64,
    ) -> Option<BreakerChange> {
        if verdict != Verdict::OwnNetwork && verdict != Verdict::Unsent {
            (self.pause, self.cut_off) = (None, None);
        }
        match verdict {
            Verdict::Delivered => {
                self.places = self
                    .places
                    .map(|places| places + 1)
                    .filter(|places| *places < in_flight_max);
                self.breaker.succeeded()
            }
            Verdict::Fault | Verdict::Gone => self.breaker.failed(now, random),
            Verdict::SlowDown { wait: Some(wait) } => {
                let until = now + wait;
                self.asked_until = Some(self.asked_until.map_or(until, |asked| asked.max(until)));
                self.breaker.learned_nothing(now);
                None
            }
            Verdict::SlowDown { wait: None } => {
                self.places = Some((self.places(in_flight_max) / 2).max(1));
                self.breaker.failed(now, random)
            }
            Verdict::OwnNetwork => {
                self.cut_off.get_or_insert(now);
                self.pause_longer(now);
                self.breaker.learned_nothing(now);
                None
            }
            Verdict::Unsent => {
                self.breaker.learned_nothing(now);
                None
            }
        }
    }

    /// What was under way when the last pause began fails with it, and does not count again.
    fn pause_longer(&mut self, now: Instant) {
        let length = match self.pause {
            None => PAUSE,
            Some((until, length)) if until <= now => length.saturating_mul(2).min(PAUSE_MAX),
            Some(_) => return,
        };
        self.pause = Some((now + length, length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKER: BreakerSettings = BreakerSettings {
        failures: 5,
        cooldown: Duration::from_secs(30),
        cooldown_max: Duration::from_secs(600),
    };
    const BUSY: Verdict = Verdict::SlowDown { wait: None };

    fn at(seconds: u64, now: Instant) -> Admission {
        Admission::At(now + Duration::from_secs(seconds))
    }

    #[test]
    fn a_slow_down_halves_the_places_and_each_success_gives_one_back() {
        let (mut gate, now) = (Gate::new(None, BREAKER), Instant::now());
        let after = |gate: &mut Gate, verdict| {
            gate.over(verdict, 10, now, 0.5);
            gate.places(10)
        };
        assert_eq!(
            [BUSY; 3].map(|verdict| after(&mut gate, verdict)),
            [5, 2, 1]
        );
        assert_eq!(after(&mut gate, BUSY), 1, "never below one");
        let grown: Vec<usize> = (0..11)
            .map(|_| after(&mut gate, Verdict::Delivered))
            .collect();
        assert_eq!(grown, [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]);
    }

    #[test]
    fn what_the_endpoint_asked_for_holds_the_lane_and_opens_no_breaker() {
        let (mut gate, now) = (Gate::new(None, BREAKER), Instant::now());
        for seconds in [7, 60, 5, 5, 5, 5, 5] {
            let wait = Some(Duration::from_secs(seconds));
            gate.over(Verdict::SlowDown { wait }, 10, now, 0.5);
        }
        assert_eq!(gate.admission(now), at(60, now));
        assert_eq!(gate.places(10), 10);
        assert_eq!(
            gate.admission(now + Duration::from_secs(60)),
            Admission::Now
        );
    }

    #[test]
    fn faults_of_our_own_network_pause_for_longer_and_longer_and_open_no_breaker() {
        let (mut gate, mut now) = (Gate::new(None, BREAKER), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            // A whole handful was under way.
            for _ in 0..10 {
                gate.over(Verdict::OwnNetwork, 10, now, 0.5);
            }
            assert_eq!(gate.admission(now), at(seconds, now));
            now += Duration::from_secs(seconds);
            assert_eq!(gate.admission(now), Admission::Now);
        }
        gate.over(Verdict::Fault, 10, now, 0.5);
        gate.over(Verdict::OwnNetwork, 10, now, 0.5);
        assert_eq!(
            gate.admission(now),
            at(1, now),
            "an answer of any kind ends it"
        );
    }

    #[test]
    fn the_longest_wait_counts() {
        let rate = Some(Rate {
            attempts: 1,
            seconds: 40,
        });
        let (mut gate, now) = (Gate::new(rate, BREAKER), Instant::now());
        gate.sent(now);
        for _ in 0..5 {
            gate.over(Verdict::Fault, 10, now, 0.5);
        }
        assert_eq!(gate.admission(now), at(40, now));
        let wait = Some(Duration::from_secs(50));
        gate.over(Verdict::SlowDown { wait }, 10, now, 0.5);
        assert_eq!(gate.admission(now), at(50, now));
    }
}
