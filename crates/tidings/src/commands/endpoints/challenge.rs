//! Whether who answers at a URL wants it: a challenge, and its echo.

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use webhook::{Attempt, Endpoint, Filter, Format, Key, Outcome, Payload, SignatureVersion};

use super::draft::Draft;
use super::send::send;
use crate::Failure;
use crate::settings::Settings;

/// Sends a signed challenge; without its echo in a 2xx nothing may be added.
pub async fn pass(settings: &Settings, id: &str, name: &str, draft: &Draft) -> Result<(), Failure> {
    let endpoint = Endpoint {
        id: id.to_owned(),
        name: name.to_owned(),
        url: draft
            .url
            .parse()
            .map_err(|error: webhook::Error| Failure::Settings(error.into()))?,
        credentials: draft.credentials.clone(),
        filter: Filter::default(),
        format: Format::default(),
    };
    let challenge = random().map_err(Failure::Failed)?;
    let now = Timestamp::now();
    let body = json!({
        "type": "endpoint_verification", "timestamp": now.to_string(), "challenge": challenge,
    });
    let payload = Payload {
        body: body.to_string().into(),
        content_type: "application/json",
    };
    let id = format!("verify_{challenge}");
    let attempt = send(settings, &endpoint, &id, now, payload).await?;
    judge(&attempt, &challenge)
        .with_context(|| format!("endpoint {name} is not verified, and nothing is changed"))
        .map_err(Failure::Failed)
}

/// As unguessable as a signing key: the end of one.
fn random() -> anyhow::Result<String> {
    let key = Key::generate(SignatureVersion::V1)?.expose();
    Ok(key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .skip(5)
        .take(32)
        .collect())
}

fn judge(attempt: &Attempt, challenge: &str) -> anyhow::Result<()> {
    match &attempt.outcome {
        Outcome::Failed { kind, detail } => Err(anyhow!("{kind}: {detail}")),
        Outcome::Answered {
            status: 200..=299,
            excerpt,
            ..
        } => match echoes(excerpt, challenge) {
            true => Ok(()),
            false => bail!(
                "it answered without the challenge: the body must be {{\"challenge\": …}} with what was \
                 sent, or that text alone"
            ),
        },
        Outcome::Answered { status, .. } => {
            bail!("it answered {status}: a 2xx with the challenge in its body is expected")
        }
    }
}

/// Whether an answer begins with the challenge's echo: as JSON, or as a text.
fn echoes(answer: &str, challenge: &str) -> bool {
    let answer = answer.trim();
    let json: Option<Value> = serde_json::from_str(answer).ok();
    let echoed = match &json {
        Some(Value::Object(object)) => object.get("challenge").and_then(Value::as_str),
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) | None => Some(answer),
    };
    echoed == Some(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_json_or_the_text_itself() {
        for answer in [
            "abc",
            " abc\n",
            "\"abc\"",
            "{\"challenge\": \"abc\", \"more\": 1}",
        ] {
            assert!(echoes(answer, "abc"), "{answer}");
        }
        for answer in [
            "",
            "ok",
            "abcd",
            "{\"challenge\": \"ab\"}",
            "{}",
            "[\"abc\"]",
            "1",
        ] {
            assert!(!echoes(answer, "abc"), "{answer}");
        }
    }

    #[test]
    fn a_challenge_can_not_be_guessed_from_the_one_before() {
        let (a, b) = (random().unwrap(), random().unwrap());
        assert_ne!(a, b);
        assert!(
            a.len() >= 24 && a.chars().all(|c| c.is_ascii_alphanumeric()),
            "{a}"
        );
    }
}
