//! What our own tables take of values that anybody may have made: Postgres stores no NUL, and its numeric has an
//! end. A value that they refused would stop capture. Pure.

use activity::Action;
use serde_json::{Map, Value};

/// Of a number's text and of its exponent. Postgres' numeric ends at 131,072 digits before its point and 16,383
/// behind it; no number that counts anything comes near.
const NUMBER_MAX: usize = 1000;

/// The action as the log takes it.
pub(super) fn action(mut action: Action) -> Action {
    let texts = [
        &mut action.project_id,
        &mut action.user_id,
        &mut action.request_id,
        &mut action.action_details,
        &mut action.status,
        &mut action.environment,
        &mut action.cost_usd,
    ];
    texts.into_iter().flatten().for_each(text);
    text(&mut action.action_type);
    action.reference_ids.iter_mut().for_each(value);
    object(&mut action.data);
    action
}

pub(super) fn text(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{FFFD}");
    }
}

/// A number that is none of Postgres' becomes its text.
pub(super) fn value(json: &mut Value) {
    match json {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter_mut().for_each(value),
        Value::Object(fields) => object(fields),
        Value::Number(number) => {
            let digits = number.to_string();
            if !is_moderate(&digits) {
                *json = Value::String(digits);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

pub(super) fn object(fields: &mut Map<String, Value>) {
    if fields.keys().any(|name| name.contains('\0')) {
        *fields = std::mem::take(fields)
            .into_iter()
            .map(|(name, value)| (name.replace('\0', "\u{FFFD}"), value))
            .collect();
    }
    fields.values_mut().for_each(value);
}

fn is_moderate(number: &str) -> bool {
    let exponent = number.split_once(['e', 'E']).map(|(_, exponent)| exponent);
    let exponent = exponent.map_or(Ok(0), str::parse::<i64>);
    let limit = NUMBER_MAX as u64;
    number.len() <= NUMBER_MAX && exponent.is_ok_and(|exponent| exponent.unsigned_abs() <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_postgres_has_no_place_for_becomes_its_text() {
        let long = "7".repeat(NUMBER_MAX + 1);
        for (number, kept) in [
            ("-12.50", true),
            ("1e1000", true),
            ("1e-1000", true),
            ("1e1001", false),
            ("1E+200000", false),
            ("1e-99999999999999999999", false),
            (long.as_str(), false),
        ] {
            let mut json: Value = serde_json::from_str(&format!(r#"{{"a": [{number}]}}"#)).unwrap();
            value(&mut json);
            assert_eq!(json["a"][0].is_number(), kept, "{number}");
            assert_eq!(json["a"][0].is_string(), !kept, "{number}");
        }
    }

    #[test]
    fn no_nul_is_left_in_texts_or_in_names() {
        let mut json = serde_json::json!({"a\0": ["b\0", {"c": "d"}]});
        value(&mut json);
        assert_eq!(
            json,
            serde_json::json!({"a\u{FFFD}": ["b\u{FFFD}", {"c": "d"}]})
        );
    }
}
