//! A template of the operator's own, in minijinja.
//!
//! It sees what format `full` sends (`type`, `timestamp`, `data`) and `link`. It is strict: what is
//! not there is an error, and what is null prints nothing. Time and output are bounded. A failure
//! names the line and the kind of the mistake, never a value.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use jiff::Timestamp;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error as Trouble, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use super::{FormatContext, JSON, Payload};
use crate::sample::{KNOWN, Sample, sample};
use crate::{Error, Notification};

const TEXT: &str = "text/plain; charset=utf-8";

/// An instruction takes one.
const FUEL: u64 = 100_000;
const SOURCE_BYTES_MAX: usize = 64 * 1024;
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// The template's name in its environment.
const NAME: &str = "template";

/// A sentence that breaks JSON which is put together without `tojson`.
const AWKWARD: &str = "\"quoted\", a \\ and\na second line";

/// Compiled, and tried on samples.
pub(super) struct Template {
    environment: Environment<'static>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Text,
}

impl Template {
    /// Compiles the text and tries it on samples of known types: it makes JSON if it makes an
    /// object or an array of every one that it can be rendered for, and of one at least.
    pub(super) fn new(text: &str, context: &FormatContext) -> Result<Self, Error> {
        if text.len() > SOURCE_BYTES_MAX {
            return Err(invalid("has more than 64 KiB"));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(|out, _, value| match value.kind() {
            ValueKind::None => Ok(()),
            ValueKind::Bool => write!(out, "{}", value.is_true()).map_err(Trouble::from),
            _ => write!(out, "{value}").map_err(Trouble::from),
        });
        let added = environment.add_template_owned(NAME, text.to_owned());
        added.map_err(|error| refuse(&error))?;
        let mut template = Self {
            environment,
            kind: Kind::Text,
        };
        template.kind = template.tried(text, context)?;
        Ok(template)
    }

    fn tried(&self, text: &str, context: &FormatContext) -> Result<Kind, Error> {
        let now = Timestamp::UNIX_EPOCH;
        let samples = KNOWN.iter().copied().chain(["sample"]);
        let mut json = None;
        for action_type in samples {
            let mut sample = sample(action_type, now);
            let Some(plain) = self.try_on(&sample, context)? else {
                continue;
            };
            json = Some(json.unwrap_or(true) && is_json(&plain));
            sample.action.action_details = Some(AWKWARD.to_owned());
            let awkward = self.try_on(&sample, context)?;
            if json == Some(true) && !awkward.is_some_and(|text| is_json(&text)) {
                return Err(invalid(
                    "makes JSON that breaks where a text holds a quotation mark: write \
                     {{ data.action_details | tojson }}, without quotes around it",
                ));
            }
        }
        // It needs data that no sample has: then it says itself what it is.
        Ok(match json.unwrap_or_else(|| begins_json(text)) {
            true => Kind::Json,
            false => Kind::Text,
        })
    }

    /// `None` where the template needs what the sample does not have.
    fn try_on(&self, sample: &Sample, context: &FormatContext) -> Result<Option<String>, Error> {
        let notification: Notification<'_> = sample.notification();
        match self.text(&notification.full(), context.link(&notification)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_mistake(error.kind()) => Err(refuse(&error)),
            Err(_) => Ok(None),
        }
    }

    /// What `full` sends, and the link, go in; the template's own output is the body.
    pub(super) fn render(
        &self,
        full: &impl Serialize,
        link: Option<String>,
    ) -> Result<Payload, Error> {
        let text = self.text(full, link).map_err(|error| failed(&error))?;
        let content_type = match self.kind {
            Kind::Text => TEXT,
            Kind::Json if is_json(&text) => JSON,
            Kind::Json => {
                return Err(invalid(
                    "makes no JSON of this action, and does of others: write values with | tojson",
                ));
            }
        };
        Ok(Payload {
            body: text.into(),
            content_type,
        })
    }

    fn text(&self, full: &impl Serialize, link: Option<String>) -> Result<String, Trouble> {
        let full =
            serde_json::to_value(full).map_err(|_| Trouble::from(ErrorKind::BadSerialization))?;
        let mut scope = match full {
            serde_json::Value::Object(keys) => to_map(keys),
            _ => BTreeMap::new(),
        };
        scope.insert("link".to_owned(), link.into());
        let template = self.environment.get_template(NAME)?;
        let mut output = Capped(Vec::new());
        template.render_captured_to(Value::from(scope), &mut output)?;
        String::from_utf8(output.0).map_err(|_| Trouble::from(ErrorKind::WriteFailure))
    }
}

impl fmt::Debug for Template {
    /// Without the text: it may hold a key of the service it is written for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Numbers stay exact: what no machine number holds becomes a text.
fn to_value(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => value.into(),
        serde_json::Value::Number(number) => number_of(&number),
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(items) => items.into_iter().map(to_value).collect(),
        serde_json::Value::Object(keys) => to_map(keys).into(),
    }
}

fn to_map(keys: serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, Value> {
    let keys = keys.into_iter();
    keys.map(|(key, value)| (key, to_value(value))).collect()
}

fn number_of(number: &serde_json::Number) -> Value {
    let written = number.to_string();
    if let Ok(whole) = written.parse::<i128>() {
        return i64::try_from(whole).map_or_else(|_| whole.into(), Value::from);
    }
    match number.as_f64() {
        Some(float) if float.to_string() == written => float.into(),
        Some(_) | None => written.into(),
    }
}

/// An object or an array: a lone number or text is one of no format.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether a template's text begins as JSON does, and not with a tag.
fn begins_json(source: &str) -> bool {
    let source = source.trim_start();
    let tag = ["{{", "{%", "{#"].iter().any(|tag| source.starts_with(tag));
    source.starts_with(['{', '[']) && !tag
}

/// Wrong whatever the action.
fn is_mistake(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::SyntaxError
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
            | ErrorKind::TemplateNotFound
            | ErrorKind::BadInclude
    )
}

/// Of the template itself, so its words may be repeated.
fn refuse(error: &Trouble) -> Error {
    let line = error.line().unwrap_or(1);
    let kind = error.kind();
    match error.detail() {
        Some(detail) => invalid(&format!("has a mistake in line {line}: {kind}: {detail}")),
        None => invalid(&format!("has a mistake in line {line}: {kind}")),
    }
}

/// On an action: a detail could hold a value of it.
fn failed(error: &Trouble) -> Error {
    let reason = match error.kind() {
        ErrorKind::WriteFailure => "more than 1 MiB of output".to_owned(),
        ErrorKind::OutOfFuel => "too many steps".to_owned(),
        kind => kind.to_string(),
    };
    let line = error.line().unwrap_or(1);
    invalid(&format!("fails in line {line} on this action: {reason}"))
}

fn invalid(reason: &str) -> Error {
    Error::InvalidFormat(format!("the template {reason}"))
}

/// Takes no more than the output may have.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
