//! Filters that go by a field of each item: `sort` and `sum`. None in a list has no place in an
//! order and no amount: it comes last, and adds nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::compare::kind_name;
use crate::decimal::Decimal;
use crate::difference::{argument, items};
use crate::trouble::Trouble;
use crate::value::{failure, number};

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("sort", |state: &State<'_, '_>, list: &Value, by: Kwargs| {
        sort(state, list, &by)
    });
    environment.add_filter("sum", |state: &State<'_, '_>, list: &Value, by: Kwargs| {
        sum(state, list, &by)
    });
}

/// Each item with the field that is named, or with itself where none is. A dot in the name leads
/// into the field's own fields.
fn keyed(
    filter: &'static str,
    list: &Value,
    arguments: &Kwargs,
) -> Result<Vec<(Value, Value)>, Error> {
    let attribute: Option<&str> = arguments.get("attribute")?;
    arguments.assert_all_used()?;
    let key = |item: Value| {
        let mut key = item.clone();
        for field in attribute.into_iter().flat_map(|path| path.split('.')) {
            if key.kind() == ValueKind::Invalid {
                return Err(failure(&key));
            }
            if key.kind() != ValueKind::Map {
                return Err(argument(filter, "objects in the list", &key));
            }
            key = key.get_attr(field)?;
        }
        match key.kind() {
            ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
            ValueKind::Invalid => Err(failure(&key)),
            _ => Ok((key, item)),
        }
    };
    items(filter, list)?.into_iter().map(key).collect()
}

enum Rank {
    Text(Arc<str>),
    Number(Arc<Decimal>),
    None,
}

impl Rank {
    fn of(key: &Value) -> Result<Self, Error> {
        match (key.as_str(), number(key)) {
            (Some(text), _) => Ok(Self::Text(text.into())),
            (_, Some(number)) => Ok(Self::Number(number)),
            _ if key.is_none() => Ok(Self::None),
            _ => Err(argument("sort", "texts or numbers to sort by", key)),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.compare(b),
            (Self::None, Self::None) => Ordering::Equal,
            (Self::None, _) => Ordering::Greater,
            (_, Self::None) => Ordering::Less,
            // Refused before anything is sorted.
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
        }
    }
}

/// Ascending; equal items stay in their order.
fn sort(state: &State<'_, '_>, list: &Value, by: &Kwargs) -> Result<Vec<Value>, Error> {
    let keyed = keyed("sort", list, by)?;
    let rounds = 1 + u64::from(keyed.len().checked_ilog2().unwrap_or(0));
    let mut ranked = Vec::with_capacity(keyed.len());
    let mut first: Option<Value> = None;
    for (key, item) in keyed {
        let length = key.as_str().map_or(0, str::len) as u64;
        state.consume_fuel(rounds * (1 + length / 64))?;
        if !key.is_none() {
            let first = first.get_or_insert_with(|| key.clone());
            if kind_name(first) != kind_name(&key) {
                return Err(Trouble::Unlike {
                    left: kind_name(first),
                    operator: "<",
                    right: kind_name(&key),
                }
                .into());
            }
        }
        ranked.push((Rank::of(&key)?, item));
    }
    ranked.sort_by(|(a, _), (b, _)| a.compare(b));
    Ok(ranked.into_iter().map(|(_, item)| item).collect())
}

/// The exact sum of whole numbers.
fn sum(state: &State<'_, '_>, list: &Value, by: &Kwargs) -> Result<i128, Error> {
    let mut sum = 0i128;
    for (key, _) in keyed("sum", list, by)? {
        state.consume_fuel(1)?;
        if key.is_none() {
            continue;
        }
        let integer = key.is_integer().then(|| i128::try_from(key.clone()).ok());
        let Some(integer) = integer.flatten() else {
            return Err(argument("sum", "whole numbers (see int)", &key));
        };
        sum = sum.checked_add(integer).ok_or(Trouble::TooMuch {
            filter: "sum",
            limit: "128 bits hold",
        })?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble;
    use proptest::prelude::*;

    fn eval(expression: &str, json: &str) -> Result<String, String> {
        let list = crate::value::read("c", 3802, json).unwrap();
        crate::program::environment()
            .render_str(
                &format!("{{{{ {expression} }}}}"),
                Value::from_pairs([("x", list)]),
            )
            .map_err(|error| trouble::describe(&error))
    }

    #[test]
    fn a_list_is_sorted_by_a_field_and_none_comes_last() {
        let list = r#"[{"n":10,"t":"b"},{"n":null,"t":"c"},{"n":2.5,"t":"a"},{"n":2.50,"t":"d"}]"#;
        for (expression, expected) in [
            (
                "x | sort(attribute='n') | map(attribute='t') | join('')",
                "adbc",
            ),
            (
                "x | sort(attribute='t') | map(attribute='t') | join('')",
                "abcd",
            ),
            ("x | map(attribute='t') | sort | join('')", "abcd"),
            ("none | sort(attribute='t')", "[]"),
            (
                "[{'a': {'b': 2}}, {'a': {'b': 1}}] | sort(attribute='a.b') | length",
                "2",
            ),
        ] {
            assert_eq!(
                eval(expression, list).as_deref(),
                Ok(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn whole_numbers_add_up_exactly() {
        let list = r#"[{"n":9223372036854775807},{"n":null},{"n":1}]"#;
        for (expression, expected) in [
            ("x | sum(attribute='n')", "9223372036854775808"),
            ("[1, 2, 3] | sum", "6"),
            ("none | sum(attribute='n')", "0"),
            ("[] | sum", "0"),
        ] {
            assert_eq!(
                eval(expression, list).as_deref(),
                Ok(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_has_no_order_or_amount_is_an_error_that_holds_no_value() {
        for (expression, json, expected) in [
            (
                "x | sort",
                r#"["secret", 1]"#,
                "text < number can not be compared",
            ),
            (
                "x | sort",
                "[true, false]",
                "sort needs texts or numbers to sort by, not boolean",
            ),
            (
                "x | sort(attribute='a')",
                r#"["secret"]"#,
                "sort needs objects in the list, not text",
            ),
            (
                "x | sort(attribute='a')",
                "[{}]",
                "a field or variable that does not exist was used",
            ),
            ("x | sort", r#""secret""#, "sort needs a list, not text"),
            (
                "x | sum",
                r#"["secret"]"#,
                "sum needs whole numbers (see int), not text",
            ),
            (
                "x | sum",
                "[1.5]",
                "sum needs whole numbers (see int), not number",
            ),
            (
                "x | sum",
                "[170141183460469231731687303715884105727, 1]",
                "sum gives more than 128 bits hold",
            ),
        ] {
            assert_eq!(eval(expression, json).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn sorting_and_adding_up_agree_with_integers(numbers: Vec<i64>) {
            let json = serde_json::to_string(&numbers).unwrap();
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let sorted = serde_json::to_string(&sorted).unwrap();
            prop_assert_eq!(eval("x | sort", &json), Ok(sorted));
            let sum: i128 = numbers.iter().copied().map(i128::from).sum();
            prop_assert_eq!(eval("x | sum", &json), Ok(sum.to_string()));
        }
    }
}
