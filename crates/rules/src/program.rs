//! One expression or template of a pack: checked, compiled once, run many times.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

use crate::error::{Mark, Place, Report};
use crate::references::{Names, References, references};
use crate::syntax::{self, Token};
use crate::{compare, filters, maps, strict};

/// Of one run: an instruction takes one, so do 64 bytes of data that are produced or compared.
/// Bounds time and, at 64 MB, memory; comparing lists of 20,000 endpoints takes a fifth.
const FUEL: u64 = 1_000_000;

/// What a template may render at most; a longer text is a fault of the row.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The variable that an expression's template leaves its value in.
const RESULT: &str = "__value";

pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_reload(false);
    environment.set_formatter(|out, _, value| match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::String | ValueKind::Number | ValueKind::Plain => {
            write!(out, "{value}").map_err(Error::from)
        }
        _ => out.write_str(&filters::print(value)?).map_err(Error::from),
    });
    filters::install(&mut environment);
    compare::install(&mut environment);
    environment
}

/// A compiled expression or template, by its name in the environment.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    name: String,
    /// The pack's key that it stands under, for messages.
    pub(crate) key: String,
}

impl Program {
    /// Evaluates an expression.
    pub(crate) fn evaluate(
        &self,
        environment: &Environment<'_>,
        scope: Value,
    ) -> Result<Value, Error> {
        let captured = environment
            .get_template(&self.name)?
            .render_captured(scope)?;
        let value = captured.state().lookup(RESULT);
        value.ok_or_else(|| Error::from(ErrorKind::UndefinedError))
    }

    /// Renders a template.
    pub(crate) fn render(
        &self,
        environment: &Environment<'_>,
        scope: Value,
    ) -> Result<String, Error> {
        environment.get_template(&self.name)?.render(scope)
    }
}

/// What surrounds the programs of one rule while they are compiled.
pub(crate) struct Compiler<'a, 'r> {
    pub(crate) environment: &'a mut Environment<'static>,
    pub(crate) report: &'a mut Report<'r>,
    /// Unique among all rules: `reference/project_created`.
    pub(crate) rule: &'a str,
    /// The rule's name as the pack writes it.
    pub(crate) rule_name: &'a str,
    pub(crate) names: Names,
}

/// A compiled program, or a text that needs no program, with the columns it names.
pub(crate) struct Compiled<T> {
    pub(crate) code: T,
    pub(crate) references: References,
}

pub(crate) enum Text {
    Literal(String),
    Program(Program),
}

impl Compiler<'_, '_> {
    /// `None` where there is a problem, which is reported then.
    pub(crate) fn expression(
        &mut self,
        key: &str,
        source: &str,
        line: usize,
    ) -> Option<Compiled<Program>> {
        let wrapped = |source: &str| format!("{{% set {RESULT} = ({source}\n) %}}");
        // Without this an expression could close the statement it is put in.
        if let Err(error) = self.environment.compile_expression_owned(source.to_owned()) {
            self.syntax_error(key, line, &error);
            return None;
        }
        let tokens = syntax::expression(source);
        let (strict, references) = self.checked(key, source, line, &tokens)?;
        let code = self.add(key, line, wrapped(&strict))?;
        Some(Compiled { code, references })
    }

    pub(crate) fn template(
        &mut self,
        key: &str,
        source: &str,
        line: usize,
    ) -> Option<Compiled<Text>> {
        if !source.contains('{') {
            return Some(Compiled {
                code: Text::Literal(source.to_owned()),
                references: References::default(),
            });
        }
        if let Err(error) = self.environment.template_from_str(source) {
            self.syntax_error(key, line, &error);
            return None;
        }
        let tokens = syntax::template(source);
        let (strict, references) = self.checked(key, source, line, &tokens)?;
        let code = self.add(key, line, strict)?;
        Some(Compiled {
            code: Text::Program(code),
            references,
        })
    }

    fn add(&mut self, key: &str, line: usize, source: String) -> Option<Program> {
        let name = format!("{}/{key}", self.rule);
        match self.environment.add_template_owned(name.clone(), source) {
            Ok(()) => Some(Program {
                name,
                key: key.to_owned(),
            }),
            Err(error) => {
                self.syntax_error(key, line, &error);
                None
            }
        }
    }

    pub(crate) fn checked(
        &mut self,
        key: &str,
        source: &str,
        line: usize,
        tokens: &[Token<'_>],
    ) -> Option<(String, References)> {
        let mut references = references(tokens, &self.names);
        let maps = maps::mistakes(self.environment, self.rule, tokens);
        references.mistakes.extend(maps);
        let each = self.each(key, source, line, tokens);
        let strict = strict::rewrite(source, tokens);
        for mistake in &references.mistakes {
            let line = line + syntax::line(source, mistake.byte) - 1;
            let place = Place {
                line,
                rule: Some(self.rule_name),
                key: Some(key),
            };
            let token = tokens.iter().find(|token| token.start == mistake.byte);
            let mark = token.map(|token| Mark::of(source, token.start, token.end));
            let (message, hint) = (mistake.message.clone(), mistake.hint.clone());
            self.report.add_marked(place, mark, message, hint);
        }
        match strict {
            Ok(strict) if references.mistakes.is_empty() && each => Some((strict, references)),
            Ok(_) => None,
            Err(chained) => {
                let line = line + syntax::line(source, chained.byte) - 1;
                let hint = "write a < b and b < c".to_owned();
                self.problem(
                    key,
                    line,
                    "comparisons can not be chained".to_owned(),
                    Some(hint),
                );
                None
            }
        }
    }

    pub(crate) fn syntax_error(&mut self, key: &str, line: usize, error: &Error) {
        let line = line + error.line().unwrap_or(1) - 1;
        let detail = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        self.problem(key, line, detail, None);
    }

    pub(crate) fn problem(
        &mut self,
        key: &str,
        line: usize,
        message: String,
        hint: Option<String>,
    ) {
        let place = Place {
            line,
            rule: Some(self.rule_name),
            key: Some(key),
        };
        self.report.add(place, message, hint);
    }
}
