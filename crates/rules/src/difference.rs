//! Lists by difference: what came, what went, what is not as it was.

use std::collections::{BTreeSet, HashMap, HashSet};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, State, Value};

use crate::compare::{canonical, kind_name};
use crate::trouble::Trouble;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter(
        "added",
        |state: &State<'_, '_>, new: &Value, old: &Value, by: Kwargs| {
            added(&By::new("added", state, &by)?, new, old)
        },
    );
    environment.add_filter(
        "removed",
        |state: &State<'_, '_>, old: &Value, new: &Value, by: Kwargs| {
            added(&By::new("removed", state, &by)?, old, new)
        },
    );
    environment.add_filter(
        "modified",
        |state: &State<'_, '_>, new: &Value, old: &Value, by: Kwargs| {
            modified(&By::new("modified", state, &by)?, new, old)
        },
    );
    environment.add_filter(
        "differences",
        |state: &State<'_, '_>, new: &Value, old: &Value, by: Kwargs| {
            differences(&By::new("differences", state, &by)?, new, old)
        },
    );
    environment.add_filter(
        "unique",
        |state: &State<'_, '_>, list: &Value, by: Kwargs| {
            added(&By::new("unique", state, &by)?, list, &Value::from(()))
        },
    );
}

pub(crate) fn argument(filter: &'static str, needs: &'static str, found: &Value) -> Error {
    let found = kind_name(found);
    Trouble::Argument {
        filter,
        needs,
        found,
    }
    .into()
}

/// The items of a list; none has no items.
pub(crate) fn items(filter: &'static str, list: &Value) -> Result<Vec<Value>, Error> {
    match list.kind() {
        ValueKind::None => Ok(Vec::new()),
        ValueKind::Seq | ValueKind::Iterable => list.try_iter()?.checked().collect(),
        _ => Err(argument(filter, "a list", list)),
    }
}

/// The fields that make two items of two lists the same one; without any, the whole item does.
struct By<'a> {
    filter: &'static str,
    state: &'a State<'a, 'a>,
    fields: Vec<String>,
}

impl<'a> By<'a> {
    fn new(filter: &'static str, state: &'a State<'_, '_>, by: &Kwargs) -> Result<Self, Error> {
        let fields: Option<Value> = by.get("by")?;
        by.assert_all_used()?;
        let names = match fields {
            None => Vec::new(),
            Some(name) if name.as_str().is_some() => vec![name],
            Some(names) => items(filter, &names)?,
        };
        let text = |name: &Value| {
            let text = name.as_str().map(str::to_owned);
            text.ok_or_else(|| argument(filter, "names of fields in by", name))
        };
        Ok(Self {
            filter,
            state,
            fields: names.iter().map(text).collect::<Result<_, _>>()?,
        })
    }

    fn items(&self, list: &Value) -> Result<Vec<Value>, Error> {
        items(self.filter, list)
    }

    fn whole(&self, item: &Value) -> Result<String, Error> {
        let text = canonical(item)?;
        self.state.consume_fuel(1 + text.len() as u64 / 64)?;
        Ok(text)
    }

    fn key(&self, item: &Value) -> Result<String, Error> {
        if self.fields.is_empty() {
            return self.whole(item);
        }
        if item.kind() != ValueKind::Map {
            return Err(argument(self.filter, "objects in the list", item));
        }
        let mut key = String::new();
        for field in &self.fields {
            key.push_str(&self.whole(&item.get_attr(field)?)?);
            key.push(',');
        }
        Ok(key)
    }
}

/// The items of `new` that `old` has not, each once, in the order of `new`.
fn added(by: &By<'_>, new: &Value, old: &Value) -> Result<Value, Error> {
    let mut seen = HashSet::new();
    for item in by.items(old)? {
        seen.insert(by.key(&item)?);
    }
    let mut found = Vec::new();
    for item in by.items(new)? {
        if seen.insert(by.key(&item)?) {
            found.push(item);
        }
    }
    Ok(Value::from(found))
}

/// The items of `new` that `old` has too, but not with the same fields; each with the item that it
/// was before.
fn pairs(by: &By<'_>, new: &Value, old: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let mut before = HashMap::new();
    for item in by.items(old)? {
        before.insert(by.key(&item)?, (by.whole(&item)?, item));
    }
    let mut found = Vec::new();
    for item in by.items(new)? {
        let now = by.whole(&item)?;
        // Removed as it is found: an item that the new list holds twice is modified once.
        match before.remove(&by.key(&item)?) {
            Some((then, was)) if then != now => found.push((item, was)),
            _ => {}
        }
    }
    Ok(found)
}

fn modified(by: &By<'_>, new: &Value, old: &Value) -> Result<Value, Error> {
    let pairs = pairs(by, new, old)?.into_iter();
    Ok(pairs.map(|(item, _)| item).collect())
}

/// The modified items, each with what it was and the names of the fields that differ.
fn differences(by: &By<'_>, new: &Value, old: &Value) -> Result<Value, Error> {
    let difference = |(item, before): (Value, Value)| {
        let fields = Value::from(differing(by, &item, &before)?);
        Ok(Value::from_pairs([
            ("item", item),
            ("before", before),
            ("fields", fields),
        ]))
    };
    let pairs = pairs(by, new, old)?.into_iter();
    let found: Result<Vec<Value>, Error> = pairs.map(difference).collect();
    found.map(Value::from)
}

/// A field that one of them lacks differs from none.
fn differing(by: &By<'_>, item: &Value, before: &Value) -> Result<Vec<String>, Error> {
    let mut names = BTreeSet::new();
    for object in [item, before] {
        for name in object.try_iter()?.checked() {
            names.insert(name?.to_string());
        }
    }
    let text = |object: &Value, name: &str| match object.get_attr(name)? {
        field if field.is_undefined() => Ok(None),
        field => by.whole(&field).map(Some),
    };
    let mut found = Vec::new();
    for name in names {
        if text(item, &name)? != text(before, &name)? {
            found.push(name);
        }
    }
    Ok(found)
}
