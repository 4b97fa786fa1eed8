//! Points in time and the seconds between them, from whatever a column holds them as.
//!
//! Text is what Postgres prints for dates and timestamps (DateStyle ISO) or ISO 8601; without an
//! offset it is UTC. Numbers are seconds, milliseconds or microseconds since 1970, told apart by
//! their magnitude. Infinity, BC and years beyond 9999 are no points in time here.

use jiff::civil::Time;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value};

use crate::decimal::Decimal;
use crate::difference::argument;
use crate::trouble::Trouble;
use crate::value::number;

const SECOND: i128 = 1_000_000_000;

/// Numbers from here on are milliseconds: as seconds they would lie beyond the year 5000.
const MILLISECONDS_FROM: i128 = 100_000_000_000;
const MICROSECONDS_FROM: i128 = 100_000_000_000_000;

/// A text of fewer digits is a date (`20260131`), not a number of seconds.
const NUMBER_DIGITS_MIN: usize = 9;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("unix", |time: &Value| {
        let instant = instant("unix", time)?;
        Ok::<_, Error>(instant.map(|nanoseconds| nanoseconds.div_euclid(SECOND)))
    });
    environment.add_filter("seconds_since", |time: &Value, then: &Value| {
        let (time, then) = (
            instant("seconds_since", time)?,
            instant("seconds_since", then)?,
        );
        Ok::<_, Error>(time.zip(then).map(|(time, then)| (time - then) / SECOND))
    });
    environment.add_filter("duration", duration);
}

/// Nanoseconds since 1970.
fn instant(filter: &'static str, value: &Value) -> Result<Option<i128>, Error> {
    let needs = "a time in the years 1 to 9999";
    match (value.kind(), value.as_str()) {
        (ValueKind::None, _) => Ok(None),
        (_, Some(text)) if text.trim().is_empty() => Ok(None),
        (_, Some(text)) => match of_text(text.trim()) {
            Some(instant) => Ok(Some(instant)),
            None => Err(Trouble::Text { filter, needs }.into()),
        },
        _ => match number(value).and_then(|number| of_number(&number)) {
            Some(instant) => Ok(Some(instant)),
            None => Err(argument(filter, needs, value)),
        },
    }
}

fn of_number(number: &Decimal) -> Option<i128> {
    let places = match number.scaled(0)?.unsigned_abs() {
        whole if whole >= MICROSECONDS_FROM.unsigned_abs() => 3,
        whole if whole >= MILLISECONDS_FROM.unsigned_abs() => 6,
        _ => 9,
    };
    // So that whole seconds are a bigint, and differences of two instants do not overflow.
    number
        .scaled(places)
        .filter(|nanoseconds| i64::try_from(nanoseconds.div_euclid(SECOND)).is_ok())
}

fn of_text(text: &str) -> Option<i128> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    if whole.len() >= NUMBER_DIGITS_MIN && whole.bytes().all(|b| b.is_ascii_digit()) {
        return of_number(&Decimal::parse(text)?);
    }
    let pieces = Pieces::parse(text).ok()?;
    let date = pieces.date();
    let offset = match pieces.to_numeric_offset() {
        Some(offset) => offset,
        // The name of a zone says nothing without a database of zones.
        None if pieces.time_zone_annotation().is_some() => return None,
        None => Offset::UTC,
    };
    if date.year() < 1 {
        return None;
    }
    let time = date.to_datetime(pieces.time().unwrap_or(Time::midnight()));
    offset
        .to_timestamp(time)
        .ok()
        .map(jiff::Timestamp::as_nanosecond)
}

/// The two largest units of a number of seconds: `45 s`, `2 min 5 s`, `1 h`, `2 d 3 h`.
fn duration(seconds: &Value) -> Result<String, Error> {
    if seconds.is_none() {
        return Ok(String::new());
    }
    // Fractions are cut towards zero.
    let whole = number(seconds).and_then(|number| Some(number.scaled(9)? / SECOND));
    let Some(whole) = whole else {
        return Err(argument("duration", "a number of seconds", seconds));
    };
    let sign = if whole < 0 { "-" } else { "" };
    let whole = whole.unsigned_abs();
    let part = |seconds: u128, unit: &str| match seconds {
        0 => String::new(),
        amount => format!(" {amount} {unit}"),
    };
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    Ok(match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{whole} s"),
        (0, 0, _) => format!("{sign}{minutes} min{}", part(whole % 60, "s")),
        (0, _, _) => format!("{sign}{hours} h{}", part(minutes % 60, "min")),
        _ => format!("{sign}{days} d{}", part(hours % 24, "h")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble;
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    fn eval(expression: &str, value: Value) -> Result<String, String> {
        let context = Value::from_pairs([("x", value)]);
        crate::program::environment()
            .render_str(&format!("{{{{ {expression} }}}}"), context)
            .map_err(|error| trouble::describe(&error))
    }

    fn unix(text: &str) -> Result<String, String> {
        eval("x | unix", Value::from(text))
    }

    #[test]
    fn texts_of_postgres_and_of_iso_are_points_in_time() {
        for (text, seconds) in [
            ("2026-01-31 12:30:05", "1769862605"),
            ("2026-01-31 12:30:05.999999", "1769862605"),
            ("2026-01-31 12:30:05+00", "1769862605"),
            ("2026-01-31 14:30:05.5+02", "1769862605"),
            ("2026-01-31 09:00:05-03:30", "1769862605"),
            ("1890-01-01 00:53:28+00:53:28", "-2524521600"),
            ("2026-01-31", "1769817600"),
            ("20260131", "1769817600"),
            ("2026-01-31T12:30:05Z", "1769862605"),
            ("2026-01-31t12:30:05.123z", "1769862605"),
            ("2026-01-31T14:30:05+0200", "1769862605"),
            ("2026-01-31T14:30:05+02:00[Europe/Berlin]", "1769862605"),
            ("1969-12-31 23:59:59.5", "-1"),
            ("0001-01-01 00:00:00", "-62135596800"),
            ("1769862605", "1769862605"),
            ("1769862605.25", "1769862605"),
            ("1769862605250", "1769862605"),
        ] {
            assert_eq!(unix(text).as_deref(), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_point_in_time_is_an_error_without_the_text() {
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "0044-03-15 00:00:00+00 BC",
            "0044-03-15 BC",
            "-000043-03-15T00:00:00Z",
            "12026-01-31 12:30:05",
            "2026-02-30",
            "12:30:05",
            "1 day 02:00:00",
            "2026-01-31T12:30:05[Europe/Berlin]",
            "12345",
            "secret",
        ] {
            let error = unix(text).unwrap_err();
            assert_eq!(
                error,
                "the text given to unix is not a time in the years 1 to 9999"
            );
        }
    }

    #[test]
    fn numbers_are_told_apart_by_their_magnitude() {
        for (number, seconds) in [
            ("1769862605", "1769862605"),
            ("1769862605250", "1769862605"),
            ("1769862605250999", "1769862605"),
            ("1769862605.75", "1769862605"),
            ("1.769862605e9", "1769862605"),
            ("99999999999", "99999999999"),
            ("100000000000", "100000000"),
            ("-0.5", "-1"),
            ("0", "0"),
        ] {
            let number = crate::value::read("c", 1700, number).unwrap();
            assert_eq!(eval("x | unix", number).as_deref(), Ok(seconds));
        }
        assert_eq!(eval("x | unix", Value::from(1.5e9)).unwrap(), "1500000000");
        for number in ["NaN", "Infinity", "1e40"] {
            let number = crate::value::read("c", 1700, number).unwrap();
            let error = eval("x | unix", number).unwrap_err();
            assert_eq!(
                error,
                "unix needs a time in the years 1 to 9999, not number"
            );
        }
        assert!(eval("x | unix", Value::from(true)).is_err());
    }

    #[test]
    fn none_has_no_time_and_no_duration() {
        for expression in [
            "none | unix",
            "' ' | unix",
            "x | seconds_since(none)",
            "none | seconds_since(x)",
            "none | duration",
            "none | seconds_since(x) | duration",
        ] {
            assert_eq!(eval(expression, Value::from(5)).as_deref(), Ok(""));
        }
    }

    #[test]
    fn seconds_between_times_of_any_form_are_whole() {
        for (then, seconds) in [
            ("'2026-01-31 12:30:00'", "5"),
            ("'2026-01-31T12:30:00.001Z'", "4"),
            ("1769862605", "0"),
            ("1769862606000", "-1"),
        ] {
            let expression = format!("'2026-01-31 14:30:05+02' | seconds_since({then})");
            assert_eq!(eval(&expression, Value::from(())).as_deref(), Ok(seconds));
        }
    }

    #[test]
    fn a_duration_is_told_in_its_two_largest_units() {
        for (seconds, text) in [
            ("0", "0 s"),
            ("59.9", "59 s"),
            ("60", "1 min"),
            ("125", "2 min 5 s"),
            ("3600", "1 h"),
            ("3605", "1 h"),
            ("3780", "1 h 3 min"),
            ("86400", "1 d"),
            ("183600", "2 d 3 h"),
            ("-125", "-2 min 5 s"),
            ("-0.5", "0 s"),
        ] {
            let expression = format!("{seconds} | duration");
            assert_eq!(eval(&expression, Value::from(())).as_deref(), Ok(text));
        }
        let error = eval("x | duration", Value::from("secret")).unwrap_err();
        assert_eq!(error, "duration needs a number of seconds, not text");
    }

    fn instants() -> impl Strategy<Value = Timestamp> {
        let range = -62_135_596_800i64..253_402_200_000;
        (range, 0i32..1_000_000).prop_map(|(second, micro)| {
            let start = Timestamp::from_second(second).unwrap();
            start + SignedDuration::from_micros(i64::from(micro))
        })
    }

    proptest! {
        #[test]
        fn a_time_comes_back_from_each_of_its_forms(
            time in instants(),
            hours in -15i8..=15,
            minutes in 0i8..60,
        ) {
            let floor = time.as_nanosecond().div_euclid(SECOND).to_string();
            let minutes = if hours < 0 { -minutes } else { minutes };
            let offset = Offset::from_seconds((i32::from(hours) * 60 + i32::from(minutes)) * 60).unwrap();
            let utc = Offset::UTC.to_datetime(time);
            let local = offset.to_datetime(time);
            prop_assume!((1..=9999).contains(&local.year()));
            let sign = if offset.seconds() < 0 { '-' } else { '+' };
            let (h, m) = (hours.unsigned_abs(), minutes.unsigned_abs());
            let date = local.strftime("%Y-%m-%d");
            let clock = local.strftime("%H:%M:%S%.f");
            for text in [
                format!("{} {}", utc.date(), utc.time()),
                format!("{} {}+00", utc.date(), utc.time()),
                format!("{date} {clock}{sign}{h:02}:{m:02}"),
                format!("{date}T{clock}{sign}{h:02}{m:02}"),
                time.to_string(),
            ] {
                prop_assert_eq!(unix(&text), Ok(floor.clone()), "{}", text);
            }
            let micros = time.as_microsecond();
            if u128::from(micros.unsigned_abs()) >= MICROSECONDS_FROM.unsigned_abs() {
                prop_assert_eq!(eval("x | unix", Value::from(micros)), Ok(floor));
            }
        }

        #[test]
        fn no_text_and_no_number_makes_the_reader_panic(text: String, number: i128, float: f64) {
            for value in [Value::from(text), Value::from(number), Value::from(float)] {
                for expression in ["x | unix", "x | duration", "x | seconds_since(x)"] {
                    let _ = eval(expression, value.clone());
                }
            }
        }
    }
}
