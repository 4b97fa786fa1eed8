//! Calls by which rules read other rows: `first`, `lookup`, `tx.…`.

use super::{OF_TRANSACTION, Scan};
use crate::hint::hint;
use crate::syntax::{Kind, Token};

impl Scan<'_, '_> {
    /// `first('column', 'value')`.
    pub(super) fn first(&mut self, at: usize) {
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
    pub(super) fn lookup(&mut self, at: usize) {
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
    pub(super) fn of_transaction(&mut self, at: usize) {
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
    pub(super) fn alias(&self, open: usize) -> Option<String> {
        self.token(Some(open)).filter(|t| t.is_symbol("("))?;
        let alias = self.token(Some(open + 1)).filter(|t| t.is_plain_text())?;
        let next = self.token(Some(open + 2))?;
        (next.is_symbol(",") || next.is_symbol(")")).then(|| alias.text.to_owned())
    }

    /// The bracket that closes the one at `open`.
    pub(super) fn closing(&self, open: usize) -> Option<usize> {
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
    pub(super) fn argument(&self, open: usize, close: usize, name: &str) -> Option<usize> {
        let found = (open + 1..close).find(|at| {
            let before = self.token(at.checked_sub(1));
            self.token(Some(*at)).is_some_and(|t| t.is_name(name))
                && before.is_some_and(|t| t.is_symbol(",") || t.is_symbol("("))
                && self.token(Some(at + 1)).is_some_and(|t| t.is_symbol("="))
        });
        Some(found? + 2)
    }
}
