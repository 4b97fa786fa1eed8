//! The programs of one rule: its variables, conditions and outputs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::pack::{self, Located, RuleText};
use crate::program::{Compiled, Compiler, Program, Text};
use crate::references::References;
use crate::rule::{Output, Outputs};

/// Words of the language, those of its coming parts included: no variable can have their names.
const RESERVED: &[&str] = &[
    "new", "old", "changed", "item", "loop", "tx", "lookup", "first", "group", "rows", "context",
    "and", "or", "not", "in", "is", "if", "else", "for", "set", "with", "true", "false", "none",
    "True", "False", "None",
];

pub(crate) type Bindings = Vec<(Arc<str>, Compiled<Program>)>;

/// The variables that the programs read, directly or through other variables.
pub(crate) fn closure<'a>(
    lets: &Bindings,
    programs: impl Iterator<Item = &'a Compiled<Program>>,
) -> BTreeSet<String> {
    let mut read: BTreeSet<String> = programs
        .flat_map(|compiled| compiled.references.variables.iter().cloned())
        .collect();
    // A variable reads only those before it, so one pass backwards finds all.
    for (name, compiled) in lets.iter().rev() {
        if read.contains(&**name) {
            read.extend(compiled.references.variables.iter().cloned());
        }
    }
    read
}

/// The programs of one rule, and the columns they name.
pub(crate) struct Body<'a, 'r> {
    pub(crate) compiler: Compiler<'a, 'r>,
    pub(crate) named: References,
}

impl Body<'_, '_> {
    fn expression(&mut self, key: &str, source: &Located) -> Option<Compiled<Program>> {
        let compiled = self.compiler.expression(key, &source.text, source.line)?;
        self.names(&compiled.references);
        Some(compiled)
    }

    fn names(&mut self, references: &References) {
        self.named.new.extend(references.new.iter().cloned());
        self.named.old.extend(references.old.iter().cloned());
    }

    pub(crate) fn lets(&mut self, text: &RuleText) -> Option<Bindings> {
        let mut lets = Some(Vec::new());
        for (name, expression) in &text.lets {
            let key = format!("let.{}", name.text);
            let plain = name.text.starts_with(|c: char| c.is_ascii_alphabetic())
                && name
                    .text
                    .chars()
                    .all(|c| c == '_' || c.is_ascii_alphanumeric());
            if !plain || RESERVED.contains(&name.text.as_str()) {
                let hint = "use letters, digits and _, and no word of the language".to_owned();
                let message = format!("{} can not be the name of a variable", name.text);
                self.compiler.problem(&key, name.line, message, Some(hint));
                lets = None;
            }
            let compiled = self.expression(&key, expression);
            lets = lets.zip(compiled).map(|(mut lets, compiled)| {
                lets.push((Arc::from(name.text.as_str()), compiled));
                lets
            });
            // Known from here on even if it is wrong, so that one mistake is told once.
            self.compiler.variables.insert(name.text.clone());
        }
        lets
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
            reference_ids,
        })
    }

    fn output(&mut self, key: &str, source: &Located) -> Option<Output> {
        let Compiled { code, references } =
            self.compiler.template(key, &source.text, source.line)?;
        self.names(&references);
        Some(match code {
            Text::Literal(text) => Output::Literal(text),
            Text::Program(program) => Output::Template(program),
        })
    }
}
