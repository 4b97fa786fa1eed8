//! Rewrites operators that minijinja would be too lenient with; lines stay where they are.
//!
//! Comparisons follow [`crate::compare`]: `a == b` becomes `((a) is __eq(b))`. What `~` joins is
//! printed as in a template, so that none is nothing: `a ~ b` becomes `((a) | string) ~ …`.

use std::collections::BTreeSet;

use crate::syntax::{Kind, Token};

/// Two comparisons in a chain (`a < b < c`), which are refused: the byte where the second stands.
#[derive(Debug)]
pub(crate) struct Chained {
    pub(crate) byte: usize,
}

/// In goes text that minijinja has parsed, with its tokens.
pub(crate) fn rewrite(source: &str, tokens: &[Token<'_>]) -> Result<String, Chained> {
    let mut edits = Vec::new();
    let mut open = vec![Operand::default()];
    let mut for_head = false;
    for (at, token) in tokens.iter().enumerate() {
        let previous = at.checked_sub(1).and_then(|n| tokens.get(n));
        let next = tokens.get(at + 1);
        let Some(operand) = open.last_mut() else {
            break;
        };
        if let Some((test, length)) = comparison(previous, token, next, &mut for_head) {
            if operand.comparison.is_some() {
                return Err(Chained { byte: token.start });
            }
            operand.compare(at, at + length, test);
        } else if token.kind == Kind::Symbol && matches!(token.text, "(" | "[" | "{") {
            operand.include(at, token);
            open.push(Operand::default());
        } else if token.kind == Kind::Symbol && matches!(token.text, ")" | "]" | "}") {
            operand.close(tokens, &mut edits);
            if open.len() > 1 {
                open.pop();
            }
            if let Some(outer) = open.last_mut() {
                outer.include(at, token);
            }
        } else if is_boundary(previous, token, next) {
            operand.close(tokens, &mut edits);
            if token.kind == Kind::Start {
                for_head = next.is_some_and(|t| t.is_name("for"));
            }
        } else {
            operand.include(at, token);
        }
    }
    if let Some(operand) = open.last_mut() {
        operand.close(tokens, &mut edits);
    }
    Ok(apply(source, edits))
}

/// What stands between two boundaries: one operand, or two with a comparison between them.
#[derive(Default)]
struct Operand {
    /// The first and the last token.
    tokens: Option<(usize, usize)>,
    /// From and up to which token, and the test that it becomes.
    comparison: Option<(usize, usize, &'static str)>,
    /// What `+`, `-`, `~` and comparisons stand between: first and last token.
    terms: Vec<(usize, usize)>,
    /// The next token begins a term.
    between: bool,
    /// Places in `terms` that stand beside a `~`.
    joined: BTreeSet<usize>,
}

impl Operand {
    fn include(&mut self, at: usize, token: &Token<'_>) {
        // `not in` is two tokens, of which the second is no operand.
        if self.comparison.is_some_and(|(_, end, _)| at < end) {
            return;
        }
        let first = self.tokens.map_or(at, |(first, _)| first);
        self.tokens = Some((first, at));
        let after_term = !self.between && !self.terms.is_empty();
        if token.is_symbol("~") {
            self.joined
                .extend([self.terms.len().saturating_sub(1), self.terms.len()]);
            self.between = true;
        } else if after_term && (token.is_symbol("+") || token.is_symbol("-")) {
            self.between = true;
        } else if after_term {
            if let Some((_, last)) = self.terms.last_mut() {
                *last = at;
            }
        } else {
            self.terms.push((at, at));
            // A sign belongs to the term that follows it.
            self.between = false;
        }
    }

    fn compare(&mut self, from: usize, to: usize, test: &'static str) {
        self.comparison = Some((from, to, test));
        self.between = true;
    }

    /// Inner edits come before outer ones where both stand at one byte and end there, after them
    /// where both begin.
    fn close(&mut self, tokens: &[Token<'_>], edits: &mut Vec<Edit>) {
        let operand = std::mem::take(self);
        let begin = |at: usize| {
            tokens
                .get(at)
                .map_or(0, |t| t.start - usize::from(t.kind == Kind::Text))
        };
        let end = |at: usize| {
            tokens
                .get(at)
                .map_or(0, |t| t.end + usize::from(t.kind == Kind::Text))
        };
        let insert = |at: usize, text: &str| Edit(at, at, text.to_owned());
        let test = operand
            .comparison
            .map(|(from, to, test)| match test.strip_prefix("not ") {
                Some(test) => ("(not (", begin(from), end(to - 1), test),
                None => ("((", begin(from), end(to - 1), test),
            });
        let compared = operand.tokens.zip(test);
        if let Some(((first, _), (opening, ..))) = compared {
            edits.push(insert(begin(first), opening));
        }
        let joined = operand
            .joined
            .iter()
            .filter_map(|place| operand.terms.get(*place));
        for (first, last) in joined {
            edits.push(insert(begin(*first), "(("));
            edits.push(insert(end(*last), ") | string)"));
        }
        if let Some(((_, last), (_, from, to, test))) = compared {
            edits.push(Edit(from, to, format!(") is {test}(")));
            edits.push(insert(end(last), "))"));
        }
    }
}

fn comparison(
    previous: Option<&Token<'_>>,
    token: &Token<'_>,
    next: Option<&Token<'_>>,
    for_head: &mut bool,
) -> Option<(&'static str, usize)> {
    let after = |name| previous.is_some_and(|t| t.is_name(name));
    let attribute = previous.is_some_and(|t| t.is_symbol("."));
    match (token.kind, token.text) {
        (Kind::Symbol, "==") => Some(("__eq", 1)),
        (Kind::Symbol, "!=") => Some(("__ne", 1)),
        (Kind::Symbol, "<") => Some(("__lt", 1)),
        (Kind::Symbol, "<=") => Some(("__le", 1)),
        (Kind::Symbol, ">") => Some(("__gt", 1)),
        (Kind::Symbol, ">=") => Some(("__ge", 1)),
        (Kind::Name, "not") if !after("is") && next.is_some_and(|t| t.is_name("in")) => {
            Some(("not __in", 2))
        }
        // The `in` of `not in` is counted there, that of `for x in xs` is none, and `is in(…)`
        // is a test already.
        (Kind::Name, "in") if !attribute && !after("is") && !after("not") => {
            (!std::mem::take(for_head)).then_some(("__in", 1))
        }
        _ => None,
    }
}

fn is_boundary(previous: Option<&Token<'_>>, token: &Token<'_>, next: Option<&Token<'_>>) -> bool {
    let attribute = previous.is_some_and(|t| t.is_symbol("."));
    match token.kind {
        Kind::Start | Kind::End => true,
        Kind::Symbol => matches!(token.text, "," | ":" | "="),
        Kind::Name if attribute => false,
        Kind::Name => match token.text {
            "not" => !previous.is_some_and(|t| t.is_name("is")),
            // `in` arrives here as the head of a loop, or as the second token of `not in`.
            "in" => !previous.is_some_and(|t| t.is_name("is") || t.is_name("not")),
            "and" | "or" | "if" | "else" => true,
            "elif" | "for" | "set" | "with" => {
                previous.is_some_and(|t| t.kind == Kind::Start)
                    && next.is_some_and(|t| t.kind != Kind::End)
            }
            _ => false,
        },
        Kind::Text | Kind::Number => false,
    }
}

/// Replaces the bytes from the first up to the second number.
struct Edit(usize, usize, String);

fn apply(source: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.0);
    let mut out = String::with_capacity(source.len() + edits.len() * 8);
    let mut at = 0;
    for Edit(start, end, text) in edits {
        out.push_str(source.get(at..start).unwrap_or(""));
        out.push_str(&text);
        at = end;
    }
    out.push_str(source.get(at..).unwrap_or(""));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{expression, template};

    fn rewritten(source: &str) -> String {
        rewrite(source, &expression(source)).unwrap()
    }

    #[test]
    fn comparisons_become_tests_and_all_else_stays() {
        for (source, expected) in [
            ("a", "a"),
            ("a == 'b'", "((a ) is __eq( 'b'))"),
            ("'b' == a", "(('b' ) is __eq( a))"),
            (
                "not a.x != b and c >= 1",
                "not ((a.x ) is __ne( b)) and ((c ) is __ge( 1))",
            ),
            ("a not in ['x', 'y']", "(not (a ) is __in( ['x', 'y']))"),
            ("a is not none", "a is not none"),
            ("a is in(b)", "a is in(b)"),
            ("(a < b) == c", "(((((a ) is __lt( b))) ) is __eq( c))"),
            (
                "f(x == 1, by=y < 2)",
                "f(((x ) is __eq( 1)), by=((y ) is __lt( 2)))",
            ),
            ("1 if a == b else c", "1 if ((a ) is __eq( b)) else c"),
            ("a | length > b + 1", "((a | length ) is __gt( b + 1))"),
            ("x.in == x.not", "((x.in ) is __eq( x.not))"),
            ("a ~ 'b'", "((a) | string) ~ (('b') | string)"),
            (
                "a~b.c(d)~e",
                "((a) | string)~((b.c(d)) | string)~((e) | string)",
            ),
            (
                "a + b * c ~ -d - e",
                "a + ((b * c) | string) ~ ((-d) | string) - e",
            ),
            ("a~b==c", "((((a) | string)~((b) | string)) is __eq(c))"),
            (
                "a not in b ~ [c ~ d]",
                "(not (a ) is __in( ((b) | string) ~ (([((c) | string) ~ ((d) | string)]) | string)))",
            ),
        ] {
            assert_eq!(rewritten(source), expected, "{source}");
        }
    }

    #[test]
    fn statements_keep_their_heads() {
        for (source, expected) in [
            (
                "{% for a in b if a == 1 %}{% endfor %}",
                "{% for a in b if ((a ) is __eq( 1)) %}{% endfor %}",
            ),
            ("{% set x = a in b %}", "{% set x = ((a ) is __in( b)) %}"),
            (
                "{% if a > b %}{% elif a < b %}{% else %}{% endif %}",
                "{% if ((a ) is __gt( b)) %}{% elif ((a ) is __lt( b)) %}{% else %}{% endif %}",
            ),
            ("a == b {{ c }}", "a == b {{ c }}"),
        ] {
            assert_eq!(rewrite(source, &template(source)).unwrap(), expected);
        }
    }

    #[test]
    fn a_chain_of_comparisons_is_refused() {
        for source in ["a < b < c", "a == b in c"] {
            assert!(rewrite(source, &expression(source)).is_err());
        }
    }
}
