//! Texts: the JSON that one holds, and as much of one as there is room for.

use minijinja::{Environment, Error, State, Value};

use crate::difference::argument;
use crate::filters::print;
use crate::trouble::Trouble;
use crate::value::from_json;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("fromjson", fromjson);
    environment.add_filter("truncate", truncate);
}

/// What is no text is JSON's value already: a column that became jsonb reads the same. An empty
/// text holds nothing.
fn fromjson(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return match value.is_undefined() {
            true => Err(argument("fromjson", "a text that holds JSON", value)),
            false => Ok(value.clone()),
        };
    };
    if text.trim().is_empty() {
        return Ok(Value::from(()));
    }
    state.consume_fuel(1 + text.len() as u64 / 64)?;
    match serde_json::from_str(text) {
        Ok(json) => Ok(from_json(json)),
        // Its own message quotes the text.
        Err(_) => Err(Trouble::Text {
            filter: "fromjson",
            needs: "JSON",
        }
        .into()),
    }
}

/// At most so many characters, of which the last is `…` where something was cut.
fn truncate(value: &Value, length: &Value) -> Result<String, Error> {
    let needs = "a number of characters from 1";
    let length = length.as_usize().filter(|length| *length > 0);
    let length = length.ok_or(Trouble::Literal {
        filter: "truncate",
        needs,
    })?;
    let mut text = print(value)?;
    if let Some((last, _)) = text.char_indices().nth(length - 1)
        && text.chars().nth(length).is_some()
    {
        text.truncate(last);
        text.truncate(text.trim_end().len());
        text.push('…');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eval(expression: &str, text: &str) -> Result<String, String> {
        let context = Value::from_pairs([("x", text)]);
        crate::program::environment()
            .render_str(&format!("{{{{ {expression} }}}}"), context)
            .map_err(|error| crate::trouble::describe(&error))
    }

    #[test]
    fn text_that_holds_json_becomes_its_value() {
        for (expression, expected) in [
            (r#"'{"a": [1, 2.50]}' | fromjson"#, r#"{"a":[1,2.50]}"#),
            ("('[1, 2]' | fromjson)[1] + 1", "3"),
            ("'12345678901234567890' | fromjson", "12345678901234567890"),
            (r#"'"text"' | fromjson"#, "text"),
            ("'null' | fromjson", ""),
            ("none | fromjson", ""),
            ("' ' | fromjson", ""),
            ("['a'] | fromjson", r#"["a"]"#),
            ("('{}' | fromjson | fromjson)", "{}"),
        ] {
            assert_eq!(
                eval(expression, "").as_deref(),
                Ok(expected),
                "{expression}"
            );
        }
        let error = eval("x | fromjson", "{secret").unwrap_err();
        assert_eq!(error, "the text given to fromjson is not JSON");
        let nested = "[".repeat(100_000);
        assert!(eval("x | fromjson", &nested).is_err());
    }

    #[test]
    fn a_text_is_cut_where_it_is_longer() {
        for (expression, expected) in [
            ("'äöü' | truncate(3)", "äöü"),
            ("'äöüß' | truncate(3)", "äö…"),
            ("'one two' | truncate(5)", "one…"),
            ("'ab' | truncate(1)", "…"),
            ("12345 | truncate(3)", "12…"),
            ("none | truncate(3)", ""),
        ] {
            assert_eq!(
                eval(expression, "").as_deref(),
                Ok(expected),
                "{expression}"
            );
        }
        for wrong in ["0", "-1", "'3'", "none"] {
            let error = eval(&format!("x | truncate({wrong})"), "secret").unwrap_err();
            assert_eq!(error, "truncate needs a number of characters from 1");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_a_prefix_that_fits(text: String, length in 1usize..20) {
            let cut = eval(&format!("x | truncate({length})"), &text).unwrap();
            prop_assert!(cut.chars().count() <= length);
            prop_assert_eq!(cut == text, text.chars().count() <= length || text == cut);
            if cut != text {
                prop_assert!(text.starts_with(cut.strip_suffix('…').unwrap()));
            }
        }

        #[test]
        fn what_tojson_writes_fromjson_reads(number: i64, text: String) {
            let value = Value::from(vec![Value::from(number), Value::from(text)]);
            let environment = crate::program::environment();
            let context = Value::from_pairs([("x", value)]);
            let equal = environment
                .render_str("{{ x | tojson | fromjson is eq(x) }}", context)
                .unwrap();
            prop_assert_eq!(equal, "true");
        }
    }
}
