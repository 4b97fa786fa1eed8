//! One compiled rule: for which changes it runs, and what it makes of one.

use std::sync::Arc;

use activity::{Action, Event};
use minijinja::{Environment, Error, Value};
use serde_json::{Map, Value as Json};

use crate::decimal::Decimal;
use crate::program::{OUTPUT_BYTES_MAX, Program};
use crate::scope::Scope;
use crate::trouble::{self, Trouble};
use crate::value::to_json;

/// The actions that one rule makes of one row at most.
pub(crate) const EACH_MAX: usize = 10_000;

/// What `data` may take at most, as JSON.
pub(crate) const DATA_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Rule {
    /// With its pack: `reference/project_created`.
    pub(crate) id: String,
    /// Of the pack's text.
    pub(crate) version: Arc<str>,
    /// The rule's place among the tables of [`crate::Rules`].
    pub(crate) table: usize,
    pub(crate) on: Vec<Event>,
    /// Places of the columns of which an update must change one. Empty: any update will do.
    pub(crate) triggers: Vec<usize>,
    /// Silent for an update whose old row is unknown.
    pub(crate) needs_old: bool,
    pub(crate) lets: Vec<Let>,
    pub(crate) when: Option<Program>,
    pub(crate) each: Option<Program>,
    pub(crate) outputs: Outputs,
}

#[derive(Debug)]
pub(crate) struct Let {
    pub(crate) name: Arc<str>,
    pub(crate) program: Program,
    /// Whether `when` reads it. All others wait until `when` is true.
    pub(crate) early: bool,
}

#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) project_id: Option<Output>,
    pub(crate) user_id: Option<Output>,
    pub(crate) request_id: Option<Output>,
    pub(crate) action_type: Output,
    pub(crate) action_details: Option<Output>,
    pub(crate) status: Option<Output>,
    pub(crate) environment: Option<Output>,
    pub(crate) cost_usd: Option<Output>,
    pub(crate) reference_ids: Vec<(String, Output)>,
}

#[derive(Debug)]
pub(crate) enum Output {
    /// A text without any code. Empty is none.
    Literal(String),
    Template(Program),
}

/// Why a rule made nothing of a row.
pub(crate) enum Stop {
    /// The old values it needs are not known.
    Silent,
    /// Without any value of the row.
    Fault(String),
}

impl Stop {
    fn of(key: &str, error: &Error) -> Self {
        match trouble::find(error) {
            Some(Trouble::OldUnknown { .. }) => Self::Silent,
            _ => Self::fault(key, trouble::describe(error)),
        }
    }

    fn fault(key: &str, what: impl std::fmt::Display) -> Self {
        Self::Fault(format!("{key}: {what}"))
    }
}

impl Rule {
    /// Whether the rule is to be run at all; no expression is evaluated for it.
    pub(crate) fn concerns(&self, event: Event, changed: &[bool], old_known: bool) -> bool {
        let touched = |place: &usize| changed.get(*place).copied().unwrap_or(true);
        self.on.contains(&event)
            && (event != Event::Update
                || (old_known || !self.needs_old)
                    && (self.triggers.is_empty() || self.triggers.iter().any(touched)))
    }

    pub(crate) fn run(
        &self,
        environment: &Environment<'_>,
        scope: &Scope,
    ) -> Result<Vec<Action>, Stop> {
        let mut scope = Arc::new(scope.clone());
        let assign = |scope: &mut Arc<Scope>, early: bool| {
            for binding in self.lets.iter().filter(|binding| binding.early == early) {
                let value = evaluate(&binding.program, environment, scope)?;
                Arc::make_mut(scope).set(&binding.name, value);
            }
            Ok(())
        };
        assign(&mut scope, true)?;
        if let Some(when) = &self.when
            && !evaluate(when, environment, &scope)?.is_true()
        {
            return Ok(Vec::new());
        }
        assign(&mut scope, false)?;
        let Some(each) = &self.each else {
            return Ok(vec![self.action(environment, &scope)?]);
        };
        let list = evaluate(each, environment, &scope)?;
        if list.is_none() {
            return Ok(Vec::new());
        }
        let mut actions = Vec::new();
        for item in list
            .try_iter()
            .map_err(|error| Stop::of(&each.key, &error))?
            .checked()
        {
            let item = item.map_err(|error| Stop::of(&each.key, &error))?;
            if actions.len() == EACH_MAX {
                return Err(Stop::fault(
                    &each.key,
                    format_args!("gives more than {EACH_MAX} items"),
                ));
            }
            actions.push(self.action(environment, &Arc::new(scope.with_item(item)))?);
        }
        Ok(actions)
    }

    fn action(&self, environment: &Environment<'_>, scope: &Arc<Scope>) -> Result<Action, Stop> {
        let text = |output: &Option<Output>| match output {
            Some(output) => output.text(environment, scope),
            None => Ok(None),
        };
        let outputs = &self.outputs;
        let action_type = outputs.action_type.text(environment, scope)?;
        let Some(action_type) = action_type else {
            return Err(Stop::fault("action_type", "renders to nothing"));
        };
        let cost_usd = text(&outputs.cost_usd)?;
        if let Some(cost) = &cost_usd
            && !Decimal::parse(cost.trim()).is_some_and(|cost| cost.is_finite())
        {
            return Err(Stop::fault("cost_usd", "does not render to a number"));
        }
        let mut reference_ids = Map::new();
        for (name, output) in &outputs.reference_ids {
            if let Some(id) = output.text(environment, scope)? {
                reference_ids.insert(name.clone(), Json::String(id));
            }
        }
        Ok(Action {
            project_id: text(&outputs.project_id)?,
            user_id: text(&outputs.user_id)?,
            request_id: text(&outputs.request_id)?,
            action_type,
            action_details: text(&outputs.action_details)?,
            status: text(&outputs.status)?,
            environment: text(&outputs.environment)?,
            created_at: None,
            actor: None,
            reference_ids: (!reference_ids.is_empty()).then_some(Json::Object(reference_ids)),
            cost_usd,
            data: data(scope)?,
        })
    }
}

fn evaluate(
    program: &Program,
    environment: &Environment<'_>,
    scope: &Arc<Scope>,
) -> Result<Value, Stop> {
    let scope = Value::from_dyn_object(Arc::clone(scope));
    program
        .evaluate(environment, scope)
        .map_err(|error| Stop::of(&program.key, &error))
}

impl Output {
    /// `None` where nothing is rendered.
    fn text(
        &self,
        environment: &Environment<'_>,
        scope: &Arc<Scope>,
    ) -> Result<Option<String>, Stop> {
        let program = match self {
            Self::Literal(text) => return Ok((!text.is_empty()).then(|| text.clone())),
            Self::Template(program) => program,
        };
        let scope = Value::from_dyn_object(Arc::clone(scope));
        let text = program
            .render(environment, scope)
            .map_err(|error| Stop::of(&program.key, &error))?;
        if text.len() > OUTPUT_BYTES_MAX {
            return Err(Stop::fault(
                &program.key,
                format_args!("renders more than {OUTPUT_BYTES_MAX} bytes"),
            ));
        }
        if text.contains('\0') {
            return Err(Stop::fault(
                &program.key,
                "renders a NUL, which Postgres can not store in a text",
            ));
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

/// The rule's variables for machines.
fn data(scope: &Scope) -> Result<Map<String, Json>, Stop> {
    let mut data = Map::new();
    let item = scope.item().map(|item| ("item", item));
    let lets = scope.lets().map(|(name, value)| (&**name, value));
    for (name, value) in lets.chain(item) {
        let json = to_json(value).map_err(|error| Stop::of(name, &error))?;
        data.insert(name.to_owned(), json);
    }
    if data.is_empty() {
        return Ok(data);
    }
    let mut size = Size::default();
    // Only the size is taken; it can not be wrong in a way that matters here.
    let written = serde_json::to_writer(&mut size, &data);
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
    Ok(data)
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
