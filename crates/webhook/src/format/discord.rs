//! Discord, by a webhook: one embed.
//!
//! Nothing is mentioned (`allowed_mentions`), and a row's value is shown as it is: what Discord
//! would read as markup is escaped, except in a bare URL, which it would break.

use serde::Serialize;

use super::card::{Card, Tone};
use super::text::bounded;

/// In characters. All texts of an embed together have at most 6000: these and the footer, at most
/// three facts of 100, stay below.
const TITLE_UNITS_MAX: usize = 256;
const DESCRIPTION_UNITS_MAX: usize = 4096;

#[derive(Serialize)]
pub(super) struct Message {
    embeds: [Embed; 1],
    allowed_mentions: Mentions,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    description: String,
    /// RGB.
    color: u32,
    /// RFC 3339.
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    footer: Option<Footer>,
}

#[derive(Serialize)]
struct Footer {
    text: String,
}

/// Which kinds of mentions are read out of texts: none.
#[derive(Serialize)]
struct Mentions {
    parse: [&'static str; 0],
}

pub(super) fn message(card: &Card) -> Message {
    let footer = (!card.facts.is_empty()).then(|| Footer {
        text: card.facts.join(" · "),
    });
    let embed = Embed {
        title: escaped(&card.title, TITLE_UNITS_MAX),
        url: card.link.clone(),
        description: escaped(&card.body, DESCRIPTION_UNITS_MAX),
        color: match card.tone {
            Tone::Neutral => 0x57_60_6A,
            Tone::Good => 0x2D_A4_4E,
            Tone::Warning => 0xBF_87_00,
            Tone::Bad => 0xCF_22_2E,
        },
        timestamp: card.at.to_string(),
        footer,
    };
    Message {
        embeds: [embed],
        allowed_mentions: Mentions { parse: [] },
    }
}

/// With a backslash before what Discord reads as markup.
fn escaped(text: &str, max: usize) -> String {
    // How many bytes of a bare URL are still to come.
    let mut url = 0_usize;
    let mut rest = text;
    bounded(text.chars(), max, |out, character| {
        if url == 0 {
            url = url_length(rest);
        }
        let within = url > 0;
        url = url.saturating_sub(character.len_utf8());
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        let begins = out
            .rsplit('\n')
            .next()
            .is_none_or(|line| line.trim().is_empty());
        if !within && (MARKUP.contains(character) || begins && MARKUP_OF_LINES.contains(character))
        {
            out.push('\\');
        }
        out.push(character);
    })
}

/// Markup anywhere, and at the beginning of a line.
const MARKUP: &str = "\\*_~`|[]<>";
const MARKUP_OF_LINES: &str = "#-+";

/// Characters of a URL that may stand in one unescaped, since Discord reads the whole as a link.
const OF_URL: &str = "-._~:/?#@!$&+,;=%";

fn url_length(text: &str) -> usize {
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return 0;
    }
    let foreign = |c: char| !c.is_ascii_alphanumeric() && !OF_URL.contains(c);
    text.find(foreign).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_it_is_written_and_bare_urls_stay_links() {
        for (text, expected) in [
            ("a_b *c* `d`", r"a\_b \*c\* \`d\`"),
            (
                "[x](https://a.example/b_c)",
                r"\[x\](https://a.example/b_c)",
            ),
            (
                "Deployed: https://a_b.example/?x=1 _ok_",
                r"Deployed: https://a_b.example/?x=1 \_ok\_",
            ),
            ("<@1> || spoiler", r"\<@1\> \|\| spoiler"),
            (
                "# big\n> quote\n - list-a",
                "\\# big\n\\> quote\n \\- list-a",
            ),
            (r"back\slash", r"back\\slash"),
            ("'x' (it's 1, 2; 3!)", "'x' (it's 1, 2; 3!)"),
        ] {
            assert_eq!(escaped(text, 100), expected);
        }
    }
}
