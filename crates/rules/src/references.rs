//! What an expression or template refers to: columns, and names that do not exist.

use std::collections::{BTreeMap, BTreeSet};

use crate::filters;
use crate::hint::hint;
use crate::syntax::{self, Kind, Token};

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

    /// `first('column', 'value')`.
    fn first(&mut self, at: usize) {
        let tokens: Vec<&Token<'_>> = self.tokens.iter().skip(at + 1).take(5).collect();
        if let [open, column, comma, value, close] = tokens.as_slice()
            && open.is_symbol("(")
            && column.is_plain_text()
            && comma.is_symbol(",")
            && (value.is_plain_text() || value.kind == Kind::Number)
            && close.is_symbol(")")
        {
            let (column, value) = (column.text.to_owned(), value.text.to_owned());
            self.found.new.insert(column.clone());
            self.found.old.insert(column.clone());
            self.found.firsts.insert((column, value));
            return;
        }
        let hint = "write first('column', 'value')".to_owned();
        self.mistake(
            at,
            "first needs the name of one column and a value".to_owned(),
            Some(hint),
        );
    }

    /// `lookup('table', key)` or `lookup('table', value, by='column')`.
    fn lookup(&mut self, at: usize) {
        let alias = self.alias(at + 1);
        let closing = self.closing(at + 1);
        let Some((alias, closing)) = alias.zip(closing) else {
            let hint = "write lookup('table', key)".to_owned();
            let message = "lookup needs the alias of a table and a key".to_owned();
            return self.mistake(at, message, Some(hint));
        };
        self.found.looks_up = true;
        self.table(at + 2, &alias);
        if let Some(column) = self.argument(at + 1, closing, "by") {
            match self.token(Some(column)).filter(|t| t.is_plain_text()) {
                Some(text) => {
                    let named = (alias, text.text.to_owned());
                    self.found.others.insert(named.clone());
                    self.found.unique.insert(named);
                }
                None => {
                    let message = "by needs the name of one column".to_owned();
                    self.mistake(column, message, None);
                }
            }
        }
        self.chain(at);
    }

    /// `tx.inserted('table')`.
    fn of_transaction(&mut self, at: usize) {
        let method = self.token(Some(at + 2)).map_or("", |t| t.text);
        let dot = self.token(Some(at + 1)).is_some_and(|t| t.is_symbol("."));
        let Some(alias) = self
            .alias(at + 3)
            .filter(|_| dot && OF_TRANSACTION.contains(&method))
        else {
            let hint = "write tx.inserted('table'), tx.updated('table') or tx.deleted('table')";
            let message = "tx is asked for the rows of one table".to_owned();
            return self.mistake(at, message, Some(hint.to_owned()));
        };
        self.found.of_transaction = true;
        self.table(at + 4, &alias);
        self.chain(at);
    }

    fn table(&mut self, at: usize, alias: &str) {
        if self.names.tables.contains(alias) {
            self.found.tables.insert(alias.to_owned());
            return;
        }
        let known: Vec<&str> = self.names.tables.iter().map(String::as_str).collect();
        let hint =
            hint("table", alias, &known).unwrap_or_else(|| format!("write [tables.{alias}]"));
        let message = format!("there is no table {alias} in the pack");
        self.mistake(at, message, Some(hint));
    }

    /// The text right after the bracket at `open`.
    fn alias(&self, open: usize) -> Option<String> {
        self.token(Some(open)).filter(|t| t.is_symbol("("))?;
        let alias = self.token(Some(open + 1)).filter(|t| t.is_plain_text())?;
        let next = self.token(Some(open + 2))?;
        (next.is_symbol(",") || next.is_symbol(")")).then(|| alias.text.to_owned())
    }

    /// The bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            if token.kind != Kind::Symbol {
                continue;
            }
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Where the value of an argument begins: `name=value` between two brackets.
    fn argument(&self, open: usize, close: usize, name: &str) -> Option<usize> {
        let found = (open + 1..close).find(|at| {
            let before = self.token(at.checked_sub(1));
            self.token(Some(*at)).is_some_and(|t| t.is_name(name))
                && before.is_some_and(|t| t.is_symbol(",") || t.is_symbol("("))
                && self.token(Some(at + 1)).is_some_and(|t| t.is_symbol("="))
        });
        Some(found? + 2)
    }

    /// What `for` and `set` give to their variable.
    fn head(&mut self, at: usize) {
        let tokens = self.tokens;
        let Some([start, statement, name, link, ..]) = tokens.get(at..) else {
            return;
        };
        let assigns = match statement.text {
            "for" => link.is_name("in"),
            "set" | "with" => link.is_symbol("="),
            _ => false,
        };
        if start.kind != Kind::Start || name.kind != Kind::Name || !assigns {
            return;
        }
        let (holds, _) = self.chain(at + 4);
        let holds = match (statement.text, holds) {
            ("for", Some(Holds::Rows(of))) => Some(Holds::Row(of)),
            ("for", _) => None,
            (_, holds) => holds,
        };
        self.held.insert(name.text.to_owned(), holds);
    }

    /// What the expression that begins here stands for, up to where that is plain, and where that is.
    /// Columns that are read on the way are found.
    fn chain(&mut self, at: usize) -> (Option<Holds>, usize) {
        let Some(token) = self.token(Some(at)) else {
            return (None, at);
        };
        let (holds, mut end) = match token.text {
            "(" if token.kind == Kind::Symbol => {
                let (holds, end) = self.chain(at + 1);
                match self.closing(at) {
                    Some(close) if close == end => (holds, end + 1),
                    _ => (None, at),
                }
            }
            _ if token.kind != Kind::Name => (None, at),
            "lookup" => match (self.alias(at + 1), self.closing(at + 1)) {
                (Some(alias), Some(close)) => (Some(Holds::Row(Of::Table(alias))), close + 1),
                _ => (None, at),
            },
            "tx" => match (self.alias(at + 3), self.closing(at + 3)) {
                (Some(alias), Some(close)) => (Some(Holds::Rows(Of::Table(alias))), close + 1),
                _ => (None, at),
            },
            "rows" if self.names.grouped => (Some(Holds::Rows(Of::Own)), at + 1),
            name => (self.held.get(name).cloned().flatten(), at + 1),
        };
        let Some(mut holds) = holds else {
            return (None, end);
        };
        loop {
            match self.step(&holds, end) {
                Step::On(next, after) => (holds, end) = (next, after),
                Step::Value(after) => return (None, after),
                Step::End => return (Some(holds), end),
            }
        }
    }

    /// One step of a chain: an attribute, an index or a filter.
    fn step(&mut self, holds: &Holds, at: usize) -> Step {
        let token = |n: usize| self.token(Some(at + n)).copied();
        let Some(first) = token(0) else {
            return Step::End;
        };
        match holds {
            Holds::Row(of) if first.is_symbol(".") => match token(1) {
                Some(name) if name.kind == Kind::Name => {
                    self.found.column(of, name.text);
                    Step::Value(at + 2)
                }
                _ => Step::End,
            },
            Holds::Row(of) if first.is_symbol("[") => match token(1) {
                Some(text) if text.is_plain_text() => {
                    self.found.column(of, text.text);
                    Step::Value(at + 3)
                }
                _ => Step::End,
            },
            Holds::Rows(of) if first.is_symbol("[") => match token(1) {
                Some(number) if number.kind == Kind::Number => {
                    Step::On(Holds::Row(of.clone()), at + 3)
                }
                _ => Step::End,
            },
            Holds::Row(_) | Holds::Rows(_) if first.is_symbol("|") => self.filter(holds, at + 1),
            Holds::Row(_) | Holds::Rows(_) => Step::End,
        }
    }

    fn filter(&mut self, holds: &Holds, at: usize) -> Step {
        let Some(name) = self.token(Some(at)).map(|t| t.text) else {
            return Step::End;
        };
        let call = self.token(Some(at + 1)).filter(|t| t.is_symbol("("));
        let close = call.and_then(|_| self.closing(at + 1));
        let end = close.map_or(at + 1, |close| close + 1);
        let (Holds::Row(of) | Holds::Rows(of)) = holds;
        match (holds, name) {
            (_, "default" | "d") => return Step::On(holds.clone(), end),
            (Holds::Row(_), _) => return Step::End,
            (Holds::Rows(_), "first" | "last") => return Step::On(Holds::Row(of.clone()), end),
            (Holds::Rows(_), "select" | "reject" | "list" | "reverse") => {
                return Step::On(holds.clone(), end);
            }
            (Holds::Rows(_), _) => {}
        }
        let Some(close) = close else {
            return Step::Value(end);
        };
        match name {
            "selectattr" | "rejectattr" => {
                self.fields(of, at + 2, close);
                Step::On(holds.clone(), end)
            }
            "unique" | "added" | "removed" | "modified" | "sort" => {
                for key in ["by", "attribute"] {
                    if let Some(value) = self.argument(at + 1, close, key) {
                        self.fields(of, value, close);
                    }
                }
                Step::On(holds.clone(), end)
            }
            "map" | "sum" => {
                if let Some(value) = self.argument(at + 1, close, "attribute") {
                    self.fields(of, value, close);
                }
                Step::Value(end)
            }
            "each" => {
                if let Some(text) = self.token(Some(at + 2)).filter(|t| t.is_plain_text()) {
                    self.each(of, text.text);
                }
                Step::Value(end)
            }
            _ => Step::Value(end),
        }
    }

    /// A name, or a list of names, as an argument.
    fn fields(&mut self, of: &Of, at: usize, close: usize) {
        let is_list = self.token(Some(at)).is_some_and(|t| t.is_symbol("["));
        let last = if is_list {
            self.closing(at)
        } else {
            Some(at + 1)
        };
        for at in at..last.unwrap_or(close).min(close) {
            let text = self.token(Some(at)).filter(|t| t.is_plain_text());
            if let Some(field) = text.map(|t| t.text) {
                // `a.b` is a field of what the column holds.
                self.found
                    .column(of, field.split('.').next().unwrap_or(field));
            }
        }
    }

    /// The columns of `item` in the template of an `each`.
    fn each(&mut self, of: &Of, template: &str) {
        let mut names = self.names.clone();
        let item = Some(Holds::Row(of.clone()));
        names.variables.insert("item".to_owned(), item);
        let inner = references(&syntax::template(template), &names);
        self.found.new.extend(inner.new);
        self.found.others.extend(inner.others);
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

enum Step {
    On(Holds, usize),
    /// From here on it is no row any more.
    Value(usize),
    End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{expression, template};

    fn names() -> Names {
        Names {
            variables: BTreeMap::from([("item".to_owned(), None)]),
            tables: BTreeSet::from(["shops", "items"].map(str::to_owned)),
            grouped: true,
        }
    }

    fn of(source: &str) -> References {
        references(&template(source), &names())
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
            ("{{ tx.inserted }}", "tx is asked for the rows of one table"),
            ("{{ lookup('a', 1) }}", "there is no table a in the pack"),
            (
                "{{ lookup(item) }}",
                "lookup needs the alias of a table and a key",
            ),
            ("{{ lookups('a') }}", "there is no function lookups"),
            (
                "{{ first('a') }}",
                "first needs the name of one column and a value",
            ),
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
        let names = references(&expression("item | added(item, by=['a'])"), &names());
        assert!(names.mistakes.is_empty());
    }

    #[test]
    fn the_columns_of_other_rows_are_found_as_far_as_the_text_tells() {
        for (source, columns) in [
            ("{{ lookup('shops', new.a).name }}", vec!["shops.name"]),
            (
                "{{ lookup('shops', new.a)['Odd name'].x }}",
                vec!["shops.Odd name"],
            ),
            (
                "{{ lookup('shops', new.a, by='slug').name }}",
                vec!["shops.name", "shops.slug"],
            ),
            (
                "{% set s = lookup('shops', 1) %}{{ s.name }}",
                vec!["shops.name"],
            ),
            (
                "{{ tx.inserted('items') | map(attribute='name') | join }}",
                vec!["items.name"],
            ),
            (
                "{{ tx.deleted('items') | selectattr('kind', 'eq', 'x') | map(attribute='n.m') }}",
                vec!["items.kind", "items.n"],
            ),
            (
                "{% for i in tx.updated('items') | unique(by=['a', 'b']) %}{{ i.c }}{% endfor %}",
                vec!["items.a", "items.b", "items.c"],
            ),
            (
                "{{ tx.inserted('items') | each('{{ item.name }}') | join }}",
                vec!["items.name"],
            ),
            (
                "{{ (tx.inserted('items') | first).name }}",
                vec!["items.name"],
            ),
            (
                "{{ lookup('shops', lookup('items', 1).shop).name }}",
                vec!["items.shop", "shops.name"],
            ),
        ] {
            let found = of(source);
            let named: Vec<String> = found
                .others
                .iter()
                .map(|(table, column)| format!("{table}.{column}"))
                .collect();
            assert_eq!(named, columns, "{source}");
            assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
        }
        let rows = of("{{ rows | map(attribute='name') | join }}{{ rows[0].kind }}");
        assert_eq!(
            rows.new,
            BTreeSet::from(["kind", "name"].map(str::to_owned))
        );
    }

    #[test]
    fn an_expression_that_is_a_row_makes_its_variable_one() {
        let holds = |source| references(&expression(source), &names()).holds;
        let row = || Some(Holds::Row(Of::Table("shops".to_owned())));
        assert_eq!(holds("lookup('shops', new.a)"), row());
        assert_eq!(holds("tx.inserted('shops') | first"), row());
        assert_eq!(holds("lookup('shops', new.a).name"), None);
        assert_eq!(holds("new.a"), None);
    }
}
