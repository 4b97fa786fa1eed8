use std::fmt;
use std::str::FromStr;

use activity::Action;

use crate::Error;

/// Which actions an endpoint is notified of.
///
/// Every list must agree, one value of a list is enough, an empty list agrees with everything.
/// A list with values never agrees with an action that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub types: Vec<TypePattern>,
    pub projects: Vec<String>,
    pub environments: Vec<String>,
    pub statuses: Vec<String>,
}

/// Types of what Tidings says of itself. An endpoint gets them only where its list of types lets them
/// through: one without a list does not.
const NOTICES: [&str; 3] = ["endpoint_disabled", "capture_gap", "wal_budget"];

/// What a [`Filter`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub action_type: &'a str,
    pub project_id: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub status: Option<&'a str>,
}

impl<'a> From<&'a Action> for Subject<'a> {
    fn from(action: &'a Action) -> Self {
        Self {
            action_type: &action.action_type,
            project_id: action.project_id.as_deref(),
            environment: action.environment.as_deref(),
            status: action.status.as_deref(),
        }
    }
}

impl Filter {
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let Self {
            types,
            projects,
            environments,
            statuses,
        } = self;
        let named = types.iter().any(|t| t.matches(subject.action_type));
        let unnamed = types.is_empty() && !NOTICES.contains(&subject.action_type);
        (named || unnamed)
            && agrees(projects, subject.project_id)
            && agrees(environments, subject.environment)
            && agrees(statuses, subject.status)
    }
}

fn agrees(list: &[String], value: Option<&str>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.iter().any(|item| item == value))
}

/// An action type, or the beginning of one and `*`. Written as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern {
    text: String,
    prefix: bool,
}

impl TypePattern {
    /// The type, or how it begins.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is the beginning of types.
    pub fn is_prefix(&self) -> bool {
        self.prefix
    }

    pub fn matches(&self, action_type: &str) -> bool {
        if self.prefix {
            action_type.starts_with(&self.text)
        } else {
            action_type == self.text
        }
    }
}

impl FromStr for TypePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (start, prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if text.is_empty() || start.contains('*') {
            return Err(Error::InvalidPattern(text.to_owned()));
        }
        Ok(Self {
            text: start.to_owned(),
            prefix,
        })
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.prefix { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_goes_only_where_a_list_of_types_lets_it_through() {
        let notice = Subject {
            action_type: "endpoint_disabled",
            project_id: None,
            environment: None,
            status: Some("warning"),
        };
        for (patterns, wanted) in [
            (&[][..], false),
            (&["endpoints_added"][..], false),
            (&["endpoint_disabled"][..], true),
            (&["endpoint_*"][..], true),
            (&["*"][..], true),
        ] {
            assert_eq!(types(patterns).matches(&notice), wanted, "{patterns:?}");
        }
        for action_type in NOTICES {
            let notice = Subject {
                action_type,
                ..notice
            };
            assert!(!types(&[]).matches(&notice), "{action_type}");
            assert!(types(&[action_type]).matches(&notice), "{action_type}");
        }
    }

    const SUBJECT: Subject<'_> = Subject {
        action_type: "endpoints_added",
        project_id: Some("proj_1"),
        environment: Some("production"),
        status: None,
    };

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    fn types(patterns: &[&str]) -> Filter {
        Filter {
            types: patterns.iter().map(|p| p.parse().unwrap()).collect(),
            ..Filter::default()
        }
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        assert!(Filter::default().matches(&SUBJECT));
    }

    #[test]
    fn one_type_of_several_is_enough() {
        assert!(types(&["deployment", "endpoints_added"]).matches(&SUBJECT));
        assert!(types(&["deployment", "endpoints_*"]).matches(&SUBJECT));
        assert!(types(&["*"]).matches(&SUBJECT));
        assert!(types(&["endpoints_added*"]).matches(&SUBJECT));
    }

    #[test]
    fn a_type_without_a_star_is_the_whole_type() {
        assert!(!types(&["endpoints", "endpoints_added_", "Endpoints_added"]).matches(&SUBJECT));
    }

    #[test]
    fn every_list_must_agree() {
        let filter = Filter {
            projects: list(&["proj_0", "proj_1"]),
            environments: list(&["production"]),
            ..types(&["endpoints_*"])
        };
        assert!(filter.matches(&SUBJECT));
        let elsewhere = Subject {
            environment: Some("development"),
            ..SUBJECT
        };
        assert!(!filter.matches(&elsewhere));
        let other = Subject {
            project_id: Some("proj_2"),
            ..SUBJECT
        };
        assert!(!filter.matches(&other));
    }

    #[test]
    fn a_list_never_matches_an_action_without_the_value() {
        let filter = Filter {
            statuses: list(&["", "success"]),
            ..Filter::default()
        };
        assert!(!filter.matches(&SUBJECT));
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read() {
        for text in ["deployment", "endpoints_*", "*"] {
            assert_eq!(text.parse::<TypePattern>().unwrap().to_string(), text);
        }
        for text in ["", "**", "a*b", "*_added", "a**"] {
            assert!(text.parse::<TypePattern>().is_err(), "{text}");
        }
    }
}
