//! Filters of texts, numbers and lists that minijinja has too, but where its own take none for the
//! text `None`: here none is an empty text, no number and an empty list.

use minijinja::{Environment, Error, Value, filters};

use crate::difference::{argument, items};
use crate::filters::print;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("capitalize", |value: &Value| {
        print(value).map(|text| capitalize(&text))
    });
    environment.add_filter("lower", |value: &Value| {
        print(value).map(|text| text.to_lowercase())
    });
    environment.add_filter("title", |value: &Value| {
        print(value).map(|text| filters::title(text.into()))
    });
    environment.add_filter("trim", |value: &Value| {
        print(value).map(|text| text.trim().to_owned())
    });
    environment.add_filter("upper", |value: &Value| {
        print(value).map(|text| text.to_uppercase())
    });
    environment.add_filter("replace", |value: &Value, from: &str, to: &str| {
        print(value).map(|text| text.replace(from, to))
    });
    environment.add_filter("split", split);
    environment.add_filter("int", int);

    environment.add_filter("first", |list: &Value| {
        items("first", list).map(|items| items.into_iter().next())
    });
    environment.add_filter("last", |list: &Value| {
        items("last", list).map(|mut items| items.pop())
    });
    environment.add_filter("list", |list: &Value| items("list", list));
    environment.add_filter("reverse", |list: &Value| {
        items("reverse", list).map(|items| items.into_iter().rev().collect::<Vec<_>>())
    });
    environment.add_filter("items", |object: &Value| match object.is_none() {
        true => Ok(Value::from(Vec::<Value>::new())),
        false => filters::items(object),
    });
    environment.add_filter("length", |value: &Value| match value.is_none() {
        true => Ok(0),
        false => filters::length(value),
    });
}

fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first
        .chain(characters.as_str().to_lowercase().chars())
        .collect()
}

fn split(value: &Value, separator: &str) -> Result<Vec<String>, Error> {
    if value.is_none() {
        return Ok(Vec::new());
    }
    Ok(print(value)?.split(separator).map(str::to_owned).collect())
}

/// The whole part of a number, exact; of a text that holds one, too.
fn int(value: &Value) -> Result<Value, Error> {
    if value.is_none() {
        return Ok(value.clone());
    }
    let text = print(value)?;
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    match whole.parse::<i128>() {
        Ok(number) if fraction.bytes().all(|b| b.is_ascii_digit()) => Ok(Value::from(number)),
        _ => Err(argument("int", "a number", value)),
    }
}
