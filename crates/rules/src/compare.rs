//! How rules compare: `==`, `<` and `in` behave here, not in minijinja, which would find a number
//! and a text merely unequal. Values of unlike kinds are an error; none equals only none and is
//! neither less nor greater than anything.

use std::cmp::Ordering;
use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::decimal::Decimal;
use crate::trouble::Trouble;
use crate::value::{failure, number};

/// Tests that the operators are rewritten to (see [`crate::strict`]), and their names for use with
/// `select` and its like.
pub(crate) fn install(environment: &mut Environment<'_>) {
    for names in [["__eq", "eq", "=="], ["__ne", "ne", "!="]] {
        for name in names {
            let equal = names[1] == "eq";
            environment.add_test(name, move |a: &Value, b: &Value| {
                same_kind_equal(a, b, names[2]).map(|found| found == equal)
            });
        }
    }
    type Accepts = fn(Ordering) -> bool;
    let orders: [([&'static str; 3], Accepts); 4] = [
        (["__lt", "lt", "<"], Ordering::is_lt),
        (["__le", "le", "<="], Ordering::is_le),
        (["__gt", "gt", ">"], Ordering::is_gt),
        (["__ge", "ge", ">="], Ordering::is_ge),
    ];
    for (names, accepts) in orders {
        for name in names {
            environment.add_test(name, move |a: &Value, b: &Value| {
                order(a, b, names[2]).map(|found| found.is_some_and(accepts))
            });
        }
    }
    for name in ["__in", "in"] {
        environment.add_test(name, contains);
    }
}

pub(crate) fn kind_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "none",
        ValueKind::Bool => "boolean",
        ValueKind::Number => "number",
        ValueKind::String => "text",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map => "object",
        _ if value.downcast_object_ref::<Decimal>().is_some() => "number",
        _ => "unusable value",
    }
}

fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(())
}

fn unlike(a: &Value, operator: &'static str, b: &Value) -> Error {
    Trouble::Unlike {
        left: kind_name(a),
        operator,
        right: kind_name(b),
    }
    .into()
}

fn same_kind_equal(a: &Value, b: &Value, operator: &'static str) -> Result<bool, Error> {
    defined(a)?;
    defined(b)?;
    if a.is_none() || b.is_none() {
        return Ok(a.is_none() && b.is_none());
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(a == b);
    }
    if kind_name(a) != kind_name(b) {
        return Err(unlike(a, operator, b));
    }
    Ok(canonical(a)? == canonical(b)?)
}

fn order(a: &Value, b: &Value, operator: &'static str) -> Result<Option<Ordering>, Error> {
    defined(a)?;
    defined(b)?;
    if a.is_none() || b.is_none() {
        return Ok(None);
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Some(a.cmp(b)));
    }
    if a.is_integer()
        && b.is_integer()
        && let (Some(a), Some(b)) = (a.as_i64(), b.as_i64())
    {
        return Ok(Some(a.cmp(&b)));
    }
    match (number(a), number(b)) {
        (Some(a), Some(b)) => Ok(Some(a.compare(&b))),
        _ => Err(unlike(a, operator, b)),
    }
}

/// An item of a list, a part of a text, or a field of an object.
fn contains(item: &Value, container: &Value) -> Result<bool, Error> {
    defined(item)?;
    match container.kind() {
        ValueKind::None => Ok(false),
        ValueKind::String | ValueKind::Map if !item.is_none() => {
            let (Some(item_text), container_text) = (item.as_str(), container.as_str()) else {
                return Err(unlike(item, "in", container));
            };
            Ok(match container_text {
                Some(text) => text.contains(item_text),
                None => !container.get_attr(item_text)?.is_undefined(),
            })
        }
        ValueKind::String | ValueKind::Map => Ok(false),
        ValueKind::Seq | ValueKind::Iterable => {
            for candidate in container.try_iter()?.checked() {
                if same_kind_equal(item, &candidate?, "in")? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => {
            defined(container)?;
            Err(unlike(item, "in", container))
        }
    }
}

/// The same text for equal values, another one for others: numbers by value, objects by their
/// fields in the order of names.
pub(crate) fn canonical(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_canonical(value, &mut text)?;
    Ok(text)
}

fn write_canonical(value: &Value, out: &mut String) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        let _ = write!(out, "{text:?}");
        return Ok(());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for item in value.try_iter()?.checked() {
                write_canonical(&item?, out)?;
                out.push(',');
            }
            out.push(']');
        }
        ValueKind::Map => {
            let names: Result<Vec<Value>, Error> = value.try_iter()?.checked().collect();
            let mut names = names?;
            names.sort();
            out.push('{');
            for name in names {
                write_canonical(&name, out)?;
                out.push(':');
                write_canonical(&value.get_item(&name)?, out)?;
                out.push(',');
            }
            out.push('}');
        }
        ValueKind::Invalid => return Err(failure(value)),
        _ => match number(value) {
            Some(number) => out.push_str(&number.canonical()),
            None => out.push_str(&value.to_string()),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn json(text: &str) -> Value {
        read("c", 3802, text).unwrap()
    }

    #[test]
    fn equal_values_compare_equal_whatever_their_representation() {
        for (a, b, equal) in [
            ("1", "1.0", true),
            (
                "12345678901234567890123",
                "12345678901234567890123.00",
                true,
            ),
            ("9007199254740993", "9007199254740992.0", false),
            ("[1, {\"a\": 1}]", "[1.0, {\"a\": 1e0}]", true),
            ("[1]", "[\"1\"]", false),
            ("null", "null", true),
            ("null", "1", false),
            ("\"a\"", "\"a\"", true),
        ] {
            assert_eq!(
                same_kind_equal(&json(a), &json(b), "==").unwrap(),
                equal,
                "{a} {b}"
            );
        }
    }

    #[test]
    fn values_of_unlike_kinds_are_an_error_that_holds_no_value() {
        for (a, b) in [
            ("1", "\"secret\""),
            ("true", "1"),
            ("[1]", "1"),
            ("{}", "[]"),
        ] {
            for error in [
                same_kind_equal(&json(a), &json(b), "==").unwrap_err(),
                order(&json(a), &json(b), "<").unwrap_err(),
            ] {
                let text = crate::trouble::describe(&error);
                assert!(
                    text.contains("can not be compared") && !text.contains("secret"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn none_is_neither_less_nor_greater() {
        assert_eq!(order(&json("null"), &json("1"), "<").unwrap(), None);
        assert_eq!(
            order(&json("1.5"), &json("2"), "<").unwrap(),
            Some(Ordering::Less)
        );
    }

    #[test]
    fn in_finds_items_parts_and_fields() {
        for (item, container, found) in [
            ("\"a\"", "[\"b\", \"a\"]", true),
            ("null", "[\"b\", null]", true),
            ("\"a\"", "\"bab\"", true),
            ("\"a\"", "{\"a\": 1}", true),
            ("\"a\"", "null", false),
            ("null", "\"a\"", false),
        ] {
            assert_eq!(
                contains(&json(item), &json(container)).unwrap(),
                found,
                "{item} {container}"
            );
        }
        assert!(contains(&json("1"), &json("[\"1\"]")).is_err());
    }
}
