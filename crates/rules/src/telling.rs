//! From a rule that speaks to its action.

use std::sync::Arc;

use activity::{Action, Actor, Found, PROJECT_ID_BYTES_MAX};
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json, json};

use crate::decimal::Decimal;
use crate::row::{Cell, RowValue};
use crate::rule::{Output, Rule, Stop, evaluate};
use crate::scope::Scope;
use crate::value::to_json;

/// What `data` may take at most, as JSON.
const DATA_BYTES_MAX: usize = 256 * 1024;

/// One action about to be told.
pub(crate) struct Telling<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) environment: &'a Environment<'a>,
    pub(crate) scope: &'a Arc<Scope>,
    /// The rule looks at the transaction, and this is only a part of it.
    pub(crate) partial: bool,
}

impl Telling<'_> {
    pub(crate) fn action(&self) -> Result<Action, Stop> {
        let outputs = &self.rule.outputs;
        let action_type = outputs.action_type.text(self.environment, self.scope)?;
        let Some(action_type) = action_type else {
            return Err(Stop::fault("action_type", "renders to nothing"));
        };
        let mut reference_ids = Map::new();
        for (name, output) in &outputs.reference_ids {
            if let Some(id) = output.text(self.environment, self.scope)? {
                reference_ids.insert(name.clone(), Json::String(id));
            }
        }
        let context = &self.scope.world.context;
        let user_id = match context.text("user_id") {
            Some(user) => Some(user),
            None => self.text(outputs.user_id.as_ref())?,
        };
        let request_id = match context.text("request_id") {
            Some(request) => Some(request),
            None => self.text(outputs.request_id.as_ref())?,
        };
        Ok(Action {
            project_id: self.project_id()?,
            actor: self.actor(user_id.as_deref()),
            user_id,
            request_id,
            action_type,
            action_details: self.text(outputs.action_details.as_ref())?,
            status: self.text(outputs.status.as_ref())?,
            environment: self.text(outputs.environment.as_ref())?,
            reference_ids: (!reference_ids.is_empty()).then_some(Json::Object(reference_ids)),
            cost_usd: self.cost_usd()?,
            created_at: None,
            data: self.data()?,
        })
    }

    /// The time that the row itself tells, in unix seconds.
    pub(crate) fn created_at(&self) -> Result<Option<i64>, Stop> {
        let Some(text) = self.text(self.rule.outputs.created_at.as_ref())? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => Err(Stop::fault(
                "created_at",
                "does not render to whole unix seconds; the filter unix makes them of a time",
            )),
        }
    }

    fn text(&self, output: Option<&Output>) -> Result<Option<String>, Stop> {
        match output {
            Some(output) => output.text(self.environment, self.scope),
            None => Ok(None),
        }
    }

    fn cost_usd(&self) -> Result<Option<String>, Stop> {
        let cost = self.text(self.rule.outputs.cost_usd.as_ref())?;
        if let Some(cost) = &cost
            && !Decimal::parse(cost.trim()).is_some_and(|cost| cost.is_moderate())
        {
            return Err(Stop::fault("cost_usd", "does not render to a number"));
        }
        Ok(cost)
    }

    fn project_id(&self) -> Result<Option<String>, Stop> {
        let id = self.text(self.rule.outputs.project_id.as_ref())?;
        match &id {
            Some(id) if id.len() > PROJECT_ID_BYTES_MAX => {
                Err(Stop::fault("project_id", "is longer than 1000 bytes"))
            }
            _ => Ok(id),
        }
    }

    /// Who did it: whom the message names, else the action's user, if the row or a lookup gave it.
    fn actor(&self, user_id: Option<&str>) -> Option<Actor> {
        let context = &self.scope.world.context;
        let announced = context.text("actor").or_else(|| context.text("user_id"));
        if let Some(id) = announced {
            let found = Found::Message;
            return Some(Actor { id, found });
        }
        let id = user_id?.to_owned();
        let user = &self.rule.user;
        let holds_it = |row: &RowValue| {
            let mut cells = user.columns.iter().filter_map(|column| row.cell(column));
            cells.any(|cell| matches!(cell, Cell::Text(text) if **text == *id))
        };
        let found = if holds_it(&self.scope.new) || holds_it(&self.scope.old) {
            Found::Row
        } else if user.looks_up {
            Found::Lookup
        } else {
            return None;
        };
        Some(Actor { id, found })
    }

    /// The rule's variables for machines. Those that are rows are not among them: what of a row is told
    /// is for the rule to say.
    fn data(&self) -> Result<Map<String, Json>, Stop> {
        let mut data = Map::new();
        let mut add = |name: &str, value: &Value| {
            if !holds_rows(value) {
                let json = to_json(value).map_err(|error| Stop::of(name, &error))?;
                data.insert(name.to_owned(), json);
            }
            Ok(())
        };
        for binding in self.rule.lets.iter().filter(|binding| binding.told) {
            if let Some(value) = self.scope.variable(&binding.name) {
                add(&binding.name, value)?;
            }
        }
        if let Some(item) = self.scope.item() {
            add("item", item)?;
        }
        for (name, program) in &self.rule.data {
            add(name, &evaluate(program, self.environment, self.scope)?)?;
        }
        if !self.rule.changes.is_empty() {
            data.insert("changes".to_owned(), self.changes()?);
        }
        if self.partial {
            data.insert("partial".to_owned(), Json::Bool(true));
        }
        check_size(&data)?;
        Ok(data)
    }

    fn changes(&self) -> Result<Json, Stop> {
        let value = |row: &RowValue, column: &str| match row.cell(column) {
            // What is not known is not told.
            Some(Cell::Unknown | Cell::Unfilled) | None => Ok(Json::Null),
            Some(Cell::Missing | Cell::Null | Cell::Text(_)) => {
                let value = row.column(column).unwrap_or_default();
                to_json(&value).map_err(|error| Stop::of("changes", &error))
            }
        };
        let mut changes = Map::new();
        for column in &self.rule.changes {
            let (before, after) = (
                value(&self.scope.old, column)?,
                value(&self.scope.new, column)?,
            );
            changes.insert(
                column.to_string(),
                json!({"before": before, "after": after}),
            );
        }
        Ok(Json::Object(changes))
    }
}

/// Whether the value is a row, or a list of rows.
fn holds_rows(value: &Value) -> bool {
    let is_row = |value: &Value| value.downcast_object_ref::<RowValue>().is_some();
    is_row(value)
        || matches!(value.kind(), minijinja::value::ValueKind::Seq)
            && value
                .try_iter()
                .is_ok_and(|mut items| items.next().is_some_and(|item| is_row(&item)))
}

fn check_size(data: &Map<String, Json>) -> Result<(), Stop> {
    if data.is_empty() {
        return Ok(());
    }
    let mut size = Size::default();
    // Only the size is taken; it can not be wrong in a way that matters here.
    let written = serde_json::to_writer(&mut size, data);
    if written.is_err() || size.0 > DATA_BYTES_MAX {
        return Err(Stop::fault(
            "let",
            format_args!("the variables take more than {DATA_BYTES_MAX} bytes"),
        ));
    }
    if data.values().any(holds_nul) {
        return Err(Stop::fault(
            "let",
            "a variable holds a NUL, which Postgres can not store in jsonb",
        ));
    }
    Ok(())
}

fn holds_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(holds_nul),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Counts bytes and keeps none.
#[derive(Default)]
struct Size(usize);

impl std::io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
