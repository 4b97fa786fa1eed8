//! What a logical message says of a run: JSON under the prefix `tidings`. Pure.

use std::time::Duration;

use activity::{Action, Actor, Found, Lsn, PROJECT_ID_BYTES_MAX};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use store::runs::Run;

use super::storable;
use crate::settings::RUN_TIMEOUT_MAX;

pub const PREFIX: &str = "tidings";
/// A longer message is ignored.
const BYTES_MAX: usize = 64 * 1024;
/// A longer name of a run is none.
const NAME_BYTES_MAX: usize = 200;
/// The status of a run that goes on; with any other it is over.
const IN_PROGRESS: &str = "in_progress";

/// A message that was read.
pub struct Announcement {
    pub run: String,
    status: String,
    fields: Map<String, Value>,
}

impl Announcement {
    /// The error says what is wrong and holds nothing of the message.
    pub fn read(content: &[u8]) -> Result<Self, &'static str> {
        let fields = fields(content)?;
        let run = run(&fields).ok_or("it names no run")?;
        let status = match fields.get("status") {
            Some(Value::String(status)) if !status.is_empty() => clean(status),
            Some(_) => return Err("its status is not a text"),
            None => return Err("it has no status"),
        };
        Ok(Self {
            run,
            status,
            fields,
        })
    }

    pub fn goes_on(&self) -> bool {
        self.status == IN_PROGRESS
    }

    /// The run as it is from here on; what this message does not say is as it was.
    pub fn run(&self, before: Option<&Run>, at: Lsn, default: Duration) -> Run {
        let said = |field: &str| text(self.fields.get(field));
        let text = |field: &str, known: fn(&Run) -> &Option<String>| {
            said(field).or_else(|| known(before?).clone())
        };
        let references = self.fields.get("reference_ids");
        let references = references.filter(|value| value.is_object()).map(cleaned);
        Run {
            run: self.run.clone(),
            project_id: text("project_id", |run| &run.project_id)
                .filter(|id| id.len() <= PROJECT_ID_BYTES_MAX),
            user_id: text("user_id", |run| &run.user_id),
            request_id: text("request_id", |run| &run.request_id),
            action_type: said("action_type")
                .or_else(|| before.map(|run| run.action_type.clone()))
                .unwrap_or_else(|| "run".to_owned()),
            action_details: text("action_details", |run| &run.action_details),
            environment: text("environment", |run| &run.environment),
            reference_ids: references.or_else(|| before?.reference_ids.clone()),
            actor: text("actor", |run| &run.actor),
            told_lsn: at,
            timeout: self.timeout().unwrap_or(default),
        }
    }

    /// The action that this message is.
    pub fn action(&self, run: &Run) -> Action {
        let details = match text(self.fields.get("action_details")) {
            Some(details) => Some(details),
            None if self.goes_on() => run.action_details.clone(),
            None => Some(self.ending(run)),
        };
        Action {
            status: Some(self.status.clone()),
            action_details: details,
            data: match self.fields.get("data") {
                Some(Value::Object(data)) => {
                    let mut data = data.clone();
                    data.insert("run".to_owned(), run.run.clone().into());
                    data
                }
                _ => Map::from_iter([("run".to_owned(), run.run.clone().into())]),
            },
            ..action(run)
        }
    }

    /// When it was said, where the message tells; never later than now, nor before 1970.
    pub fn said_at(&self, now: Timestamp) -> Timestamp {
        let at = self.fields.get("at").and_then(Value::as_i64);
        let at = at.and_then(|seconds| Timestamp::from_second(seconds.max(0)).ok());
        at.map_or(now, |at| at.min(now))
    }

    /// The sentence of an end that brings none: "Deploying to fly.io: failed".
    fn ending(&self, run: &Run) -> String {
        let what = run.action_details.as_ref().unwrap_or(&run.action_type);
        let what = what.trim_end_matches(['…', '.', ' ']);
        let status = self.status.replace('_', " ");
        match text(self.fields.get("error")) {
            Some(error) => format!("{what}: {status}: {error}"),
            None => format!("{what}: {status}"),
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let timeout = match self.fields.get("timeout")? {
            Value::String(text) => {
                let timeout: SignedDuration = text.parse().ok()?;
                Duration::try_from(timeout).ok()?
            }
            Value::Number(seconds) => Duration::from_secs(seconds.as_u64()?),
            _ => return None,
        };
        Some(timeout.clamp(Duration::from_secs(1), RUN_TIMEOUT_MAX))
    }
}

/// The run that a transaction's own message names: what the transaction brought ends it.
pub fn run_of_transaction(content: &[u8]) -> Option<String> {
    run(&fields(content).ok()?)
}

/// The action of a run that never ended.
pub fn overdue(run: &Run) -> Action {
    let what = run.action_details.as_ref().unwrap_or(&run.action_type);
    Action {
        status: Some("failed".to_owned()),
        action_details: Some(format!(
            "{} did not end within {}",
            what.trim_end_matches(['…', '.', ' ']),
            in_words(run.timeout)
        )),
        data: Map::from_iter([("run".to_owned(), json!(run.run))]),
        ..action(run)
    }
}

fn action(run: &Run) -> Action {
    let actor = run.actor.as_ref().or(run.user_id.as_ref());
    Action {
        project_id: run.project_id.clone(),
        user_id: run.user_id.clone(),
        request_id: run.request_id.clone(),
        action_type: run.action_type.clone(),
        environment: run.environment.clone(),
        reference_ids: run.reference_ids.clone(),
        actor: actor.map(|id| Actor {
            id: id.clone(),
            found: Found::Message,
        }),
        ..Action::default()
    }
}

fn fields(content: &[u8]) -> Result<Map<String, Value>, &'static str> {
    if content.len() > BYTES_MAX {
        return Err("it is longer than 64 KiB");
    }
    match serde_json::from_slice(content) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("it is not a JSON object"),
        Err(_) => Err("it is not JSON"),
    }
}

fn run(fields: &Map<String, Value>) -> Option<String> {
    text(fields.get("run")).filter(|run| run.len() <= NAME_BYTES_MAX)
}

/// A text or a number; what is empty is none.
fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => clean(text),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn clean(text: &str) -> String {
    let mut text = text.to_owned();
    storable::text(&mut text);
    text
}

fn cleaned(value: &Value) -> Value {
    let mut value = value.clone();
    storable::value(&mut value);
    value
}

/// Whole units, the largest that fits: "10 minutes", "1 hour", "90 seconds".
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit))
        .unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &Value) -> Announcement {
        Announcement::read(message.to_string().as_bytes()).unwrap_or_else(|why| panic!("{why}"))
    }

    const DEFAULT: Duration = Duration::from_secs(900);

    #[test]
    fn a_run_is_as_its_messages_say_the_last_one_first() {
        let begun = read(&json!({
            "run": 7, "status": "in_progress", "project_id": "p1", "user_id": "u1",
            "action_type": "deployment", "action_details": "Deploying to fly.io…", "timeout": "10m",
        }));
        let run = begun.run(None, Lsn::new(5), DEFAULT);
        assert_eq!((run.run.as_str(), run.timeout.as_secs()), ("7", 600));
        let action = begun.action(&run);
        assert_eq!(action.status.as_deref(), Some("in_progress"));
        assert_eq!(
            action.action_details.as_deref(),
            Some("Deploying to fly.io…")
        );
        assert_eq!(action.actor.unwrap().found, Found::Message);

        let ended = read(&json!({"run": "7", "status": "failed", "error": "no room"}));
        assert!(!ended.goes_on());
        let last = ended.run(Some(&run), Lsn::new(9), DEFAULT);
        let action = ended.action(&last);
        let said = action.action_details.as_deref();
        assert_eq!(said, Some("Deploying to fly.io: failed: no room"));
        assert_eq!(action.project_id.as_deref(), Some("p1"));
        assert_eq!(action.action_type, "deployment");

        let overdue = overdue(&run);
        let said = overdue.action_details.as_deref();
        assert_eq!(
            said,
            Some("Deploying to fly.io did not end within 10 minutes")
        );
    }

    #[test]
    fn what_can_not_be_read_is_named_without_its_content() {
        for (content, why) in [
            ("s3cret", "it is not JSON"),
            ("[1]", "it is not a JSON object"),
            (r#"{"status": "failed"}"#, "it names no run"),
            (r#"{"run": "r"}"#, "it has no status"),
            (r#"{"run": "r", "status": 7}"#, "its status is not a text"),
        ] {
            assert_eq!(Announcement::read(content.as_bytes()).err(), Some(why));
        }
        let long = format!(r#"{{"run": "r", "status": "{}"}}"#, "x".repeat(BYTES_MAX));
        assert!(Announcement::read(long.as_bytes()).is_err());
        let name = format!(r#"{{"run": "{}", "status": "x"}}"#, "x".repeat(201));
        assert_eq!(
            Announcement::read(name.as_bytes()).err(),
            Some("it names no run")
        );
    }

    #[test]
    fn a_timeout_is_a_duration_or_seconds_and_at_most_seven_days() {
        for (given, seconds) in [
            (json!("90s"), 90),
            (json!(30), 30),
            (json!("30d"), 900),
            (json!("9000h"), 604_800),
            (json!("0s"), 1),
            (json!("soon"), 900),
        ] {
            let message = read(&json!({"run": "r", "status": "in_progress", "timeout": given}));
            let run = message.run(None, Lsn::ZERO, DEFAULT);
            assert_eq!(run.timeout.as_secs(), seconds, "{given}");
        }
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(words(900), "15 minutes");
        assert_eq!(
            (words(3600), words(90)),
            ("1 hour".to_owned(), "90 seconds".to_owned())
        );
    }

    #[test]
    fn a_message_from_the_future_is_one_of_now() {
        let now = Timestamp::from_second(1000).unwrap();
        let said = |at: Value| read(&json!({"run": "r", "status": "x", "at": at})).said_at(now);
        assert_eq!(said(json!(7)).as_second(), 7);
        assert_eq!(said(json!(7000)), now);
        assert_eq!(said(json!("7")), now);
        assert_eq!(said(json!(-250_000_000_000_i64)).as_second(), 0);
    }
}
