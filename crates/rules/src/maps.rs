//! Value maps of a pack: `[maps.carrier]` and the filter that looks values up in them.
//!
//! All packs share one environment, so a map lives there under its pack's name and its own. The
//! program that uses it is named after its pack too (`shop/order_placed/when`).

use std::collections::BTreeMap;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

use crate::difference::argument;
use crate::filters::print;
use crate::hint::hint;
use crate::pack::Pack;
use crate::references::Mistake;
use crate::syntax::{Kind, Token};
use crate::trouble::Trouble;

/// `[maps.NAME]`: what people read for the text of a value.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) texts: BTreeMap<String, Value>,
}

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter(
        "translate",
        |state: &State<'_, '_>, value: &Value, map: &str, other: Rest<Value>| {
            translate(state, value, map, other.first())
        },
    );
}

/// Makes the maps known to the programs of their pack.
pub(crate) fn add(environment: &mut Environment<'static>, pack: &Pack) {
    for map in &pack.maps {
        let name = global(&pack.name.text, &map.name);
        let texts = map.texts.iter();
        let texts = texts.map(|(key, text)| (key.as_str(), text.clone()));
        environment.add_global(name, Value::from_pairs(texts));
    }
}

/// No variable can have such a name.
fn global(pack: &str, map: &str) -> String {
    format!("[maps.{pack}/{map}]")
}

/// The name of the pack in the name of a program or rule.
pub(crate) fn pack(program: &str) -> &str {
    program.split_once('/').map_or(program, |(pack, _)| pack)
}

fn translate(
    state: &State<'_, '_>,
    value: &Value,
    map: &str,
    other: Option<&Value>,
) -> Result<Value, Error> {
    let Some(map) = state.lookup(&global(pack(state.name()), map)) else {
        let (filter, needs) = ("translate", "the name of a map that the pack has");
        return Err(Trouble::Literal { filter, needs }.into());
    };
    match value.kind() {
        ValueKind::None => Ok(Value::from(())),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => Err(argument(
            "translate",
            "a text, a number or a boolean",
            value,
        )),
        _ => {
            let found = map.get_attr(&print(value)?)?;
            Ok(match (found.is_undefined(), other) {
                (false, _) => found,
                (true, Some(other)) => other.clone(),
                (true, None) => value.clone(),
            })
        }
    }
}

/// Maps that a program of a rule names and its pack has not.
pub(crate) fn mistakes(
    environment: &Environment<'_>,
    rule: &str,
    tokens: &[Token<'_>],
) -> Vec<Mistake> {
    let uses = (0..tokens.len()).filter_map(|at| named(tokens, at));
    let mut mistakes = Vec::new();
    for (at, name) in uses {
        let byte = tokens.get(at).map_or(0, |token| token.start);
        let Some(name) = name.filter(|name| !name.contains('\\')) else {
            mistakes.push(Mistake {
                byte,
                message: "translate needs the name of a map".to_owned(),
                hint: Some("write translate('name') and [maps.name]".to_owned()),
            });
            continue;
        };
        let wanted = global(pack(rule), name);
        if environment.globals().any(|(known, _)| known == wanted) {
            continue;
        }
        let before = global(pack(rule), "");
        let before = before.trim_end_matches(']');
        let known: Vec<String> = environment
            .globals()
            .filter_map(|(known, _)| {
                known
                    .strip_prefix(before)?
                    .strip_suffix(']')
                    .map(str::to_owned)
            })
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        mistakes.push(Mistake {
            byte,
            message: format!("there is no map {name} in the pack"),
            hint: hint("map", name, &known).or_else(|| Some(format!("write [maps.{name}]"))),
        });
    }
    mistakes
}

/// Where `translate` is used, and the map that it is given: `x | translate('name')`, or
/// `xs | map('translate', 'name')`.
fn named<'s>(tokens: &[Token<'s>], at: usize) -> Option<(usize, Option<&'s str>)> {
    let token = |n: usize| tokens.get(n);
    let symbol = |n: usize, text| token(n).is_some_and(|t| t.is_symbol(text));
    let text = |n: usize| token(n).filter(|t| t.kind == Kind::Text).map(|t| t.text);
    if symbol(at, "|") && token(at + 1)?.is_name("translate") {
        let name = text(at + 3).filter(|_| symbol(at + 2, "("));
        return Some((at + 1, name));
    }
    let mapped = token(at)?.is_name("map") && symbol(at + 1, "(");
    if mapped && text(at + 2) == Some("translate") {
        let name = text(at + 4).filter(|_| symbol(at + 3, ","));
        return Some((at + 2, name));
    }
    None
}
