//! What a transaction says of itself by a logical message: JSON under the prefix `tidings`.

use std::sync::Arc;

use activity::{Operation, Part};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use serde_json::{Map, Value as Json};

use crate::filters::print;
use crate::value::from_json;

const PREFIX: &str = "tidings";
/// A longer message is ignored.
const BYTES_MAX: usize = 64 * 1024;

/// The fields of all messages of one part; of two of one name the later one counts.
#[derive(Debug, Default)]
pub(crate) struct Context {
    fields: Map<String, Json>,
}

impl Context {
    /// Also tells how many messages could not be read.
    pub(crate) fn of(part: &Part) -> (Self, usize) {
        let mut context = Self::default();
        let mut unreadable = 0;
        for change in &part.changes {
            let Operation::Message { prefix, content } = &change.operation else {
                continue;
            };
            if prefix != PREFIX {
                continue;
            }
            match serde_json::from_slice(content) {
                Ok(Json::Object(fields)) if content.len() <= BYTES_MAX => {
                    context.fields.extend(fields);
                }
                _ => unreadable += 1,
            }
        }
        (context, unreadable)
    }

    pub(crate) fn new(fields: Map<String, Json>) -> Self {
        Self { fields }
    }

    pub(crate) fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }

    /// A field as text; `None` where it is not there or is nothing.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        let value = from_json(self.fields.get(field)?.clone());
        let text = print(&value).ok()?.replace('\0', "\u{FFFD}");
        (!text.is_empty()).then_some(text)
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    /// What a message does not say is none.
    fn get_value_by_str(self: &Arc<Self>, field: &str) -> Option<Value> {
        let value = self.fields.get(field).cloned().map(from_json);
        Some(value.unwrap_or_else(|| Value::from(())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.fields.is_empty()
    }
}
