//! How many of what: the lines that a digest begins with.
//!
//! The rule, which holds for every type and every action:
//! - A type that reads `<nouns>_<verb of the past>` with its noun in the plural (`endpoints_added`)
//!   counts what its actions speak of: the length of the list, or the whole number above 0, under
//!   the noun (`endpoints`), the verb (`added`) or `count` in the action's data, in this order; 1
//!   where there is none.
//! - One with its noun in the singular (`project_created`) counts its actions.
//! - One without such a verb (`deployment`) counts what happened: actions with the same id under
//!   `<type>_id` in their reference_ids are one, with the status of the last; those without are one
//!   each.
//! - How many of them have another status than `success` follows in brackets.

use std::collections::HashMap;

use activity::Action;
use serde_json::Value;

use super::words::{self, Reading};
use crate::Notification;
use crate::format::text;

/// Lines of one summary, the last of which may say how many are missing.
const LINES_MAX: usize = 20;
/// UTF-16 code units.
const LINE_UNITS_MAX: usize = 200;
const STATUS_UNITS_MAX: usize = 40;
const STATUSES_MAX: usize = 4;

/// The actions of one type.
pub(crate) struct Tally<'a> {
    pub(crate) action_type: &'a str,
    pub(crate) actions: usize,
    parts: Vec<Part<'a>>,
    /// Where in `parts` a thing stands that has been told before.
    things: HashMap<&'a str, usize>,
}

/// What one action adds to a count.
struct Part<'a> {
    amount: u64,
    status: Option<&'a str>,
}

/// In the order of each type's first action.
pub(super) fn tallies<'a>(actions: &[Notification<'a>]) -> Vec<Tally<'a>> {
    let mut tallies: Vec<Tally<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for Notification { action, .. } in actions {
        let action_type = action.action_type.as_str();
        let place = *places.entry(action_type).or_insert(tallies.len());
        if place == tallies.len() {
            tallies.push(Tally {
                action_type,
                actions: 0,
                parts: Vec::new(),
                things: HashMap::new(),
            });
        }
        if let Some(tally) = tallies.get_mut(place) {
            tally.add(action);
        }
    }
    tallies
}

pub(super) fn lines(tallies: &[Tally<'_>]) -> Vec<String> {
    let told = match tallies.len() {
        kinds if kinds > LINES_MAX => LINES_MAX - 1,
        kinds => kinds,
    };
    let mut lines: Vec<String> = tallies.iter().take(told).map(Tally::line).collect();
    if told < tallies.len() {
        lines.push(format!("and {} kinds more", tallies.len() - told));
    }
    lines
}

impl<'a> Tally<'a> {
    fn add(&mut self, action: &'a Action) {
        self.actions += 1;
        let status = action.status.as_deref();
        let (amount, thing) = match words::read(self.action_type) {
            Reading::Done {
                noun,
                verb,
                plural: true,
            } => (amount(action, &noun, &verb), None),
            Reading::Done { plural: false, .. } | Reading::Unreadable => (1, None),
            Reading::Happened { .. } => (1, identity(action)),
        };
        let before = thing.and_then(|thing| self.things.get(thing));
        let before = before.and_then(|place| self.parts.get_mut(*place));
        if let Some(part) = before {
            part.status = status;
            return;
        }
        if let Some(thing) = thing {
            self.things.insert(thing, self.parts.len());
        }
        self.parts.push(Part { amount, status });
    }

    fn line(&self) -> String {
        let total = self
            .parts
            .iter()
            .fold(0, |sum: u64, part| sum.saturating_add(part.amount));
        let what = match words::read(self.action_type) {
            Reading::Done { noun, verb, .. } => format!("{} {verb}", words::count(total, &noun)),
            Reading::Happened { noun } => words::count(total, &noun),
            Reading::Unreadable => format!("{total} × {}", self.action_type),
        };
        let what = text::line(&what, LINE_UNITS_MAX);
        match self.statuses() {
            statuses if statuses.is_empty() => what,
            statuses => format!("{what} ({})", statuses.join(", ")),
        }
    }

    /// "2 failed", "1 in progress"; those that succeeded go without saying.
    fn statuses(&self) -> Vec<String> {
        let mut statuses: Vec<(&str, u64)> = Vec::new();
        for part in &self.parts {
            let Some(status) = part.status.filter(|status| *status != "success") else {
                continue;
            };
            if let Some((_, amount)) = statuses.iter_mut().find(|(known, _)| *known == status) {
                *amount = amount.saturating_add(part.amount);
            } else if statuses.len() < STATUSES_MAX {
                statuses.push((status, part.amount));
            }
        }
        let named = statuses.iter().map(|(status, amount)| {
            let status = text::line(&status.replace('_', " "), STATUS_UNITS_MAX);
            format!("{amount} {status}")
        });
        named.collect()
    }
}

fn amount(action: &Action, noun: &[String], verb: &str) -> u64 {
    let noun = noun.join("_");
    let offers = [noun.as_str(), verb, "count"];
    let mut offered = offers
        .iter()
        .filter_map(|key| match action.data.get(*key)? {
            Value::Array(items) => u64::try_from(items.len()).ok(),
            Value::Number(number) => number.as_u64(),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
        });
    offered.find(|amount| *amount > 0).unwrap_or(1)
}

/// Which thing an action is about.
fn identity(action: &Action) -> Option<&str> {
    let key = format!("{}_id", action.action_type);
    action.reference_ids.as_ref()?.get(&key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use crate::sample;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn action(action_type: &str, status: &str, references: Value, data: &Value) -> Sample {
        let mut sample = sample(action_type, Timestamp::UNIX_EPOCH);
        sample.action.action_type = action_type.to_owned();
        sample.action.status = Some(status.to_owned());
        sample.action.reference_ids = Some(references);
        sample.action.data = data.as_object().cloned().unwrap_or_default();
        sample
    }

    fn summary(samples: &[Sample]) -> Vec<String> {
        let notifications: Vec<_> = samples.iter().map(Sample::notification).collect();
        lines(&tallies(&notifications))
    }

    fn of_data(action_type: &str, data: &[Value]) -> Vec<String> {
        let samples = data.iter();
        let samples: Vec<_> = samples
            .map(|data| action(action_type, "success", json!({}), data))
            .collect();
        summary(&samples)
    }

    #[test]
    fn things_of_a_plural_are_counted_by_what_the_data_offer() {
        for (action_type, data, expected) in [
            (
                "endpoints_added",
                vec![json!({"added": [1, 2]}), json!({"added": [{}, {}, {}]})],
                "5 endpoints added",
            ),
            (
                "endpoints_added",
                vec![json!({"endpoints": ["GET /"], "added": [1, 2]})],
                "1 endpoint added",
            ),
            (
                "queries_executed",
                vec![json!({"queries": 3}), json!({"queries": 4})],
                "7 queries executed",
            ),
            (
                "api_keys_sent",
                vec![json!({"api_keys": 0, "count": 2})],
                "2 api keys sent",
            ),
            (
                "endpoints_modified",
                vec![json!({}), json!({"endpoints": "two"})],
                "2 endpoints modified",
            ),
            (
                "endpoints_added",
                vec![json!({"count": u64::MAX}), json!({"count": u64::MAX})],
                "18446744073709551615 endpoints added",
            ),
            (
                "project_created",
                vec![json!({"project": [1, 2, 3]}); 2],
                "2 projects created",
            ),
            (
                "github_push",
                vec![json!({"files": 4}); 3],
                "3 github pushes",
            ),
            ("🎉", vec![json!({}); 2], "2 × 🎉"),
        ] {
            assert_eq!(of_data(action_type, &data), [expected]);
        }
    }

    #[test]
    fn a_thing_that_is_told_twice_counts_once_with_its_last_status() {
        let deployment = |id: &str, status| {
            let references = json!({ "deployment_id": id });
            action("deployment", status, references, &json!({}))
        };
        let story = [
            deployment("1", "in_progress"),
            deployment("2", "in_progress"),
            deployment("1", "success"),
            deployment("3", "failed"),
        ];
        assert_eq!(summary(&story), ["3 deployments (1 in progress, 1 failed)"]);
        assert_eq!(summary(&story[..1]), ["1 deployment (1 in progress)"]);
    }

    #[test]
    fn types_come_in_the_order_of_their_first_action_and_not_without_end() {
        let samples: Vec<_> = (0..30)
            .map(|n| action(&format!("kind{n}_done"), "success", json!({}), &json!({})))
            .collect();
        let lines = summary(&samples);
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[0], "1 kind0 done");
        assert_eq!(lines[19], "and 11 kinds more");
    }

    proptest! {
        #[test]
        fn every_action_gives_a_line_of_bounded_length(
            action_type in ".{1,300}", status in ".{0,300}", times in 1_usize..5,
        ) {
            let one = action(&action_type, &status, json!({}), &json!({}));
            let samples = vec![one; times];
            let lines = summary(&samples);
            prop_assert_eq!(lines.len(), 1);
            prop_assert!(text::units(&lines[0]) <= LINE_UNITS_MAX + 30 + STATUS_UNITS_MAX);
        }
    }
}
