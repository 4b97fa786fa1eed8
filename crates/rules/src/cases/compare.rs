//! What was expected against what came, in order.

use serde_json::{Map, Value as Json};

use super::cell::NULL;
use super::play::{action_columns, fault_columns};
use super::{Case, Difference, Expected, Verdict};
use crate::{Derived, Fault};

pub(super) fn compare(case: &Case, actions: &[Derived], faults: &[Fault]) -> Verdict {
    let actions: Vec<Json> = actions.iter().map(action_columns).collect();
    let faults: Vec<Json> = faults.iter().map(fault_columns).collect();
    let mut differences = diff("action", &case.actions, &actions);
    differences.extend(diff("fault", &case.faults, &faults));
    Verdict {
        name: case.name.text.clone(),
        line: case.name.line,
        differences,
    }
}

/// Pairs what matches wholly, in order and as much of it as can be; between such pairs the others
/// are compared one by one, and what is left on either side is missing or too much.
fn diff(of: &'static str, expected: &[Expected], got: &[Json]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (mut e, mut g) = (0, 0);
    let ends = [(expected.len(), got.len())];
    for (next_e, next_g) in pairs(expected, got).into_iter().chain(ends) {
        while e < next_e || g < next_g {
            let (wanted, came) = (
                expected.get(e).filter(|_| e < next_e),
                got.get(g).filter(|_| g < next_g),
            );
            match (wanted, came) {
                (Some(wanted), Some(came)) => {
                    differences.extend(columns(of, e + 1, wanted, came));
                }
                (Some(wanted), None) => differences.push(Difference::Missing {
                    of,
                    place: e + 1,
                    line: wanted.line,
                    expected: Json::Object(wanted.columns.clone()),
                }),
                (None, Some(came)) => {
                    differences.push(Difference::Unexpected {
                        of,
                        got: came.clone(),
                    });
                }
                (None, None) => {}
            }
            e += usize::from(wanted.is_some());
            g += usize::from(came.is_some());
        }
        (e, g) = (next_e + 1, next_g + 1);
    }
    differences
}

/// The longest common subsequence of whole matches.
fn pairs(expected: &[Expected], got: &[Json]) -> Vec<(usize, usize)> {
    let width = got.len() + 1;
    let mut longest = vec![0usize; (expected.len() + 1) * width];
    let at =
        |longest: &[usize], e: usize, g: usize| longest.get(e * width + g).copied().unwrap_or(0);
    let same = |e: usize, g: usize| match (expected.get(e), got.get(g)) {
        (Some(wanted), Some(came)) => columns("", 0, wanted, came).is_empty(),
        _ => false,
    };
    for e in (0..expected.len()).rev() {
        for g in (0..got.len()).rev() {
            let length = match same(e, g) {
                true => 1 + at(&longest, e + 1, g + 1),
                false => at(&longest, e + 1, g).max(at(&longest, e, g + 1)),
            };
            if let Some(cell) = longest.get_mut(e * width + g) {
                *cell = length;
            }
        }
    }
    let (mut e, mut g, mut pairs) = (0, 0, Vec::new());
    while e < expected.len() && g < got.len() {
        if same(e, g) && at(&longest, e, g) == 1 + at(&longest, e + 1, g + 1) {
            pairs.push((e, g));
            (e, g) = (e + 1, g + 1);
        } else if at(&longest, e + 1, g) >= at(&longest, e, g + 1) {
            e += 1;
        } else {
            g += 1;
        }
    }
    pairs
}

/// The named columns that are others than expected.
fn columns(of: &'static str, place: usize, wanted: &Expected, came: &Json) -> Vec<Difference> {
    let differing = wanted.columns.iter().filter_map(|(column, expected)| {
        let got = came.get(column).cloned().unwrap_or(Json::Null);
        let holds = match column.as_str() {
            // Only the variables that are named.
            "data" => contains(&got, expected),
            "reason" => match (expected.as_str(), got.as_str()) {
                (Some(part), Some(reason)) => reason.contains(part),
                _ => false,
            },
            // With its pack or without.
            "rule" => match (expected.as_str(), got.as_str()) {
                (Some(expected), Some(rule)) => {
                    rule == expected
                        || rule
                            .split_once('/')
                            .is_some_and(|(_, name)| name == expected)
                }
                _ => equal(&got, expected),
            },
            _ => equal(&got, expected),
        };
        (!holds).then(|| Difference::Column {
            of,
            place,
            line: wanted.line,
            column: column.clone(),
            expected: expected.clone(),
            got,
        })
    });
    differing.collect()
}

fn contains(got: &Json, expected: &Json) -> bool {
    match expected.as_object() {
        Some(fields) => fields.iter().all(|(name, value)| {
            let got = got.get(name).cloned().unwrap_or(Json::Null);
            equal(&got, value)
        }),
        None => equal(got, expected),
    }
}

/// Numbers by what they print, `@null` as nothing.
fn equal(got: &Json, expected: &Json) -> bool {
    match (got, expected) {
        (Json::Null, Json::String(text)) if text == NULL => true,
        (Json::Array(got), Json::Array(expected)) => {
            got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| equal(g, e))
        }
        (Json::Object(got), Json::Object(expected)) => same_fields(got, expected),
        (Json::Number(got), Json::Number(expected)) => got.to_string() == expected.to_string(),
        (got, expected) => got == expected,
    }
}

fn same_fields(got: &Map<String, Json>, expected: &Map<String, Json>) -> bool {
    got.len() == expected.len()
        && expected
            .iter()
            .all(|(name, value)| got.get(name).is_some_and(|got| equal(got, value)))
}
