//! Slack, by an incoming webhook: Block Kit, and a text for where no blocks are shown.
//!
//! Texts are not read for names and links (`verbatim`), and `&`, `<` and `>` are escaped, so a row's
//! value mentions nobody and links nowhere.

use serde::Serialize;

use super::card::Card;
use super::text::bounded;

/// Of a section's text, in characters; a header has at most 150.
const SECTION_UNITS_MAX: usize = 3000;
const HEADER_UNITS_MAX: usize = 150;
const TEXT_UNITS_MAX: usize = 1000;

#[derive(Serialize)]
pub(super) struct Message {
    /// In notifications, and where blocks can not be shown.
    text: String,
    blocks: Vec<Block>,
    unfurl_links: bool,
    unfurl_media: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Header { text: Text },
    Section { text: Text },
    Context { elements: Vec<Text> },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text {
    PlainText { text: String, emoji: bool },
    Mrkdwn { text: String, verbatim: bool },
}

pub(super) fn message(card: &Card) -> Message {
    let header = card.headed.then(|| Block::Header {
        text: Text::PlainText {
            text: bounded(card.title.chars(), HEADER_UNITS_MAX, String::push),
            emoji: false,
        },
    });
    let section = Block::Section {
        text: mrkdwn(escaped(&card.body, SECTION_UNITS_MAX)),
    };
    let context = Block::Context {
        elements: vec![mrkdwn(context(card))],
    };
    Message {
        text: escaped(&card.fallback, TEXT_UNITS_MAX),
        blocks: header.into_iter().chain([section, context]).collect(),
        unfurl_links: false,
        unfurl_media: false,
    }
}

fn mrkdwn(text: String) -> Text {
    Text::Mrkdwn {
        text,
        verbatim: true,
    }
}

/// The title where there is no header, the facts, the time in the reader's own zone, the link.
fn context(card: &Card) -> String {
    let title = (!card.headed).then_some(&card.title);
    let known = title.into_iter().chain(&card.facts);
    // A part is at most 150 characters, each of which becomes 5 at the most.
    let mut parts: Vec<String> = known.map(|part| escaped(part, 750)).collect();
    parts.push(format!(
        "<!date^{}^{{date_short_pretty}} {{time}}|{}>",
        card.at.as_second(),
        card.at.strftime("%Y-%m-%d %H:%M UTC"),
    ));
    let link = card.link.as_deref();
    parts.extend(link.map(|link| format!("<{}|Open>", link.replace('&', "&amp;"))));
    let mut context = parts.join(" · ");
    if super::text::units(&context) > SECTION_UNITS_MAX {
        // Only a link can be that long.
        parts.pop();
        context = parts.join(" · ");
    }
    context
}

fn escaped(text: &str, max: usize) -> String {
    bounded(text.chars(), max, |out, character| match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        character => out.push(character),
    })
}
