//! Readers for values that people write in more than one way.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A name: a text, or a number that stands for one.
pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

/// A list of names; a bare one is a list of one.
pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(list::<Name, D>(deserializer)?
        .into_iter()
        .map(|name| name.0)
        .collect())
}

/// A list, or a single value that is a list of one.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(ListVisitor(std::marker::PhantomData))
}

/// A duration above zero, as "10s" or "1h 30m".
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = Name::deserialize(deserializer)?.0;
    parse_duration(&text)
        .ok_or_else(|| D::Error::custom("must be a duration such as \"10s\" or \"5m\""))
}

pub(super) fn durations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Duration>, D::Error> {
    let refuse = || D::Error::custom("must be durations such as [\"5s\", \"5m\"]");
    names(deserializer)?
        .iter()
        .map(|text| parse_duration(text).ok_or_else(refuse))
        .collect()
}

/// A duration that "0s" and "never" turn off.
pub(super) fn duration_or_never<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = Name::deserialize(deserializer)?.0;
    let duration = match text.as_str() {
        "never" => Some(Duration::ZERO),
        text => parse_span(text),
    };
    let refuse = || D::Error::custom("must be a duration such as \"5d\" or \"12h\", or \"never\"");
    let duration = duration.ok_or_else(refuse)?;
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// A duration above zero, as "10s", "1h 30m" or "5d"; a day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse_span(text).filter(|duration| !duration.is_zero())
}

fn parse_span(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let days_are_24_hours = SpanRelativeTo::days_are_24_hours();
    Duration::try_from(span.to_duration(days_are_24_hours).ok()?).ok()
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Name, E> {
                Err(E::invalid_type(Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(NameVisitor)
    }
}

struct ListVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list, or a single value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(items)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|item| vec![item])
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        T::deserialize(serde::de::value::I64Deserializer::new(number)).map(|item| vec![item])
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        T::deserialize(serde::de::value::U64Deserializer::new(number)).map(|item| vec![item])
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|item| vec![item])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_do() {
        for (text, seconds) in [
            ("10s", 10),
            ("1h 30m", 5400),
            ("5d", 432_000),
            ("1w", 604_800),
            ("1d 12h", 129_600),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["", "5", "0s", "-5s", "1 month", "soon"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
