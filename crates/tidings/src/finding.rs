//! What a check has to say of a pack, and how it is shown: like a compiler's messages.

use std::collections::HashMap;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use rules::{Errors, Mark, Problem};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    Error,
    Warning,
    Note,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Weight,
    /// The pack's file or name; empty where it concerns no pack.
    pub file: String,
    pub line: Option<usize>,
    pub rule: Option<String>,
    pub key: Option<String>,
    pub message: String,
    pub hint: Option<String>,
    #[serde(skip)]
    pub mark: Option<Mark>,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self {
            level: Weight::Error,
            file: problem.origin,
            line: problem.line,
            rule: problem.rule,
            key: problem.key,
            message: problem.message,
            hint: problem.hint,
            mark: problem.mark,
        }
    }
}

pub fn of_errors(errors: Errors) -> Vec<Finding> {
    errors.0.into_iter().map(Finding::from).collect()
}

/// All findings with the lines they are about; `texts` by file. `styled` is for terminals, else it is
/// plain ASCII.
pub fn render(findings: &[Finding], texts: &HashMap<&str, &str>, styled: bool) -> String {
    let renderer = match styled {
        true => Renderer::styled().decor_style(DecorStyle::Unicode),
        false => Renderer::plain().decor_style(DecorStyle::Ascii),
    };
    let shown = findings.iter().map(|finding| {
        let text = texts
            .get(finding.file.as_str())
            .copied()
            .unwrap_or_default();
        renderer.render(&[finding.group(text)]) + "\n"
    });
    shown.collect::<Vec<String>>().join("\n")
}

impl Finding {
    fn group<'a>(&'a self, text: &'a str) -> Group<'a> {
        let level = match self.level {
            Weight::Error => Level::ERROR,
            Weight::Warning => Level::WARNING,
            Weight::Note => Level::NOTE,
        };
        let mut title = String::new();
        for (what, name) in [("rule ", &self.rule), ("", &self.key)] {
            if let Some(name) = name {
                title += &format!("{what}{name}: ");
            }
        }
        let mut group = Group::with_title(level.primary_title(title + &self.message));
        let shown = self
            .line
            .and_then(|line| Some((line, text.lines().nth(line.checked_sub(1)?)?)));
        if let Some((line, source)) = shown {
            let span = self.place(source);
            let snippet = Snippet::source(source)
                .line_start(line)
                .path(self.file.as_str());
            group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
        } else if !self.file.is_empty() {
            group = group.element(Origin::path(self.file.as_str()));
        }
        match &self.hint {
            Some(hint) => group.element(Level::HELP.message(hint.as_str())),
            None => group,
        }
    }

    /// What to underline: the thing itself, else the key, else the line.
    fn place(&self, source: &str) -> std::ops::Range<usize> {
        if let Some(place) = self.mark.as_ref().and_then(|mark| mark.find(source)) {
            return place;
        }
        let key = self.key.as_deref().and_then(|key| key.rsplit('.').next());
        if let Some(key) = key.filter(|key| !key.is_empty())
            && let Some(at) = word(source, key)
        {
            return at..at + key.len();
        }
        let begin = source.len() - source.trim_start().len();
        let end = source.trim_end().len();
        begin..end.max(begin)
    }
}

/// Where a whole word stands first.
fn word(source: &str, word: &str) -> Option<usize> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = source.match_indices(word).map(|(at, _)| at);
    found.find(|&at| {
        let before = source.get(..at).and_then(|b| b.chars().next_back());
        let after = source.get(at + word.len()..).and_then(|a| a.chars().next());
        !before.is_some_and(of_word) && !after.is_some_and(of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::{PackSource, Rules};

    fn told(text: &str) -> String {
        let source = PackSource {
            origin: "shop.toml".to_owned(),
            text: text.to_owned(),
            schema: None,
        };
        let findings = of_errors(Rules::compile(&[source]).unwrap_err());
        render(&findings, &HashMap::from([("shop.toml", text)]), false)
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_a_caret_and_a_hint() {
        let pack = "[pack]\nname = \"shop\"\n[tables.orders]\n[[rules]]\nname = \"x\"\ntable = \"orders\"\n\
                    on = [\"insert\"]\nwhen = \"new.tags | jion\"\n";
        assert_eq!(
            told(pack),
            "error: rule x: when: there is no filter jion\n \
             --> shop.toml:8:20\n  |\n8 | when = \"new.tags | jion\"\n  |                    ^^^^\n  |\n  \
             = help: did you mean join?\n"
        );
    }

    #[test]
    fn what_has_no_place_in_its_line_underlines_the_key() {
        let pack = "[pack]\nname = \"shop\"\n[tables.orders]\n[[rules]]\nname = \"x\"\ntable = \"oders\"\n\
                    on = [\"insert\"]\n";
        let told = told(pack);
        assert!(told.contains("6 | table = \"oders\"\n  | ^^^^^"), "{told}");
        assert!(told.contains("did you mean orders?"), "{told}");
    }
}
