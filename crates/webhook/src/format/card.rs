//! What people read in a chat, whichever it is: clean and bounded, not yet escaped.

use jiff::Timestamp;

use super::{FormatContext, text};
use crate::Notification;
use crate::digest::{Told, title};

/// UTF-16 code units, at or below the least that a vendor takes.
pub(super) const TITLE_UNITS_MAX: usize = 150;
pub(super) const BODY_UNITS_MAX: usize = 3000;
const FACT_UNITS_MAX: usize = 100;
const FALLBACK_UNITS_MAX: usize = 300;

/// Sentences that a digest quotes, each with its first line.
const SENTENCES_MAX: usize = 10;
const SENTENCE_UNITS_MAX: usize = 150;

/// A message for people.
pub(super) struct Card {
    /// One line, never empty.
    pub(super) title: String,
    /// Never empty, may have several lines.
    pub(super) body: String,
    /// Status, environment and project, where they are known.
    pub(super) facts: Vec<String>,
    pub(super) at: Timestamp,
    pub(super) tone: Tone,
    /// Whether the body needs its title to be understood.
    pub(super) headed: bool,
    /// One line, for where only text is shown.
    pub(super) fallback: String,
    pub(super) link: Option<String>,
}

/// How it went, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Neutral,
    Good,
    Warning,
    Bad,
}

impl Tone {
    fn of(status: Option<&str>) -> Self {
        match status {
            Some("success" | "succeeded" | "completed" | "active") => Self::Good,
            Some("warning" | "cancelled" | "canceled" | "partial") => Self::Warning,
            Some("failed" | "failure" | "error" | "crashed") => Self::Bad,
            Some(_) | None => Self::Neutral,
        }
    }
}

impl Card {
    pub(super) fn of(notification: &Notification<'_>, context: &FormatContext) -> Self {
        let action = notification.action;
        let title = text::line(&title(&action.action_type), TITLE_UNITS_MAX);
        let sentence = action.action_details.as_deref().unwrap_or_default();
        let body = match text::lines(sentence, BODY_UNITS_MAX) {
            blank if blank.trim().is_empty() => title.clone(),
            body => body,
        };
        let status = action.status.as_deref().map(|s| s.replace('_', " "));
        let project = action.project_id.as_deref();
        let project = project.map(|project| format!("project {project}"));
        let facts = [
            status.as_deref(),
            action.environment.as_deref(),
            project.as_deref(),
        ];
        Self {
            fallback: text::line(&body, FALLBACK_UNITS_MAX),
            facts: facts.into_iter().flatten().filter_map(fact).collect(),
            at: notification.committed_at,
            tone: Tone::of(action.status.as_deref()),
            headed: false,
            link: context.link(notification),
            title,
            body,
        }
    }

    /// The summary, then how the actions' sentences begin.
    pub(super) fn of_digest(told: &Told<'_>, context: &FormatContext) -> Self {
        let title = match told.actions.len() {
            1 => "1 action".to_owned(),
            count => format!("{count} actions"),
        };
        let summary = told.summary();
        let fallback = format!("{title}: {}", summary.join(", "));
        let project = told
            .project_id()
            .map(|project| format!("project {project}"));
        let mut lines = summary;
        lines.push(String::new());
        lines.extend(sentences(told));
        Self {
            fallback: text::line(&fallback, FALLBACK_UNITS_MAX),
            body: text::lines(&lines.join("\n"), BODY_UNITS_MAX),
            facts: project.as_deref().and_then(fact).into_iter().collect(),
            at: told.timestamp(),
            tone: told.statuses().map(Tone::of).max().unwrap_or(Tone::Neutral),
            headed: true,
            link: context.link(&told.last),
            title,
        }
    }
}

fn fact(text: &str) -> Option<String> {
    Some(text::line(text, FACT_UNITS_MAX)).filter(|fact| !fact.trim().is_empty())
}

fn sentences(told: &Told<'_>) -> Vec<String> {
    let quoted = told.actions.iter().take(SENTENCES_MAX);
    let mut lines: Vec<String> = quoted
        .map(|notification| {
            let action = notification.action;
            let details = action.action_details.as_deref().unwrap_or_default();
            let first = details.trim().lines().next().unwrap_or_default();
            match text::line(first, SENTENCE_UNITS_MAX) {
                blank if blank.trim().is_empty() => {
                    format!(
                        "• {}",
                        text::line(&title(&action.action_type), SENTENCE_UNITS_MAX)
                    )
                }
                sentence => format!("• {sentence}"),
            }
        })
        .collect();
    let more = told.actions.len() - lines.len();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
