//! What a chain such as `lookup('shops', new.shop).owner` or `rows | map(attribute='name')` stands for,
//! step by step, and the columns that it reads on the way.

use super::{Holds, Of, Scan, references};
use crate::syntax::{self, Kind};

enum Step {
    On(Holds, usize),
    /// From here on it is no row any more.
    Value(usize),
    End,
}

impl Scan<'_, '_> {
    /// What `for` and `set` give to their variable.
    pub(super) fn head(&mut self, at: usize) {
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
    pub(super) fn chain(&mut self, at: usize) -> (Option<Holds>, usize) {
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
}
