//! Microsoft Teams, by a Workflows webhook: a message with one Adaptive Card.
//!
//! All texts are text runs, which know no markup: a row's value is shown as it is. A message has at
//! most 28 kB; what a card holds has less than 20, however its characters are written.

use serde::Serialize;

use super::card::{Card, Tone};

/// Lines of the body; each is a block of its own.
const LINES_MAX: usize = 40;

#[derive(Serialize)]
pub(super) struct Message {
    r#type: &'static str,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: &'static str,
    content: Content,
}

#[derive(Serialize)]
struct Content {
    #[serde(rename = "$schema")]
    schema: &'static str,
    r#type: &'static str,
    version: &'static str,
    body: Vec<Block>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Open>,
}

#[derive(Serialize)]
struct Block {
    r#type: &'static str,
    inlines: [Run; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    spacing: Option<&'static str>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    r#type: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_subtle: Option<bool>,
}

#[derive(Serialize)]
struct Open {
    r#type: &'static str,
    title: &'static str,
    url: String,
}

pub(super) fn message(card: &Card) -> Message {
    let title = Run {
        weight: Some("Bolder"),
        color: match card.tone {
            Tone::Neutral => None,
            Tone::Good => Some("Good"),
            Tone::Warning => Some("Warning"),
            Tone::Bad => Some("Attention"),
        },
        ..run(card.title.clone())
    };
    let time = card.at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let facts = card.facts.iter().cloned().chain([time]);
    let facts = Run {
        size: Some("Small"),
        is_subtle: Some(true),
        ..run(facts.collect::<Vec<_>>().join(" · "))
    };
    let mut body = vec![block(title, None)];
    body.extend(lines(card).map(|line| block(run(line), Some("Small"))));
    body.push(block(facts, None));
    Message {
        r#type: "message",
        attachments: [Attachment {
            content_type: "application/vnd.microsoft.card.adaptive",
            content: Content {
                schema: "http://adaptivecards.io/schemas/adaptive-card.json",
                r#type: "AdaptiveCard",
                version: "1.4",
                body,
                actions: open(card).into_iter().collect(),
            },
        }],
    }
}

/// Those of the body that say something.
fn lines(card: &Card) -> impl Iterator<Item = String> {
    let lines = card.body.lines().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    let rest = lines.split_off(LINES_MAX.min(lines.len()));
    if let (Some(last), false) = (lines.last_mut(), rest.is_empty()) {
        last.push_str(" …");
    }
    lines.into_iter()
}

fn open(card: &Card) -> Option<Open> {
    Some(Open {
        r#type: "Action.OpenUrl",
        title: "Open",
        url: card.link.clone()?,
    })
}

fn block(run: Run, spacing: Option<&'static str>) -> Block {
    Block {
        r#type: "RichTextBlock",
        inlines: [run],
        spacing,
    }
}

fn run(text: String) -> Run {
    Run {
        r#type: "TextRun",
        text,
        ..Run::default()
    }
}
