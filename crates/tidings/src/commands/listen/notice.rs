//! A notification as it is shown.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use webhook::VerifyError;

use super::forward::Forwarded;
use crate::commands::receiving::Received;

/// Of what a line shows of a notification, in characters.
const SENTENCE_MAX: usize = 200;
const TYPE_MAX: usize = 60;

pub struct Notice {
    pub at: Timestamp,
    pub received: Received,
    /// `None` where it went no further.
    pub forwarded: Option<Forwarded>,
    pub answered: StatusCode,
}

impl Notice {
    /// `22:13:20  deployment  Deployed to fly.io  (verified, forwarded: 200)`
    pub fn line(&self) -> String {
        let body = serde_json::from_slice(&self.received.body).ok();
        let (action_type, sentence) = match &body {
            Some(body) => (action_type(body), sentence(body)),
            None => (None, None),
        };
        let sentence = sentence.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&self.received.body);
            printable(&text, SENTENCE_MAX)
        });
        let verified = match self.received.verified {
            Ok(()) => "verified".to_owned(),
            Err(VerifyError::NoSecret) => "unverified".to_owned(),
            Err(reason) => format!("NOT VERIFIED: {reason}"),
        };
        let forwarded = match &self.forwarded {
            None => String::new(),
            Some(Forwarded::Answered(status)) => format!(", forwarded: {}", status.as_u16()),
            Some(Forwarded::Silent) => ", forwarded: no answer in time".to_owned(),
            Some(Forwarded::Failed(reason)) => format!(", not forwarded: {reason}"),
        };
        format!(
            "{}  {}  {sentence}  ({verified}{forwarded})",
            self.at.strftime("%H:%M:%S"),
            action_type.unwrap_or_else(|| "-".to_owned()),
        )
    }

    /// Everything on one line, for programs.
    pub fn json(&self) -> String {
        let headers = self.received.headers.iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let body = serde_json::from_slice(&self.received.body);
        let shown = Shown {
            at: self.at,
            verified: match self.received.verified {
                Ok(()) => Some(true),
                Err(VerifyError::NoSecret) => None,
                Err(_) => Some(false),
            },
            reason: match self.received.verified {
                Ok(()) | Err(VerifyError::NoSecret) => None,
                Err(reason) => Some(reason.to_string()),
            },
            forwarded: match &self.forwarded {
                Some(Forwarded::Answered(status)) => Some(status.as_u16()),
                Some(Forwarded::Silent | Forwarded::Failed(_)) | None => None,
            },
            forward_error: match &self.forwarded {
                Some(Forwarded::Silent) => Some("no answer in time"),
                Some(Forwarded::Failed(reason)) => Some(reason),
                Some(Forwarded::Answered(_)) | None => None,
            },
            answered: self.answered.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str(), text(value.as_bytes())))
                .collect(),
            body: body.unwrap_or_else(|_| Value::String(text(&self.received.body))),
        };
        serde_json::to_string(&shown).expect("text, numbers and JSON values always make JSON")
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    at: Timestamp,
    /// None without a secret to verify with.
    verified: Option<bool>,
    reason: Option<String>,
    /// The application's status.
    forwarded: Option<u16>,
    forward_error: Option<&'a str>,
    answered: u16,
    headers: BTreeMap<&'a str, String>,
    /// A text where it is no JSON.
    body: Value,
}

fn action_type(body: &Value) -> Option<String> {
    Some(printable(body["type"].as_str()?, TYPE_MAX))
}

/// What a person would read, in whichever of the formats.
fn sentence(body: &Value) -> Option<String> {
    let data = &body["data"];
    let texts = [
        &data["action_details"],
        &body["text"],
        &body["embeds"][0]["description"],
        &body["attachments"][0]["content"]["body"][1]["inlines"][0]["text"],
        &data["link"],
        &data["action_id"],
    ];
    let text = texts.iter().find_map(|text| text.as_str());
    let summary = || {
        let lines = data["summary"].as_array()?.iter().map(Value::as_str);
        Some(lines.collect::<Option<Vec<_>>>()?.join(", "))
    };
    let found = text.map(str::to_owned).or_else(summary)?;
    Some(printable(&found, SENTENCE_MAX))
}

/// On one line, and nothing in it that moves the terminal.
fn printable(text: &str, max: usize) -> String {
    let mut characters = text.chars();
    let shown = characters.by_ref().take(max);
    let mut shown: String = shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use serde_json::json;
    use webhook::{Digest, Format};

    fn notice(body: &[u8], verified: Result<(), VerifyError>) -> Notice {
        Notice {
            at: Timestamp::from_second(1_700_000_000).unwrap(),
            received: Received {
                headers: HeaderMap::new(),
                body: body.to_vec().into(),
                verified,
            },
            forwarded: None,
            answered: StatusCode::NO_CONTENT,
        }
    }

    #[test]
    fn a_notification_of_any_format_shows_its_sentence() {
        let sample = webhook::sample("deployment", Timestamp::UNIX_EPOCH);
        let sample = [sample.notification()];
        let digest = Digest { actions: &sample };
        for name in ["full", "cloudevents", "slack", "discord", "teams"] {
            let format = Format::new(name, None).unwrap();
            let line = notice(&format.render(&sample[0]).unwrap().body, Ok(())).line();
            assert!(line.contains("Deployed to fly.io"), "{name}: {line}");
            let line = notice(&format.render_digest(&digest).unwrap().body, Ok(())).line();
            assert!(line.contains("1 deployment"), "{name}: {line}");
        }
        let thin = Format::new("thin", None).unwrap();
        let line = notice(&thin.render(&sample[0]).unwrap().body, Ok(())).line();
        assert!(line.contains("deployment  sample_0"), "{line}");
    }

    #[test]
    fn a_line_says_whether_the_signature_is_good_and_why_not() {
        let body = br#"{"type":"t","data":{"action_details":"It is so"}}"#;
        let line = |verified| notice(body, verified).line();
        assert_eq!(line(Ok(())), "22:13:20  t  It is so  (verified)");
        assert_eq!(
            line(Err(VerifyError::NoSecret)),
            "22:13:20  t  It is so  (unverified)"
        );
        let missing = VerifyError::MissingHeader("webhook-id");
        assert_eq!(
            line(Err(missing)),
            "22:13:20  t  It is so  (NOT VERIFIED: the header webhook-id is missing)"
        );
    }

    #[test]
    fn nothing_in_a_line_moves_the_terminal_and_no_line_is_endless() {
        let line = notice(b"\x1b[2J\nno JSON\xff", Ok(())).line();
        assert_eq!(line, "22:13:20  -   [2J no JSON\u{FFFD}  (verified)");
        let long = json!({"type": "x".repeat(999), "text": "é".repeat(9999)}).to_string();
        assert!(notice(long.as_bytes(), Ok(())).line().chars().count() < 320);
    }

    #[test]
    fn json_holds_the_whole_notification() {
        let mut notice = notice(b"{\"a\":1}", Err(VerifyError::Mismatch));
        let shown: Value = serde_json::from_str(&notice.json()).unwrap();
        assert_eq!(shown["verified"], false);
        assert_eq!(shown["reason"], VerifyError::Mismatch.to_string());
        assert_eq!(shown["body"], json!({"a": 1}));
        notice.received.body = b"no JSON".to_vec().into();
        notice.forwarded = Some(Forwarded::Failed("refused".to_owned()));
        let shown: Value = serde_json::from_str(&notice.json()).unwrap();
        assert_eq!(shown["body"], "no JSON");
        assert_eq!(shown["forward_error"], "refused");
    }
}
