//! The tokens of a template or expression, as far as rules look at them.
//!
//! In goes text that minijinja has already parsed; out come its tokens with their places. Text
//! outside `{{ }}` and `{% %}` and comments give none.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    /// A quoted text; the token's text is what stands between the quotes, escapes untouched.
    Text,
    Number,
    /// Operators and brackets.
    Symbol,
    /// `{{` or `{%`.
    Start,
    /// `}}` or `%}`.
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'s> {
    pub(crate) kind: Kind,
    pub(crate) text: &'s str,
    /// Bytes from the beginning.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token<'_> {
    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.kind == Kind::Name && self.text == name
    }

    /// A quoted text without escapes.
    pub(crate) fn is_plain_text(&self) -> bool {
        self.kind == Kind::Text && !self.text.contains('\\')
    }

    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// The line of a byte, from 1.
pub(crate) fn line(source: &str, byte: usize) -> usize {
    let before = source.as_bytes().get(..byte).unwrap_or(source.as_bytes());
    1 + before.iter().filter(|b| **b == b'\n').count()
}

pub(crate) fn expression(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader::new(source);
    reader.code(None);
    reader.tokens
}

pub(crate) fn template(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader::new(source);
    while let Some(offset) = reader.rest().find('{') {
        reader.at += offset;
        match reader.rest().get(..2) {
            Some("{#") => {
                let end = reader
                    .rest()
                    .find("#}")
                    .map_or(reader.rest().len(), |n| n + 2);
                reader.at += end;
            }
            Some(start @ ("{{" | "{%")) => {
                reader.push(Kind::Start, 2);
                if reader.rest().starts_with(['-', '+']) {
                    reader.at += 1;
                }
                reader.code(Some(if start == "{{" { "}}" } else { "%}" }));
            }
            _ => reader.at += 1,
        }
    }
    reader.tokens
}

struct Reader<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Token<'s>>,
}

impl<'s> Reader<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            at: 0,
            tokens: Vec::new(),
        }
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let (start, end) = (self.at, self.at + length);
        let text = self.source.get(start..end).unwrap_or("");
        self.tokens.push(Token {
            kind,
            text,
            start,
            end,
        });
        self.at = end;
    }

    /// Reads up to the closing marker, or to the end where there is none.
    fn code(&mut self, closing: Option<&str>) {
        let mut depth = 0usize;
        while let Some(first) = self.rest().chars().next() {
            if let (Some(closing), 0) = (closing, depth) {
                let rest = self.rest();
                let trimmed = rest.strip_prefix(['-', '+']).unwrap_or(rest);
                if trimmed.starts_with(closing) {
                    self.at += rest.len() - trimmed.len();
                    self.push(Kind::End, closing.len());
                    return;
                }
            }
            match first {
                '\'' | '"' => self.text(first),
                '0'..='9' => self.number(),
                c if c == '_' || c.is_alphabetic() => {
                    let rest = self.rest();
                    let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric());
                    self.push(Kind::Name, end.unwrap_or(rest.len()));
                }
                c if c.is_whitespace() => self.at += c.len_utf8(),
                c => {
                    match c {
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' | '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    let double = matches!(
                        self.rest().get(..2),
                        Some("==" | "!=" | "<=" | ">=" | "//" | "**")
                    );
                    self.push(Kind::Symbol, if double { 2 } else { c.len_utf8() });
                }
            }
        }
    }

    fn text(&mut self, quote: char) {
        self.at += 1;
        let mut escaped = false;
        let end = self.rest().find(|c: char| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        self.push(Kind::Text, end.unwrap_or(self.rest().len()));
        self.at = (self.at + 1).min(self.source.len());
    }

    /// Digits, point and exponent; after a dot (`list.0.name`) only digits.
    fn number(&mut self) {
        let rest = self.rest();
        let after_dot = self.tokens.last().is_some_and(|t| t.is_symbol("."));
        let mut end = 0;
        for (place, c) in rest.char_indices() {
            let point = c == '.'
                && !after_dot
                && rest[place + 1..].starts_with(|c: char| c.is_ascii_digit());
            let sign = matches!(c, '+' | '-')
                && rest[..place].ends_with(['e', 'E'])
                && !rest.starts_with("0x");
            if !(c.is_ascii_alphanumeric() || c == '_' || point || sign) {
                break;
            }
            end = place + c.len_utf8();
        }
        self.push(Kind::Number, end.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts<'s>(tokens: &[Token<'s>]) -> Vec<&'s str> {
        tokens.iter().map(|t| t.text).collect()
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in r#"([{}%#'"\\()a0.=<>é \n-]|\{\{|\}\}){0,40}"#) {
            for token in expression(&text).iter().chain(&template(&text)) {
                prop_assert_eq!(&text[token.start..token.end], token.text);
            }
        }
    }

    #[test]
    fn tokens_keep_texts_numbers_and_operators_whole() {
        assert_eq!(
            texts(&expression(
                r#"a.b == 'it''s' and x[1.5e-3] != "q\"}" // 2"#
            )),
            [
                "a", ".", "b", "==", "it", "s", "and", "x", "[", "1.5e-3", "]", "!=", "q\\\"}",
                "//", "2"
            ]
        );
    }

    #[test]
    fn a_template_gives_only_its_code() {
        assert_eq!(
            texts(&template(
                "a {x} {# {{ no }} #}{{- {'a': {}} -}} b {% if x %}c{% endif %}"
            )),
            [
                "{{", "{", "a", ":", "{", "}", "}", "}}", "{%", "if", "x", "%}", "{%", "endif",
                "%}"
            ]
        );
    }
}
