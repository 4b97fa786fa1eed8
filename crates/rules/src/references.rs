//! What an expression or template refers to: columns, other tables, and names that do not exist.

mod calls;
mod chain;

use std::collections::{BTreeMap, BTreeSet};

use crate::filters;
use crate::hint::hint;
use crate::syntax::{Kind, Token};

/// What a name or an expression stands for, as far as its columns are known by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Row(Of),
    Rows(Of),
}

/// Whose row it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// A row of the rule's own table, as `new` is.
    Own,
    /// By its alias in the pack.
    Table(String),
}

/// The names that a program may use besides those of the language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The pack's variables.
    pub(crate) variables: BTreeMap<String, Option<Holds>>,
    /// Aliases of the pack.
    pub(crate) tables: BTreeSet<String>,
    /// Whether the rule has a `group`, and so `rows`.
    pub(crate) grouped: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    /// Columns of `new`, and those of `changed(…)`.
    pub(crate) new: BTreeSet<String>,
    /// Columns of `old`, and those of `changed(…)`.
    pub(crate) old: BTreeSet<String>,
    /// Tables that are looked up or whose rows are asked of the transaction, by alias.
    pub(crate) tables: BTreeSet<String>,
    /// Columns of such tables.
    pub(crate) others: BTreeSet<(String, String)>,
    /// Columns that lookups go by.
    pub(crate) unique: BTreeSet<(String, String)>,
    /// Columns and values of `first(…)`.
    pub(crate) firsts: BTreeSet<(String, String)>,
    pub(crate) looks_up: bool,
    /// Reads other rows of the transaction, or its message.
    pub(crate) of_transaction: bool,
    /// Reads `rows`.
    pub(crate) rows: bool,
    /// Of the variables that the pack defines.
    pub(crate) variables: BTreeSet<String>,
    /// What the whole expression stands for.
    pub(crate) holds: Option<Holds>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl References {
    /// The columns of both rows.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &String> {
        self.new.union(&self.old)
    }

    /// Takes in what another program of the same rule refers to, but for its mistakes.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.new.extend(other.new.iter().cloned());
        self.old.extend(other.old.iter().cloned());
        self.tables.extend(other.tables.iter().cloned());
        self.others.extend(other.others.iter().cloned());
        self.unique.extend(other.unique.iter().cloned());
        self.firsts.extend(other.firsts.iter().cloned());
        self.variables.extend(other.variables.iter().cloned());
        self.looks_up |= other.looks_up;
        self.of_transaction |= other.of_transaction;
        self.rows |= other.rows;
    }

    fn column(&mut self, of: &Of, column: &str) {
        match of {
            Of::Own => self.new.insert(column.to_owned()),
            Of::Table(alias) => self.others.insert((alias.clone(), column.to_owned())),
        };
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

/// What `rows` and calls of these names give is worked out by [`crate::functions`].
const FUNCTIONS: &[&str] = &["changed", "first", "lookup"];
const OF_TRANSACTION: &[&str] = &["inserted", "updated", "deleted"];

pub(crate) fn references(tokens: &[Token<'_>], names: &Names) -> References {
    let mut scan = Scan {
        tokens,
        assigned: assigned(tokens),
        names,
        held: names.variables.clone(),
        found: References::default(),
    };
    for at in 0..tokens.len() {
        scan.head(at);
        scan.look(at);
        if tokens.get(at).is_some_and(|t| t.is_symbol("(")) {
            scan.chain(at);
        }
    }
    if let (holds, end) = scan.chain(0)
        && end == tokens.len()
    {
        scan.found.holds = holds;
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
    names: &'a Names,
    /// What variables stand for, those of the template included.
    held: BTreeMap<String, Option<Holds>>,
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
            let of_transaction =
                before.is_some_and(|t| t.is_name("tx")) && OF_TRANSACTION.contains(&name);
            if of_transaction {
                // Looked at from `tx` on.
            } else if called && !before.is_some_and(|t| t.is_name("loop")) {
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
        } else if name == "first" && called {
            self.first(at);
        } else if name == "lookup" {
            self.lookup(at);
        } else if name == "tx" {
            self.of_transaction(at);
        } else if name == "context" && !called {
            self.found.of_transaction = true;
        } else if name == "rows" && self.names.grouped {
            self.found.of_transaction = true;
            self.found.rows = true;
            self.chain(at);
        } else if name == "rows" && !self.assigned.contains(name) {
            let hint = "rows are those of a group: give the rule a group".to_owned();
            self.mistake(at, "there is no variable rows".to_owned(), Some(hint));
        } else if called {
            self.mistake(
                at,
                format!("there is no function {name}"),
                hint("function", name, FUNCTIONS),
            );
        } else if self.names.variables.contains_key(name) && !self.assigned.contains(name) {
            self.found.variables.insert(name.to_owned());
            self.chain(at);
        } else if self.assigned.contains(name) {
            self.chain(at);
        } else {
            let known: Vec<&str> = ["new", "old", "changed", "first", "lookup", "tx", "context"]
                .into_iter()
                .chain(self.names.variables.keys().map(String::as_str))
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
mod tests;
