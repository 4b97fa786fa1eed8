//! One compiled rule: for which changes it runs, and what it makes of one.

use std::sync::Arc;

use activity::{Action, Event};
use minijinja::{Environment, Error, Value};

use crate::compare::canonical;
use crate::functions::Tables;
use crate::program::{OUTPUT_BYTES_MAX, Program};
use crate::scope::Scope;
use crate::telling::Telling;
use crate::trouble::{self, Trouble};
use crate::turn::Outline;

/// The actions that one rule makes of one row at most.
pub(crate) const EACH_MAX: usize = 10_000;

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
    pub(crate) group: Option<Program>,
    pub(crate) outputs: Outputs,
    pub(crate) data: Vec<(Arc<str>, Program)>,
    /// Columns of which `data` tells the value before and after.
    pub(crate) changes: Vec<Arc<str>>,
    /// Whether rows from before Tidings came make actions.
    pub(crate) backfill: bool,
    /// Reads other rows of the transaction, or its message.
    pub(crate) of_transaction: bool,
    pub(crate) user: User,
    /// Those of the pack.
    pub(crate) tables: Arc<Tables>,
}

/// Where the rule's `user_id` can come from.
#[derive(Debug, Default)]
pub(crate) struct User {
    /// Columns of the row.
    pub(crate) columns: Vec<String>,
    pub(crate) looks_up: bool,
}

#[derive(Debug)]
pub(crate) struct Let {
    pub(crate) name: Arc<str>,
    pub(crate) program: Program,
    /// Whether `when` or `group` reads it. All others wait until `when` is true.
    pub(crate) early: bool,
    /// Whether it becomes part of `data`: the pack's defaults do not.
    pub(crate) told: bool,
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
    pub(crate) created_at: Option<Output>,
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
    /// The same, of a column that the table does not have.
    NoColumn(String),
}

impl Stop {
    pub(crate) fn of(key: &str, error: &Error) -> Self {
        match trouble::find(error) {
            Some(Trouble::OldUnknown { .. }) => Self::Silent,
            Some(trouble @ Trouble::NoColumn { .. }) => Self::NoColumn(format!("{key}: {trouble}")),
            _ => Self::fault(key, trouble::describe(error)),
        }
    }

    pub(crate) fn fault(key: &str, what: impl std::fmt::Display) -> Self {
        Self::Fault(format!("{key}: {what}"))
    }
}

impl Rule {
    /// Whether the rule is to be run at all; no expression is evaluated for it.
    pub(crate) fn concerns(&self, outline: &Outline) -> bool {
        let touched = |place: &usize| outline.changed.get(*place).copied().unwrap_or(true);
        self.on.contains(&outline.event)
            && (outline.event != Event::Update
                || (outline.old_known || !self.needs_old)
                    && (self.triggers.is_empty() || self.triggers.iter().any(touched)))
    }

    /// Works out for one row whether the rule speaks, and what that needs.
    pub(crate) fn consider(
        &self,
        environment: &Environment<'_>,
        scope: Scope,
    ) -> Result<Option<Arc<Scope>>, Stop> {
        let mut scope = Arc::new(scope);
        self.assign(environment, &mut scope, true)?;
        let Some(when) = &self.when else {
            return Ok(Some(scope));
        };
        let speaks = evaluate(when, environment, &scope)?.is_true();
        Ok(speaks.then_some(scope))
    }

    /// What rows of one action have in common, where the rule groups them.
    pub(crate) fn group(
        &self,
        environment: &Environment<'_>,
        scope: &Arc<Scope>,
    ) -> Result<Option<String>, Stop> {
        let Some(group) = &self.group else {
            return Ok(None);
        };
        let value = evaluate(group, environment, scope)?;
        let text = canonical(&value).map_err(|error| Stop::of(&group.key, &error))?;
        Ok(Some(text))
    }

    /// The actions of a row that was considered, or of the first row of a group. `found`: in a table,
    /// not in the stream, so that the row itself must tell the time.
    pub(crate) fn actions(
        &self,
        environment: &Environment<'_>,
        mut scope: Arc<Scope>,
        partial: bool,
        found: bool,
    ) -> Result<Vec<Action>, Stop> {
        self.assign(environment, &mut scope, false)?;
        let action = |scope: &Arc<Scope>| {
            let telling = Telling {
                rule: self,
                environment,
                scope,
                partial: partial && self.of_transaction,
            };
            let mut action = telling.action()?;
            if found {
                action.created_at = telling.created_at()?;
            }
            Ok(action)
        };
        let Some(each) = &self.each else {
            return Ok(vec![action(&scope)?]);
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
            actions.push(action(&Arc::new(scope.with_item(item)))?);
        }
        Ok(actions)
    }

    fn assign(
        &self,
        environment: &Environment<'_>,
        scope: &mut Arc<Scope>,
        early: bool,
    ) -> Result<(), Stop> {
        for binding in self.lets.iter().filter(|binding| binding.early == early) {
            let value = evaluate(&binding.program, environment, scope)?;
            Arc::make_mut(scope).set(&binding.name, value);
        }
        Ok(())
    }
}

pub(crate) fn evaluate(
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
    pub(crate) fn text(
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
