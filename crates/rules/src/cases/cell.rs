//! A value of a case as the text that the stream carries for a column of its type.

use activity::Value;
use serde_json::Value as Json;

/// Stands for null in a row, and for "nothing" in what is expected.
pub(super) const NULL: &str = "@null";
/// Stands for a large value that an update left alone, and the stream left out.
pub(super) const UNCHANGED: &str = "@unchanged";

const JSON: u32 = 114;
const JSONB: u32 = 3802;
const BOOL: u32 = 16;

/// Type names as SQL has them, with the OIDs that rules tell apart.
pub(super) const TYPES: &[(&str, u32)] = &[
    ("text", 25),
    ("varchar", 1043),
    ("char", 1042),
    ("uuid", 2950),
    ("bool", BOOL),
    ("boolean", BOOL),
    ("smallint", 21),
    ("int", 23),
    ("integer", 23),
    ("bigint", 20),
    ("real", 700),
    ("float", 701),
    ("double precision", 701),
    ("numeric", 1700),
    ("decimal", 1700),
    ("json", JSON),
    ("jsonb", JSONB),
    ("bytea", 17),
    ("date", 1082),
    ("time", 1083),
    ("timestamp", 1114),
    ("timestamptz", 1184),
    ("interval", 1186),
    ("inet", 869),
    ("text[]", 1009),
    ("varchar[]", 1015),
    ("uuid[]", 2951),
    ("bool[]", 1000),
    ("boolean[]", 1000),
    ("int[]", 1007),
    ("integer[]", 1007),
    ("bigint[]", 1016),
    ("numeric[]", 1231),
    ("json[]", 199),
    ("jsonb[]", 3807),
];

pub(super) const TEXT: u32 = 25;

pub(super) fn type_oid(name: &str) -> Option<u32> {
    let name = name.trim().to_lowercase();
    let name = name.split('(').next().unwrap_or_default().trim_end();
    TYPES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, oid)| *oid)
}

fn is_array(type_oid: u32) -> bool {
    TYPES
        .iter()
        .any(|(name, oid)| *oid == type_oid && name.ends_with("[]"))
}

pub(super) fn cell(value: &Json, type_oid: u32) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::String(text) if text == NULL => Value::Null,
        Json::String(text) if text == UNCHANGED => Value::Unchanged,
        value => Value::Text(text(value, type_oid).into()),
    }
}

fn text(value: &Json, type_oid: u32) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Bool(value) if type_oid == BOOL => if *value { "t" } else { "f" }.to_owned(),
        Json::Array(items) if is_array(type_oid) => array(items),
        value => value.to_string(),
    }
}

/// As `array_out` prints it.
fn array(items: &[Json]) -> String {
    let element = |item: &Json| match item {
        Json::Null => "NULL".to_owned(),
        Json::String(text) if text == NULL => "NULL".to_owned(),
        Json::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Json::Array(items) => array(items),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quoted(text),
        Json::Object(_) => quoted(&item.to_string()),
    };
    let elements: Vec<String> = items.iter().map(element).collect();
    format!("{{{}}}", elements.join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_what_postgres_prints() {
        for (value, type_name, expected) in [
            (json!("x"), "text", "x"),
            (json!(true), "bool", "t"),
            (json!(true), "jsonb", "true"),
            (json!([1, "a"]), "jsonb", r#"[1,"a"]"#),
            (
                json!(["a b", "@null", "q\""]),
                "text[]",
                r#"{"a b",NULL,"q\""}"#,
            ),
            (json!({"a": 1}), "text", r#"{"a":1}"#),
            (json!(1.5), "numeric", "1.5"),
        ] {
            let type_oid = type_oid(type_name).unwrap();
            assert_eq!(
                cell(&value, type_oid),
                Value::Text(expected.into()),
                "{value}"
            );
        }
        assert_eq!(cell(&json!("@null"), TEXT), Value::Null);
        assert_eq!(cell(&json!("@unchanged"), TEXT), Value::Unchanged);
        assert_eq!(type_oid("varchar(255)"), Some(1043));
        assert_eq!(type_oid("jsonbb"), None);
    }
}
