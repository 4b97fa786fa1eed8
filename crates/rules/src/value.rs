//! A column's text, by the OID of its type, as a template's value; and such values as JSON.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{ErrorKind, Value};
use serde_json::Value as Json;

use crate::array::{self, Element};
use crate::decimal::Decimal;
use crate::trouble::Trouble;

/// The kinds of column types that rules tell apart. Types that are not listed, enums among them,
/// are text.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Integer,
    Float,
    Numeric,
    Json,
    Binary,
    Text,
}

/// The OIDs are fixed (`pg_type.dat`). The flag says: an array of such.
fn kind(type_oid: u32) -> (Kind, bool) {
    match type_oid {
        16 => (Kind::Bool, false),
        20 | 21 | 23 | 26 => (Kind::Integer, false),
        700 | 701 => (Kind::Float, false),
        1700 => (Kind::Numeric, false),
        114 | 3802 => (Kind::Json, false),
        17 => (Kind::Binary, false),
        1000 => (Kind::Bool, true),
        1005 | 1007 | 1016 | 1028 => (Kind::Integer, true),
        1021 | 1022 => (Kind::Float, true),
        1231 => (Kind::Numeric, true),
        199 | 3807 => (Kind::Json, true),
        1001 => (Kind::Binary, true),
        // char, name, text, bpchar, varchar, uuid; date, time, timestamp, timestamptz, timetz,
        // interval; inet, cidr
        1002 | 1003 | 1009 | 1014 | 1015 | 2951 | 1182 | 1183 | 1115 | 1185 | 1270 | 1187
        | 1041 | 651 => (Kind::Text, true),
        _ => (Kind::Text, false),
    }
}

/// Reads a column's text. The trouble names the column, never the text.
pub(crate) fn read(column: &str, type_oid: u32, text: &str) -> Result<Value, Trouble> {
    let unreadable = |kind: Kind| match kind {
        Kind::Binary => Trouble::Binary {
            column: column.to_owned(),
        },
        _ => Trouble::Unreadable {
            column: column.to_owned(),
            type_oid,
        },
    };
    let (kind, is_array) = kind(type_oid);
    if is_array && !matches!(kind, Kind::Binary) {
        array::parse(text)
            .and_then(|elements| list(kind, elements))
            .ok_or_else(|| unreadable(kind))
    } else {
        scalar(kind, text).ok_or_else(|| unreadable(kind))
    }
}

fn scalar(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Bool => match text {
            "t" => Some(Value::from(true)),
            "f" => Some(Value::from(false)),
            _ => None,
        },
        Kind::Integer => text.parse::<i64>().ok().map(Value::from),
        Kind::Float => text.parse::<f64>().ok().map(Value::from),
        Kind::Numeric => Decimal::parse(text).map(Value::from_object),
        Kind::Json => serde_json::from_str(text).ok().map(from_json),
        Kind::Binary => None,
        Kind::Text => Some(Value::from(text)),
    }
}

fn list(kind: Kind, elements: Vec<Element>) -> Option<Value> {
    let values = elements.into_iter().map(|element| match element {
        Element::Null => Some(Value::from(())),
        Element::Text(text) => scalar(kind, &text),
        Element::Array(inner) => list(kind, inner),
    });
    values.collect::<Option<Vec<Value>>>().map(Value::from)
}

/// Whole numbers stay exact integers as far as 128 bits reach; every other number is a decimal.
pub(crate) fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(value),
        Json::Number(number) => {
            let text = number.to_string();
            if let Ok(integer) = text.parse::<i64>() {
                return Value::from(integer);
            }
            if let Ok(integer) = text.parse::<i128>() {
                return Value::from(integer);
            }
            match Decimal::parse(&text) {
                Some(decimal) => Value::from_object(decimal),
                None => Value::from(text),
            }
        }
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::from(items.into_iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(fields) => Value::from_pairs(
            fields
                .into_iter()
                .map(|(name, value)| (Value::from(name), from_json(value))),
        ),
    }
}

/// A value as JSON: decimals as numbers with all their digits, what JSON can't say as text.
pub(crate) fn to_json(value: &Value) -> Result<Json, minijinja::Error> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => number_json(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.checked();
            Json::Array(
                items
                    .map(|item| to_json(&item?))
                    .collect::<Result<_, _>>()?,
            )
        }
        ValueKind::Map => {
            let mut fields = serde_json::Map::new();
            for name in value.try_iter()?.checked() {
                let name = name?;
                fields.insert(name.to_string(), to_json(&value.get_item(&name)?)?);
            }
            Json::Object(fields)
        }
        ValueKind::Invalid => return Err(failure(value)),
        _ => match value.downcast_object_ref::<Decimal>() {
            Some(decimal) => number_json(decimal.as_str()),
            None => Json::String(value.to_string()),
        },
    })
}

/// The error of a value that stands for one: a column that could not be read, say. Iteration is the
/// one way to it.
pub(crate) fn failure(value: &Value) -> minijinja::Error {
    let alone = Value::from(vec![value.clone()]);
    let first = alone
        .try_iter()
        .and_then(|items| items.checked().next().transpose());
    first
        .err()
        .unwrap_or_else(|| minijinja::Error::from(ErrorKind::InvalidOperation))
}

fn number_json(text: &str) -> Json {
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(number) => Json::Number(number),
        Err(_) => Json::String(text.to_owned()),
    }
}

/// The exact decimal that a number of any representation stands for.
pub(crate) fn number(value: &Value) -> Option<Arc<Decimal>> {
    if let Some(decimal) = value.downcast_object::<Decimal>() {
        return Some(decimal);
    }
    value
        .is_number()
        .then(|| Decimal::parse(&value.to_string()))
        .flatten()
        .map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(type_oid: u32, text: &str) -> String {
        let value = read("c", type_oid, text).unwrap();
        to_json(&value).unwrap().to_string()
    }

    proptest! {
        #[test]
        fn no_text_of_any_type_makes_reading_panic(type_oid in 0u32..4000, text: String) {
            let _ = read("c", type_oid, &text);
        }
    }

    #[test]
    fn a_column_reads_by_its_type_and_keeps_its_value_exactly() {
        for (type_oid, text, expected) in [
            (16, "t", "true"),
            (20, "-9223372036854775808", "-9223372036854775808"),
            (26, "4294967295", "4294967295"),
            (701, "0.5", "0.5"),
            (701, "NaN", "\"NaN\""),
            (1700, "12345678901234567890.10", "12345678901234567890.10"),
            (
                3802,
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            (
                3802,
                r#"{"b": [1.10, null], "a": "x"}"#,
                r#"{"a":"x","b":[1.10,null]}"#,
            ),
            (1007, "{1,NULL,3}", "[1,null,3]"),
            (1009, r#"{a,"b,c"}"#, r#"["a","b,c"]"#),
            (1016, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (3807, r#"{"{\"a\": 1}"}"#, r#"[{"a":1}]"#),
            (1184, "2026-01-01 00:00:00+00", "\"2026-01-01 00:00:00+00\""),
            (90_000, "ready", "\"ready\""),
        ] {
            assert_eq!(json(type_oid, text), expected, "{type_oid} {text}");
        }
    }

    #[test]
    fn text_that_its_type_never_prints_is_a_trouble_without_the_text() {
        for (type_oid, text) in [
            (16, "secret"),
            (23, "secret"),
            (3802, "{secret"),
            (1007, "{secret}"),
        ] {
            let trouble = read("c", type_oid, text).unwrap_err().to_string();
            assert!(
                trouble.contains("\"c\"") && !trouble.contains("secret"),
                "{trouble}"
            );
        }
    }

    #[test]
    fn a_value_that_stands_for_an_error_fails_wherever_it_is_used() {
        let column = || "c".to_owned();
        let broken = Value::from(Trouble::Unfilled { column: column() });
        let whole = Value::from_pairs([("c", broken.clone())]);
        for error in [
            to_json(&broken).unwrap_err(),
            to_json(&whole).unwrap_err(),
            crate::compare::canonical(&whole).unwrap_err(),
        ] {
            let found = crate::trouble::find(&error);
            assert_eq!(found, Some(&Trouble::Unfilled { column: column() }));
        }
    }

    #[test]
    fn binary_columns_are_refused_by_name() {
        assert!(matches!(
            read("c", 17, "\\x00"),
            Err(Trouble::Binary { .. })
        ));
        assert!(matches!(read("c", 1001, "{}"), Err(Trouble::Binary { .. })));
    }
}
