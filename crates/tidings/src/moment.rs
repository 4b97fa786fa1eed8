//! A moment as the command line writes it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

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
}
