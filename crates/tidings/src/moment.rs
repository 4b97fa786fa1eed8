//! A moment as the command line writes it.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::settings::parse_duration;

/// Unix seconds from a date, a time with or without zone (then it is UTC), or unix seconds.
pub fn parse(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_second());
    }
    let civil = text.parse::<DateTime>();
    let civil = civil.or_else(|_| text.parse::<Date>().map(DateTime::from));
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC));
    let moment = zoned.map(|zoned| zoned.timestamp().as_second());
    moment.map_err(|_| "must be like 2026-01-31, 2026-01-31T12:00:00Z or 1769860800".to_owned())
}

/// A moment as [`parse`] reads it, or how long ago it was: "2h", "3d".
pub fn past(text: &str) -> Result<Timestamp, String> {
    before(text, Timestamp::now())
}

fn before(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let refuse =
        || "must be like 2026-01-31, 2026-01-31T12:00:00Z, or 2h for two hours ago".to_owned();
    if let Some(age) = parse_duration(text) {
        let age = SignedDuration::try_from(age).map_err(|_| refuse())?;
        return now.checked_sub(age).map_err(|_| refuse());
    }
    // To the fraction of a second, where it has one.
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let seconds = parse(text).map_err(|_| refuse())?;
    Timestamp::from_second(seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_unix_seconds() {
        for text in [
            "1769817600",
            "2026-01-31",
            "2026-01-31T00:00:00",
            "2026-01-31T00:00:00Z",
            "2026-01-31 02:00:00+02",
        ] {
            assert_eq!(parse(text), Ok(1_769_817_600), "{text}");
        }
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn the_past_may_be_told_by_its_age() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("2h", "2026-01-31T10:00:00Z"),
            ("1d 1h", "2026-01-30T11:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T11:59:59.5Z", "2026-01-31T11:59:59.5Z"),
        ] {
            assert_eq!(before(text, now), Ok(moment.parse().unwrap()), "{text}");
        }
        assert!(before("recently", now).unwrap_err().contains("2h"));
        assert!(before("99999999999h", now).is_err());
    }
}
