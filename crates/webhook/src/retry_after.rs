use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The longest that a `Retry-After` is heeded for: a subscriber must not put us off for ever.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// When a subscriber asks to be tried again, as `Retry-After` says it (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Delay(Duration),
    At(Timestamp),
}

impl RetryAfter {
    /// Reads seconds, or a date in any of HTTP's three forms; `None` for what is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seconds = text.parse().unwrap_or(u64::MAX);
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Timestamp::try_from(date).ok().map(Self::At)
    }

    /// The time asked for, at most [`RETRY_AFTER_MAX`] from now. A date in the past stays there.
    pub fn time(self, now: Timestamp) -> Timestamp {
        let latest = later(now, RETRY_AFTER_MAX);
        match self {
            Self::Delay(delay) => later(now, delay),
            Self::At(time) => time,
        }
        .min(latest)
    }
}

/// `time` and `duration` after it, or the end of time.
pub(crate) fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 784_111_777;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn seconds_and_the_three_forms_of_a_date_are_read() {
        let seconds = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        assert_eq!(RetryAfter::parse("120"), seconds(120));
        assert_eq!(RetryAfter::parse(" 0 "), seconds(0));
        assert_eq!(
            RetryAfter::parse("99999999999999999999999"),
            seconds(u64::MAX)
        );
        let date = Some(RetryAfter::At(at(NOW)));
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT"), date);
        assert_eq!(RetryAfter::parse("Sunday, 06-Nov-94 08:49:37 GMT"), date);
        assert_eq!(RetryAfter::parse("Sun Nov  6 08:49:37 1994"), date);
    }

    #[test]
    fn what_is_neither_is_passed_over() {
        for text in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "soon",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov",
        ] {
            assert_eq!(RetryAfter::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_time_asked_for_is_capped_at_a_day() {
        let day = at(NOW + 24 * 3600);
        let delay = |seconds| RetryAfter::Delay(Duration::from_secs(seconds));
        assert_eq!(delay(30).time(at(NOW)), at(NOW + 30));
        assert_eq!(delay(u64::MAX).time(at(NOW)), day);
        assert_eq!(RetryAfter::At(at(NOW + 60)).time(at(NOW)), at(NOW + 60));
        assert_eq!(RetryAfter::At(Timestamp::MAX).time(at(NOW)), day);
        assert_eq!(RetryAfter::At(at(0)).time(at(NOW)), at(0));
    }
}
