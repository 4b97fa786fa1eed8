//! Postgres' text format of arrays (`array_out`): `{a,"b c",NULL,{…}}`, with optional bounds
//! before it (`[0:1]={…}`).

/// More dimensions than Postgres allows are refused.
const DIMENSIONS_MAX: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Null,
    Text(String),
    Array(Vec<Element>),
}

/// `None` where the text is not an array.
pub(crate) fn parse(text: &str) -> Option<Vec<Element>> {
    let body = match text.strip_prefix('[') {
        Some(bounds) => bounds.split_once("]=")?.1.trim_start(),
        None => text,
    };
    let mut reader = Reader { rest: body };
    let elements = reader.array(1)?;
    reader.rest.is_empty().then_some(elements)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        Some(next)
    }

    fn skip(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Element>> {
        if depth > DIMENSIONS_MAX || !self.skip('{') {
            return None;
        }
        let mut elements = Vec::new();
        if self.skip('}') {
            return Some(elements);
        }
        loop {
            elements.push(self.element(depth)?);
            match self.next()? {
                ',' => {}
                '}' => return Some(elements),
                _ => return None,
            }
        }
    }

    fn element(&mut self, depth: usize) -> Option<Element> {
        if self.rest.starts_with('{') {
            return self.array(depth + 1).map(Element::Array);
        }
        if self.skip('"') {
            return self.quoted().map(Element::Text);
        }
        let text = self.bare()?;
        Some(if text.eq_ignore_ascii_case("null") {
            Element::Null
        } else {
            Element::Text(text)
        })
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.next()?),
                character => text.push(character),
            }
        }
    }

    fn bare(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(character) = self.rest.chars().next() {
            match character {
                ',' | '}' => break,
                '{' | '"' => return None,
                '\\' => {
                    self.next();
                    text.push(self.next()?);
                }
                _ => {
                    self.next();
                    text.push(character);
                }
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Element {
        Element::Text(text.to_owned())
    }

    fn quote(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn no_mixture_of_the_formats_characters_makes_the_parser_panic(text in r#"[{},"\\\[\]=:a0 ]{0,40}"#) {
            let _ = parse(&text);
        }

        #[test]
        fn any_list_of_texts_reads_back(texts: Vec<String>) {
            let array = format!("{{{}}}", texts.iter().map(|t| quote(t)).collect::<Vec<_>>().join(","));
            let expected: Vec<_> = texts.into_iter().map(Element::Text).collect();
            prop_assert_eq!(parse(&array), Some(expected));
        }
    }

    #[test]
    fn arrays_read_as_postgres_prints_them() {
        assert_eq!(parse("{}"), Some(vec![]));
        assert_eq!(
            parse(r#"{a,NULL,"NULL","b c","d\"e\\f"}"#),
            Some(vec![
                text("a"),
                Element::Null,
                text("NULL"),
                text("b c"),
                text("d\"e\\f")
            ])
        );
        assert_eq!(
            parse("[0:1][1:2]={{1,2},{3,4}}"),
            Some(vec![
                Element::Array(vec![text("1"), text("2")]),
                Element::Array(vec![text("3"), text("4")]),
            ])
        );
    }

    #[test]
    fn text_that_is_no_array_is_refused() {
        for broken in [
            "",
            "{",
            "{a",
            "{a,}",
            "{a}b",
            "a",
            "{{a}",
            "{\"a}",
            "[0:1]{a}",
            "{{{{{{{1}}}}}}}",
        ] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
    }
}
