use std::fmt;
use std::ops::Range;

/// One mistake in a pack: where it is, what it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// "reference" or the file's path.
    pub origin: String,
    /// From 1.
    pub line: Option<usize>,
    pub rule: Option<String>,
    /// The key of the rule or table, such as `when`.
    pub key: Option<String>,
    pub message: String,
    pub hint: Option<String>,
    /// What in the line it is about, where that is known.
    pub mark: Option<Mark>,
}

/// A place inside a line of a pack, told by the part of the line that an expression or template
/// makes up: where that begins in the file, the pack's own quotes and escapes decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The expression's own text of the line.
    line: String,
    /// Bytes of it.
    place: Range<usize>,
}

impl Mark {
    /// What stands between two bytes of an expression or template.
    pub(crate) fn of(source: &str, start: usize, end: usize) -> Self {
        let before = source.get(..start).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let line = source.get(begin..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let end = end.saturating_sub(begin).min(line.len());
        Self {
            line: line.to_owned(),
            place: (start - begin).min(end)..end,
        }
    }

    /// The bytes of the file's line that are meant; `None` where they are written with escapes.
    pub fn find(&self, line: &str) -> Option<Range<usize>> {
        let begin = line.find(self.line.trim_end())?;
        let place = begin + self.place.start..begin + self.place.end;
        (!place.is_empty() && line.get(place.clone()).is_some()).then_some(place)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ": rule {rule}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every mistake that was found in the packs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(pub Vec<Problem>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Gathers the problems of one pack, so that all are told at once.
pub(crate) struct Report<'a> {
    origin: &'a str,
    problems: Vec<Problem>,
}

/// Where in a pack something stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) line: usize,
    pub(crate) rule: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(origin: &'a str) -> Self {
        Self {
            origin,
            problems: Vec::new(),
        }
    }

    pub(crate) fn origin(&self) -> &'a str {
        self.origin
    }

    pub(crate) fn add(
        &mut self,
        place: Place<'_>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.add_marked(place, None, message, hint);
    }

    pub(crate) fn add_marked(
        &mut self,
        place: Place<'_>,
        mark: Option<Mark>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.problems.push(Problem {
            mark,
            origin: self.origin.to_owned(),
            line: Some(place.line),
            rule: place.rule.map(str::to_owned),
            key: place.key.map(str::to_owned),
            message: message.into(),
            hint,
        });
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
