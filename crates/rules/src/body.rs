//! The programs of one rule: its variables, conditions and outputs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::pack::{self, Defaults, Located, RuleText};
use crate::program::{Compiled, Compiler, Program, Text};
use crate::references::{Holds, References};
use crate::rule::{Output, Outputs};

/// Words of the language: no variable can have their names.
const RESERVED: &[&str] = &[
    "new", "old", "changed", "item", "loop", "tx", "lookup", "first", "group", "rows", "context",
    "changes", "partial", "and", "or", "not", "in", "is", "if", "else", "for", "set", "with",
    "true", "false", "none", "True", "False", "None",
];

/// A variable and its expression.
pub(crate) struct Binding {
    pub(crate) name: Arc<str>,
    pub(crate) compiled: Compiled<Program>,
    /// The rule's own, and not one of the pack's defaults.
    pub(crate) own: bool,
}

/// The variables that the programs read, directly or through other variables.
pub(crate) fn closure<'a>(
    lets: &[Binding],
    programs: impl Iterator<Item = &'a References>,
) -> BTreeSet<String> {
    let mut read: BTreeSet<String> = programs
        .flat_map(|references| references.variables.iter().cloned())
        .collect();
    // A variable reads only those before it, so one pass backwards finds all.
    for binding in lets.iter().rev() {
        if read.contains(&*binding.name) {
            read.extend(binding.compiled.references.variables.iter().cloned());
        }
    }
    read
}

/// Everything that those programs refer to, their variables' programs included.
pub(crate) fn reach<'a>(
    lets: &'a [Binding],
    programs: impl Iterator<Item = &'a References> + Clone,
) -> References {
    let read = closure(lets, programs.clone());
    let mut reached = References::default();
    let of_lets = lets.iter().filter(|binding| read.contains(&*binding.name));
    for references in of_lets.map(|b| &b.compiled.references).chain(programs) {
        reached.merge(references);
    }
    reached
}

/// Compiles the programs of one rule.
pub(crate) struct Body<'a, 'r> {
    pub(crate) compiler: Compiler<'a, 'r>,
    /// What the outputs and `data` refer to.
    pub(crate) told: References,
    /// The same of `user_id` alone.
    pub(crate) user: References,
}

impl Body<'_, '_> {
    /// Those of the pack's defaults that the rule does not replace, then its own.
    pub(crate) fn lets(&mut self, text: &RuleText, defaults: &Defaults) -> Option<Vec<Binding>> {
        let replaced = |name: &str| text.lets.iter().any(|(own, _)| own.text == name);
        let inherited = defaults.lets.iter();
        let inherited = inherited.filter(|(name, _)| !replaced(&name.text));
        let inherited = inherited.map(|binding| (binding, false));
        let mut lets = Some(Vec::new());
        for ((name, expression), own) in inherited.chain(text.lets.iter().map(|b| (b, true))) {
            let named = self.variable(&format!("let.{}", name.text), name);
            let compiled = self.expression(&format!("let.{}", name.text), expression);
            let holds = compiled.as_ref().and_then(|c| c.references.holds.clone());
            lets = lets.zip(compiled).map(|(mut lets, compiled)| {
                lets.push(Binding {
                    name: Arc::from(name.text.as_str()),
                    compiled,
                    own,
                });
                lets
            });
            if !named {
                lets = None;
            }
            // Known from here on even if it is wrong, so that one mistake is told once.
            let variables = &mut self.compiler.names.variables;
            variables.insert(name.text.clone(), holds);
        }
        lets
    }

    /// Whether the name can be one of a variable; a problem is reported.
    fn variable(&mut self, key: &str, name: &Located) -> bool {
        let plain = name.text.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .text
                .chars()
                .all(|c| c == '_' || c.is_ascii_alphanumeric());
        if plain && !RESERVED.contains(&name.text.as_str()) {
            return true;
        }
        let hint = "use letters, digits and _, and no word of the language".to_owned();
        let message = format!("{} can not be the name of a variable", name.text);
        self.compiler.problem(key, name.line, message, Some(hint));
        false
    }

    fn expression(&mut self, key: &str, source: &Located) -> Option<Compiled<Program>> {
        self.compiler.expression(key, &source.text, source.line)
    }

    /// The outer `None` stands for a problem.
    pub(crate) fn condition(
        &mut self,
        key: &str,
        source: Option<&Located>,
    ) -> Option<Option<Compiled<Program>>> {
        match source {
            Some(source) => self.expression(key, source).map(Some),
            None => Some(None),
        }
    }

    /// What each `item` stands for.
    pub(crate) fn item(&mut self, each: Option<&Option<Compiled<Program>>>) {
        let each = each.and_then(Option::as_ref);
        let holds = match each.and_then(|each| each.references.holds.clone()) {
            Some(Holds::Rows(of)) => Some(Holds::Row(of)),
            Some(Holds::Row(_)) | None => None,
        };
        let variables = &mut self.compiler.names.variables;
        variables.insert("item".to_owned(), holds);
    }

    pub(crate) fn data(&mut self, text: &RuleText) -> Option<Vec<(Arc<str>, Program)>> {
        let mut data = Some(Vec::new());
        for (name, source) in &text.data {
            let key = format!("data.{}", name.text);
            let named = self.variable(&key, name);
            let program = self.expression(&key, source);
            let program = program.filter(|_| named).map(|compiled| {
                self.told.merge(&compiled.references);
                compiled.code
            });
            data = data.zip(program).map(|(mut data, program)| {
                data.push((Arc::from(name.text.as_str()), program));
                data
            });
        }
        // Their values before and after are told.
        for column in &text.changes {
            self.told.new.insert(column.text.clone());
            self.told.old.insert(column.text.clone());
        }
        data
    }

    pub(crate) fn outputs(&mut self, text: &RuleText, defaults: &pack::Outputs) -> Option<Outputs> {
        let mut failed = false;
        let mut column = |this: &mut Self, key: &str| {
            let of = |outputs: &pack::Outputs| {
                let found = outputs.columns.iter().find(|(name, _)| name == key);
                found.map(|(_, source)| source.clone())
            };
            let source = of(&text.outputs).or_else(|| of(defaults))?;
            let output = this.output(key, &source);
            failed |= output.is_none();
            output
        };
        let project_id = column(self, "project_id");
        let user_id = column(self, "user_id");
        let request_id = column(self, "request_id");
        let action_type = column(self, "action_type");
        let action_details = column(self, "action_details");
        let status = column(self, "status");
        let environment = column(self, "environment");
        let cost_usd = column(self, "cost_usd");
        let created_at = column(self, "created_at");
        let mut reference_ids = Vec::new();
        let own = &text.outputs.reference_ids;
        let inherited = defaults.reference_ids.iter();
        let inherited = inherited.filter(|(name, _)| !own.iter().any(|(n, _)| n.text == name.text));
        for (name, source) in inherited.chain(own) {
            match self.output(&format!("reference_ids.{}", name.text), source) {
                Some(output) => reference_ids.push((name.text.clone(), output)),
                None => failed = true,
            }
        }
        (!failed).then(|| Outputs {
            project_id,
            user_id,
            request_id,
            action_type: action_type.unwrap_or_else(|| Output::Literal(text.name.text.clone())),
            action_details,
            status,
            environment,
            cost_usd,
            created_at,
            reference_ids,
        })
    }

    fn output(&mut self, key: &str, source: &Located) -> Option<Output> {
        let Compiled { code, references } =
            self.compiler.template(key, &source.text, source.line)?;
        if key == "user_id" {
            self.user.merge(&references);
        }
        self.told.merge(&references);
        Some(match code {
            Text::Literal(text) => Output::Literal(text),
            Text::Program(program) => Output::Template(program),
        })
    }
}
