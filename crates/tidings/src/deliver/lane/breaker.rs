//! The circuit breaker of one endpoint: where attempts only fail, it is left alone for a while.

use std::time::{Duration, Instant};

/// The share of a cooldown by which it is made longer or shorter.
const JITTER: f64 = 0.1;
/// Whatever the settings say: a time that far off can be told.
const COOLDOWN_MAX: Duration = Duration::from_hours(24 * 365);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Faults in a row that open it, at least 1.
    pub failures: u32,
    /// From its opening to the first probe.
    pub cooldown: Duration,
    /// The cooldown doubles up to here, probe by failed probe.
    pub cooldown_max: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        faults: u32,
    },
    /// No attempt before `until`; then one, the probe.
    Open {
        until: Instant,
        cooldown: Duration,
    },
    Probing {
        cooldown: Duration,
    },
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Now,
    At(Instant),
    /// Not before the outcome of what is under way.
    Later,
}

/// A change that people may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    Opened { cooldown: Duration },
    Closed,
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed { faults: 0 },
        }
    }

    /// Goes on as it is; the new numbers count from the next outcome on.
    pub fn set(&mut self, settings: BreakerSettings) {
        self.settings = settings;
    }

    pub fn admission(&self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Now,
            State::Open { until, .. } if now < until => Admission::At(until),
            State::Open { .. } => Admission::Now,
            State::Probing { .. } => Admission::Later,
        }
    }

    /// An attempt begins.
    pub fn sent(&mut self) {
        if let State::Open { cooldown, .. } = self.state {
            self.state = State::Probing { cooldown };
        }
    }

    /// The endpoint is well, whichever attempt says so.
    pub fn succeeded(&mut self) -> Option<BreakerChange> {
        let was_closed = matches!(self.state, State::Closed { .. });
        self.state = State::Closed { faults: 0 };
        (!was_closed).then_some(BreakerChange::Closed)
    }

    /// The endpoint is at fault. `random` in 0..1 spreads the probes of many endpoints.
    pub fn failed(&mut self, now: Instant, random: f64) -> Option<BreakerChange> {
        match self.state {
            State::Closed { faults } if faults + 1 < self.settings.failures => {
                self.state = State::Closed { faults: faults + 1 };
                None
            }
            State::Closed { .. } => Some(self.open(self.settings.cooldown, now, random)),
            // Made before it opened: says nothing new.
            State::Open { .. } => None,
            State::Probing { cooldown } => Some(self.open(cooldown.saturating_mul(2), now, random)),
        }
    }

    /// The attempt says nothing of the endpoint: a probe is to be made again.
    pub fn learned_nothing(&mut self, now: Instant) {
        if let State::Probing { cooldown } = self.state {
            self.state = State::Open {
                until: now,
                cooldown,
            };
        }
    }

    fn open(&mut self, cooldown: Duration, now: Instant, random: f64) -> BreakerChange {
        let cooldown = cooldown.min(self.settings.cooldown_max);
        let factor = 1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0);
        let jittered = Duration::try_from_secs_f64(cooldown.as_secs_f64() * factor);
        let jittered = jittered.unwrap_or(cooldown).min(COOLDOWN_MAX);
        self.state = State::Open {
            until: now + jittered,
            cooldown,
        };
        BreakerChange::Opened { cooldown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failures: 3,
        cooldown: Duration::from_secs(30),
        cooldown_max: Duration::from_secs(100),
    };
    const EVEN: f64 = 0.5;

    fn seconds(from: Instant, seconds: u64) -> Instant {
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_probes_reopens_for_longer_and_closes() {
        let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
        assert_eq!(breaker.failed(now, EVEN), None);
        assert_eq!(breaker.failed(now, EVEN), None);
        let mut now = now;
        for expected in [30, 60, 100, 100] {
            let cooldown = Duration::from_secs(expected);
            let change = breaker.failed(now, EVEN);
            assert_eq!(change, Some(BreakerChange::Opened { cooldown }));
            let until = seconds(now, expected);
            assert_eq!(breaker.admission(now), Admission::At(until));
            now = until;
            assert_eq!(breaker.admission(now), Admission::Now);
            breaker.sent();
            assert_eq!(
                breaker.admission(now),
                Admission::Later,
                "one probe at a time"
            );
        }
        assert_eq!(breaker.succeeded(), Some(BreakerChange::Closed));
        assert_eq!(breaker.admission(now), Admission::Now);
    }

    #[test]
    fn a_success_among_failures_keeps_it_closed() {
        let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..10 {
            breaker.failed(now, EVEN);
            breaker.failed(now, EVEN);
            breaker.succeeded();
        }
        assert_eq!(breaker.admission(now), Admission::Now);
    }

    #[test]
    fn a_probe_that_says_nothing_is_made_again() {
        let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..3 {
            breaker.failed(now, EVEN);
        }
        let now = seconds(now, 30);
        breaker.sent();
        breaker.learned_nothing(now);
        assert_eq!(breaker.admission(now), Admission::Now);
        breaker.sent();
        let change = breaker.failed(now, EVEN);
        let cooldown = Duration::from_secs(60);
        assert_eq!(change, Some(BreakerChange::Opened { cooldown }));
    }

    /// What happened so far decides everything: the model reads it from the beginning.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Wait(u64),
        Send,
        Succeed,
        Fail,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => (0..80u64).prop_map(Event::Wait),
            1 => Just(Event::Send),
            1 => Just(Event::Succeed),
            3 => Just(Event::Fail),
        ]
    }

    /// (openings since the last success, until when the last one lasts, whether its probe is out)
    fn model(events: &[(Event, u64)]) -> Option<(u64, bool)> {
        let mut open: Option<(u64, u64, bool)> = None;
        let mut faults = 0;
        for (event, at) in events {
            match (event, &mut open) {
                (Event::Wait(_), _) => {}
                (Event::Send, Some((_, until, probing))) => *probing |= at >= until,
                (Event::Send, None) => {}
                (Event::Succeed, _) => (open, faults) = (None, 0),
                (Event::Fail, None) => {
                    faults += 1;
                    if faults == SETTINGS.failures {
                        (open, faults) = (Some((30, at + 30, false)), 0);
                    }
                }
                (Event::Fail, Some((cooldown, until, probing))) if *probing => {
                    *cooldown = (*cooldown * 2).min(100);
                    (*until, *probing) = (at + *cooldown, false);
                }
                (Event::Fail, Some(_)) => {}
            }
        }
        open.map(|(_, until, probing)| (until, probing))
    }

    proptest! {
        #[test]
        fn it_does_what_its_history_says(events in prop::collection::vec(event(), 1..60)) {
            let (begin, mut at) = (Instant::now(), 0);
            let mut breaker = Breaker::new(SETTINGS);
            let mut history = Vec::new();
            for event in events {
                let now = seconds(begin, at);
                match event {
                    Event::Wait(seconds) => at += seconds,
                    Event::Send if breaker.admission(now) == Admission::Now => breaker.sent(),
                    Event::Send => {}
                    Event::Succeed => {
                        breaker.succeeded();
                    }
                    Event::Fail => {
                        breaker.failed(now, EVEN);
                    }
                }
                history.push((event, at));
                let now = seconds(begin, at);
                let expected = match model(&history) {
                    None => Admission::Now,
                    Some((_, true)) => Admission::Later,
                    Some((until, false)) if at < until => Admission::At(seconds(begin, until)),
                    Some((_, false)) => Admission::Now,
                };
                prop_assert_eq!(breaker.admission(now), expected);
            }
        }

        #[test]
        fn no_cooldown_overflows(seconds in any::<u64>(), random in any::<f64>()) {
            let cooldown = Duration::from_secs(seconds);
            let settings = BreakerSettings { failures: 1, cooldown, cooldown_max: Duration::MAX };
            let (mut breaker, now) = (Breaker::new(settings), Instant::now());
            breaker.failed(now, random);
            prop_assert!(matches!(breaker.admission(now), Admission::At(_)) || seconds == 0);
        }

        #[test]
        fn a_cooldown_keeps_its_bounds(random in any::<f64>(), failures in 3..200u32) {
            let (mut breaker, mut now) = (Breaker::new(SETTINGS), Instant::now());
            for _ in 0..failures {
                breaker.failed(now, random);
                if let Admission::At(until) = breaker.admission(now) {
                    let wait = until - now;
                    prop_assert!(wait >= Duration::from_secs(27), "{:?}", wait);
                    prop_assert!(wait <= Duration::from_secs(110), "{:?}", wait);
                    now = until;
                    breaker.sent();
                }
            }
        }
    }
}
