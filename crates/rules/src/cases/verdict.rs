use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

/// What became of one case: it holds where there are no differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub name: String,
    pub line: usize,
    pub differences: Vec<Difference>,
}

impl Verdict {
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Places count from 1, actions and faults each for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference {
    /// A column of an action or a fault is another.
    Column {
        of: &'static str,
        place: usize,
        /// Where it is expected.
        line: usize,
        column: String,
        expected: Json,
        got: Json,
    },
    /// Expected, and not there.
    Missing {
        of: &'static str,
        place: usize,
        line: usize,
        expected: Json,
    },
    /// There, and not expected.
    Unexpected { of: &'static str, got: Json },
}

/// Like a test runner: what was expected with a minus, what came with a plus.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return write!(f, "ok    {}", self.name);
        }
        write!(f, "FAIL  {} (line {})", self.name, self.line)?;
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column {
                of,
                place,
                line,
                column,
                expected,
                got,
            } => write!(
                f,
                "        {of} {place} (line {line}): {column}\n          - {}\n          + {}",
                Shown(expected),
                Shown(got)
            ),
            Self::Missing {
                of,
                place,
                line,
                expected,
            } => {
                write!(
                    f,
                    "        {of} {place} (line {line}) is missing\n          - {}",
                    Shown(expected)
                )
            }
            Self::Unexpected { of, got } => {
                write!(
                    f,
                    "        a further {of} that no case expects\n          + {}",
                    Shown(got)
                )
            }
        }
    }
}

/// A value as a case writes it; of a row, what is not null.
struct Shown<'a>(&'a Json);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Json::Null => f.write_str("@null"),
            Json::Object(fields) => {
                let shown = fields.iter().filter(|(_, value)| !is_nothing(value));
                let shown: Vec<String> = shown
                    .map(|(name, value)| format!("{name} = {}", Shown(value)))
                    .collect();
                write!(f, "{{ {} }}", shown.join(", "))
            }
            value => write!(f, "{value}"),
        }
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
