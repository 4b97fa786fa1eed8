//! `each('{{ item.name }}')`: a template for each item of a list.
//!
//! The template is compiled with the program that it stands in, checked as every other, and lives
//! under its pack's name and its own text. It sees `item` alone.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, State, Value};

use crate::difference::items;
use crate::maps::pack;
use crate::program::Compiler;
use crate::references::Names;
use crate::syntax::{self, Kind, Token};
use crate::trouble::Trouble;

/// Of one list.
const ITEMS_MAX: usize = 10_000;

pub(crate) fn install(environment: &mut Environment<'_>) {
    environment.add_filter("each", each);
}

/// Names of rules are not empty, so no program has such a name.
fn name(program: &str, template: &str) -> String {
    format!("{}//{template}", pack(program))
}

fn each(state: &State<'_, '_>, list: &Value, template: &Value) -> Result<Vec<String>, Error> {
    let literal = || Trouble::Literal {
        filter: "each",
        needs: "a template that is written out",
    };
    let text = template.as_str().ok_or_else(literal)?;
    let template = state.env().get_template(&name(state.name(), text));
    let template = template.map_err(|_| literal())?;
    let items = items("each", list)?;
    if items.len() > ITEMS_MAX {
        let (filter, limit) = ("each", "10000 texts");
        return Err(Trouble::TooMuch { filter, limit }.into());
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let captured = template.render_captured(Value::from_pairs([("item", item)]))?;
        // What the item took is taken from the whole.
        let taken = captured.state().fuel_levels().map_or(0, |(taken, _)| taken);
        state.consume_fuel(1 + taken)?;
        texts.push(captured.into_output());
    }
    Ok(texts)
}

/// What other templates see, and those of `each` do not.
const UNSEEN: &[&str] = &["new", "old", "changed", "lookup", "tx", "rows", "context"];

impl Compiler<'_, '_> {
    /// Compiles the templates that a program gives to `each`. False where there is a problem, which
    /// is reported then.
    pub(crate) fn each(
        &mut self,
        key: &str,
        source: &str,
        line: usize,
        tokens: &[Token<'_>],
    ) -> bool {
        let mut fine = true;
        for (at, pair) in tokens.windows(2).enumerate() {
            let [bar, filter] = pair else { continue };
            if !(bar.is_symbol("|") && filter.is_name("each")) {
                continue;
            }
            let line = line + syntax::line(source, filter.start) - 1;
            let argument = tokens.get(at + 2..at + 5);
            let text = match argument {
                Some([open, text, close])
                    if open.is_symbol("(") && text.kind == Kind::Text && close.is_symbol(")") =>
                {
                    self.literal(source, text)
                }
                _ => None,
            };
            fine &= match text {
                Some(text) => self.each_template(key, &text, line),
                None => {
                    let message = "each needs a template that is written out".to_owned();
                    let hint = "write each('{{ item.name }}')".to_owned();
                    self.problem(key, line, message, Some(hint));
                    false
                }
            };
        }
        fine
    }

    /// A quoted text as it is meant.
    fn literal(&self, source: &str, text: &Token<'_>) -> Option<String> {
        let quoted = source.get(text.start.checked_sub(1)?..text.end + 1)?;
        let value = self.environment.compile_expression(quoted).ok()?.eval(());
        value.ok()?.as_str().map(str::to_owned)
    }

    fn each_template(&mut self, key: &str, template: &str, line: usize) -> bool {
        let name = name(self.rule, template);
        if self.environment.get_template(&name).is_ok() {
            return true;
        }
        if let Err(error) = self.environment.template_from_str(template) {
            self.syntax_error(key, line, &error);
            return false;
        }
        let tokens = syntax::template(template);
        let unseen = tokens.iter().enumerate().find(|(at, token)| {
            let previous = at.checked_sub(1).and_then(|at| tokens.get(at));
            let attribute = previous.is_some_and(|t| t.is_symbol(".") || t.is_symbol("|"));
            let argument = tokens.get(at + 1).is_some_and(|t| t.is_symbol("="));
            token.kind == Kind::Name && UNSEEN.contains(&token.text) && !attribute && !argument
        });
        if let Some((_, token)) = unseen {
            let line = line + syntax::line(template, token.start) - 1;
            let message = format!("the template of each does not see {}", token.text);
            let hint = "it sees item alone; a for loop sees everything".to_owned();
            self.problem(key, line, message, Some(hint));
            return false;
        }
        let item = Names {
            variables: BTreeMap::from([("item".to_owned(), None)]),
            ..Names::default()
        };
        let names = std::mem::replace(&mut self.names, item);
        let checked = self.checked(key, template, line, &tokens);
        self.names = names;
        let Some((strict, _)) = checked else {
            return false;
        };
        match self.environment.add_template_owned(name, strict) {
            Ok(()) => true,
            Err(error) => {
                self.syntax_error(key, line, &error);
                false
            }
        }
    }
}
