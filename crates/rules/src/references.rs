//! What an expression or template refers to: columns, and names that do not exist.

use std::collections::BTreeSet;

use crate::filters;
use crate::hint::hint;
use crate::syntax::{Kind, Token};

#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    /// Columns of `new`, and those of `changed(…)`.
    pub(crate) new: BTreeSet<String>,
    /// Columns of `old`, and those of `changed(…)`.
    pub(crate) old: BTreeSet<String>,
    /// Of the variables that the pack defines.
    pub(crate) variables: BTreeSet<String>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl References {
    /// The columns of both rows.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &String> {
        self.new.union(&self.old)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) byte: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

const KEYWORDS: &[&str] = &[
    "and", "or", "not", "in", "is", "if", "else", "true", "True", "false", "False", "none", "None",
];
const STATEMENTS: &[&str] = &[
    "if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith",
];

pub(crate) fn references(tokens: &[Token<'_>], variables: &BTreeSet<String>) -> References {
    let mut scan = Scan {
        tokens,
        assigned: assigned(tokens),
        variables,
        found: References::default(),
    };
    for at in 0..tokens.len() {
        scan.look(at);
    }
    scan.found
}

/// Names that the template itself gives a value: after `set`, `for` and `with`.
fn assigned<'s>(tokens: &[Token<'s>]) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::from(["loop"]);
    let heads = tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| t.kind == Kind::Start);
    for (start, _) in heads {
        let statement = tokens.get(start + 1).map_or("", |t| t.text);
        if !matches!(statement, "set" | "for" | "with") {
            continue;
        }
        let head = tokens
            .iter()
            .skip(start + 2)
            .take_while(|t| t.kind != Kind::End);
        let head: Vec<_> = head.collect();
        for (at, token) in head.iter().enumerate() {
            let target = match statement {
                "for" => !head.iter().take(at).any(|t| t.is_name("in")),
                "set" => !head.iter().take(at).any(|t| t.is_symbol("=")),
                _ => head.get(at + 1).is_some_and(|t| t.is_symbol("=")),
            };
            if token.kind == Kind::Name && target && !KEYWORDS.contains(&token.text) {
                names.insert(token.text);
            }
        }
    }
    names
}

struct Scan<'a, 's> {
    tokens: &'a [Token<'s>],
    assigned: BTreeSet<&'s str>,
    variables: &'a BTreeSet<String>,
    found: References,
}

impl<'s> Scan<'_, 's> {
    fn token(&self, at: Option<usize>) -> Option<&Token<'s>> {
        self.tokens.get(at?)
    }

    fn look(&mut self, at: usize) {
        let tokens = self.tokens;
        let Some(token) = tokens.get(at).filter(|t| t.kind == Kind::Name) else {
            return;
        };
        let previous = self.token(at.checked_sub(1));
        let before = self.token(at.checked_sub(2));
        let next = tokens.get(at + 1);
        let name = token.text;
        let called = next.is_some_and(|t| t.is_symbol("("));
        let after = |n: &str| previous.is_some_and(|t| t.is_name(n));

        if previous.is_some_and(|t| t.is_symbol(".")) {
            if called && !before.is_some_and(|t| t.is_name("loop")) {
                self.mistake(
                    at,
                    format!("there is no method {name}"),
                    hint("filter", name, filters::NAMES),
                );
            }
        } else if previous.is_some_and(|t| t.is_symbol("|")) {
            if !filters::NAMES.contains(&name) {
                self.mistake(
                    at,
                    format!("there is no filter {name}"),
                    hint("filter", name, filters::NAMES),
                );
            }
        } else if (after("is") && name != "not")
            || (after("not") && before.is_some_and(|t| t.is_name("is")))
        {
            if !filters::TESTS.contains(&name) {
                self.mistake(
                    at,
                    format!("there is no test {name}"),
                    hint("test", name, filters::TESTS),
                );
            }
        } else if previous.is_some_and(|t| t.kind == Kind::Start && t.text == "{%") {
            if !STATEMENTS.contains(&name) {
                self.mistake(
                    at,
                    format!("there is no statement {name}"),
                    hint("statement", name, STATEMENTS),
                );
            }
        } else if KEYWORDS.contains(&name) || name == "recursive" {
        } else if next.is_some_and(|t| t.is_symbol("="))
            && previous.is_some_and(|t| t.is_symbol("(") || t.is_symbol(","))
        {
            // The name of an argument.
        } else if matches!(name, "new" | "old") {
            self.row(at);
        } else if name == "changed" {
            self.changed(at);
        } else if called {
            self.mistake(
                at,
                format!("there is no function {name}"),
                hint("function", name, &["changed"]),
            );
        } else if self.variables.contains(name) {
            self.found.variables.insert(name.to_owned());
        } else if !self.assigned.contains(name) {
            let known: Vec<&str> = ["new", "old", "changed"]
                .into_iter()
                .chain(self.variables.iter().map(String::as_str))
                .collect();
            self.mistake(
                at,
                format!("there is no variable {name}"),
                hint("variable", name, &known),
            );
        }
    }

    /// `new.column` or `new['column']`.
    fn row(&mut self, at: usize) {
        let row = self.tokens.get(at).map_or("", |t| t.text);
        let column = match (self.token(Some(at + 1)), self.token(Some(at + 2))) {
            (Some(dot), Some(name)) if dot.is_symbol(".") && name.kind == Kind::Name => {
                Some(name.text)
            }
            (Some(open), Some(text)) if open.is_symbol("[") && text.kind == Kind::Text => {
                let closed = self.token(Some(at + 3)).is_some_and(|t| t.is_symbol("]"));
                (closed && !text.text.contains('\\')).then_some(text.text)
            }
            _ => None,
        };
        let Some(column) = column.map(str::to_owned) else {
            let hint = format!(
                "write {row}.column or {row}['column']: the columns that rules use must be known beforehand"
            );
            return self.mistake(at, format!("{row} is not used by column"), Some(hint));
        };
        if row == "new" {
            self.found.new.insert(column);
        } else {
            self.found.old.insert(column);
        }
    }

    fn changed(&mut self, at: usize) {
        let next = |n| self.token(Some(at + n));
        match (next(1), next(2), next(3)) {
            (Some(open), Some(column), Some(close))
                if open.is_symbol("(")
                    && column.kind == Kind::Text
                    && !column.text.contains('\\')
                    && close.is_symbol(")") =>
            {
                let column = column.text.to_owned();
                self.found.new.insert(column.clone());
                self.found.old.insert(column);
            }
            _ => {
                let hint = "write changed('column')".to_owned();
                self.mistake(
                    at,
                    "changed needs the name of one column".to_owned(),
                    Some(hint),
                );
            }
        }
    }

    fn mistake(&mut self, at: usize, message: String, hint: Option<String>) {
        let byte = self.tokens.get(at).map_or(0, |t| t.start);
        self.found.mistakes.push(Mistake {
            byte,
            message,
            hint,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{expression, template};

    fn of(source: &str) -> References {
        references(&template(source), &BTreeSet::from(["item".to_owned()]))
    }

    #[test]
    fn columns_are_found_however_they_are_written() {
        let found =
            of("{{ new.a }}{% if changed('b') %}{{ old['C d'] | join }}{% endif %}{{ item.new }}");
        assert_eq!(found.new, BTreeSet::from(["a", "b"].map(str::to_owned)));
        assert_eq!(found.old, BTreeSet::from(["C d", "b"].map(str::to_owned)));
        assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
    }

    #[test]
    fn names_that_do_not_exist_are_mistakes() {
        for (source, message) in [
            ("{{ new }}", "new is not used by column"),
            ("{{ new[item] }}", "new is not used by column"),
            (
                "{{ changed(item) }}",
                "changed needs the name of one column",
            ),
            ("{{ item | jion }}", "there is no filter jion"),
            ("{% if item is odd %}{% endif %}", "there is no test odd"),
            ("{{ tx.inserted }}", "there is no variable tx"),
            ("{{ lookup('a') }}", "there is no function lookup"),
            ("{{ item.keys() }}", "there is no method keys"),
            (
                "{% macro m() %}{% endmacro %}",
                "there is no statement macro",
            ),
        ] {
            let found = of(source);
            assert_eq!(
                found.mistakes.first().map(|m| m.message.as_str()),
                Some(message)
            );
        }
    }

    #[test]
    fn what_a_template_assigns_is_known() {
        for source in [
            "{% for a, b in item %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}",
            "{% set x = item %}{{ x }}",
            "{% with y = item %}{{ y }}{% endwith %}",
        ] {
            assert!(of(source).mistakes.is_empty(), "{source}");
        }
        let names = references(
            &expression("item | added(item, by=['a'])"),
            &BTreeSet::from(["item".to_owned()]),
        );
        assert!(names.mistakes.is_empty());
    }
}
