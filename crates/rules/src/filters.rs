//! The filters and tests of the rule language, and how values print.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, filters};

use crate::compare::kind_name;
use crate::difference::{self, argument, items};
use crate::value::{number, to_json};
use crate::{attribute, each, link, maps, nullable, text, time};

/// Names that a pack may use after `|`.
pub(crate) const NAMES: &[&str] = &[
    "added",
    "capitalize",
    "count",
    "d",
    "default",
    "differences",
    "duration",
    "each",
    "first",
    "fromjson",
    "host",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "modified",
    "pluralize",
    "reject",
    "rejectattr",
    "removed",
    "replace",
    "reverse",
    "seconds_since",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "translate",
    "trim",
    "truncate",
    "unique",
    "unix",
    "upper",
    "without_credentials",
];

/// Names that a pack may use after `is`.
pub(crate) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "endingwith",
    "eq",
    "false",
    "ge",
    "gt",
    "in",
    "iterable",
    "le",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("map", filters::map);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("rejectattr", filters::rejectattr);
    environment.add_filter("select", filters::select);
    environment.add_filter("selectattr", filters::selectattr);

    environment.add_filter("count", count);
    for name in ["d", "default"] {
        environment.add_filter(name, |value: &Value, other: Rest<Value>| {
            default(value, other.first())
        });
    }
    environment.add_filter("join", join);
    environment.add_filter("pluralize", pluralize);
    environment.add_filter("string", |value: &Value| print(value));
    environment.add_filter("tojson", |value: &Value| {
        to_json(value).map(|json| json.to_string())
    });
    attribute::install(environment);
    difference::install(environment);
    each::install(environment);
    link::install(environment);
    maps::install(environment);
    nullable::install(environment);
    text::install(environment);
    time::install(environment);

    use minijinja::tests;
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("false", tests::is_false);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", |value: &Value| kind_name(value) == "number");
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("string", tests::is_string);
    environment.add_test("true", tests::is_true);
    environment.add_test("undefined", tests::is_undefined);
}

/// How a value appears in a sentence: none as nothing, lists and objects as JSON.
pub(crate) fn print(value: &Value) -> Result<String, Error> {
    Ok(match value.kind() {
        ValueKind::None => String::new(),
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => to_json(value)?.to_string(),
        _ => value.to_string(),
    })
}

/// The items with a separator between them; items that print as nothing are left out.
fn join(list: &Value, separator: Option<&str>) -> Result<String, Error> {
    let mut texts = Vec::new();
    for item in items("join", list)? {
        let text = print(&item)?;
        if !text.is_empty() {
            texts.push(text);
        }
    }
    Ok(texts.join(separator.unwrap_or(", ")))
}

fn quantity(filter: &'static str, value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Seq | ValueKind::Iterable => {
            Ok(items(filter, value)?.len().to_string())
        }
        _ => match number(value) {
            Some(number) => Ok(number.as_str().to_owned()),
            None => Err(argument(filter, "a list or a number", value)),
        },
    }
}

/// `3 tables`, `1 table`: a list's length, or a number, with its noun.
fn count(value: &Value, noun: &str, plural: Option<&str>) -> Result<String, Error> {
    let quantity = quantity("count", value)?;
    Ok(match (quantity.as_str(), plural) {
        ("1", _) => format!("1 {noun}"),
        (_, Some(plural)) => format!("{quantity} {plural}"),
        (_, None) => format!("{quantity} {noun}s"),
    })
}

/// The ending alone: `entr{{ n | pluralize('y', 'ies') }}`.
fn pluralize(value: &Value, one: Option<&str>, many: Option<&str>) -> Result<String, Error> {
    let singular = quantity("pluralize", value)? == "1";
    let ending = if singular {
        one.unwrap_or("")
    } else {
        many.unwrap_or("s")
    };
    Ok(ending.to_owned())
}

/// Stands in for none as well as for a field that is not there. It may be none itself.
fn default(value: &Value, other: Option<&Value>) -> Value {
    if value.is_undefined() || value.is_none() {
        other.cloned().unwrap_or_else(|| Value::from(""))
    } else {
        value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    fn eval(expression: &str) -> Result<String, Error> {
        let environment = crate::program::environment();
        let context = [
            (
                "a",
                r#"[{"m":"GET","p":"/a","n":1},{"m":"GET","p":"/b"},{"m":"GET","p":"/b"}]"#,
            ),
            ("b", r#"[{"m":"GET","p":"/a","n":2}]"#),
            ("none", "null"),
            ("text", "\"secret\""),
        ];
        let context = context.map(|(name, json)| (name, read("c", 3802, json).unwrap()));
        let context = Value::from_pairs(context);
        environment.render_str(&format!("{{{{ {expression} }}}}"), context)
    }

    #[test]
    fn lists_differ_by_the_fields_that_are_named() {
        for (expression, expected) in [
            (
                "a | added(b, by=['m', 'p']) | map(attribute='p') | join",
                "/b",
            ),
            ("a | added(b) | count('endpoint')", "2 endpoints"),
            ("a | added(none) | count('endpoint')", "2 endpoints"),
            ("b | removed(a, by='p') | count('endpoint')", "0 endpoints"),
            (
                "b | modified(a, by=['m', 'p'])",
                r#"[{"m":"GET","n":2,"p":"/a"}]"#,
            ),
            ("b | modified(b, by=['m', 'p'])", "[]"),
            ("none | modified(b, by=['m', 'p'])", "[]"),
            (
                "b | differences(a, by=['m', 'p'])",
                r#"[{"before":{"m":"GET","n":1,"p":"/a"},"fields":["n"],"item":{"m":"GET","n":2,"p":"/a"}}]"#,
            ),
            (
                "[{'k': 1, 'a': 1, 'b': none}] | differences([{'k': 1, 'c': 1, 'b': none}], by='k') | map(attribute='fields')",
                r#"[["a","c"]]"#,
            ),
            ("none | differences(b, by='m')", "[]"),
            ("b | differences(none, by='m')", "[]"),
            ("[1, 1.0, 2] | unique", "[1,2]"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn counts_and_plurals_know_one_from_many() {
        for (expression, expected) in [
            ("1 | count('query', 'queries')", "1 query"),
            ("5 | count('query', 'queries')", "5 queries"),
            ("['x'] | count('table')", "1 table"),
            ("none | count('table')", "0 tables"),
            ("'entr' ~ (2 | pluralize('y', 'ies'))", "entries"),
            ("[1] | pluralize", ""),
            ("['a', none, '', true] | join(' ')", "a true"),
            ("none | default('x')", "x"),
            ("none | default", ""),
            ("none | default(none) | default('x')", "x"),
            ("none | default(none) is none", "true"),
            ("b[0].missing | default('x')", "x"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn a_wrong_argument_is_an_error_that_holds_no_value() {
        for expression in [
            "text | added(a)",
            "text | differences(a, by='m')",
            "text | count('x')",
            "['secret'] | added([], by='p')",
        ] {
            let text = crate::trouble::describe(&eval(expression).unwrap_err());
            assert!(text.contains("needs") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn every_name_that_a_pack_may_use_is_there() {
        let environment = crate::program::environment();
        for name in NAMES {
            assert!(
                environment
                    .empty_state()
                    .apply_filter(name, &[])
                    .unwrap_err()
                    .kind()
                    != ErrorKind::UnknownFilter
            );
        }
        for name in TESTS {
            assert!(!matches!(
                environment.empty_state().perform_test(name, &[]),
                Err(error) if error.kind() == ErrorKind::UnknownTest
            ));
        }
    }
}
