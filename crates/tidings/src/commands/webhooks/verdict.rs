use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;
use webhook::{TOLERANCE, VerificationKey, VerifyError, verify};

use super::captured::Captured;

/// Whether a request is one of ours, in words.
#[derive(Debug)]
pub enum Verdict {
    Genuine {
        text: String,
    },
    Refused {
        /// For machines: `missing_header`, `mismatch` and the like.
        reason: &'static str,
        text: String,
        /// What may have become of the request on its way into the file.
        hints: Vec<String>,
    },
}

/// Judges the request as a receiver whose clock says `at`.
pub fn judge(captured: &Captured, keys: &[VerificationKey], at: Timestamp) -> Verdict {
    match check(captured, keys, &captured.body, at) {
        Ok(()) => Verdict::Genuine {
            text: genuine(captured, keys, at),
        },
        Err(error) => Verdict::Refused {
            reason: reason(error),
            text: text(error, captured, keys, at),
            hints: hints(error, captured, keys, at),
        },
    }
}

fn check(
    captured: &Captured,
    keys: &[VerificationKey],
    body: &[u8],
    at: Timestamp,
) -> Result<(), VerifyError> {
    let [id, timestamp, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| captured.header(name));
    verify(keys, id, timestamp, signature, body, at)
}

fn genuine(captured: &Captured, keys: &[VerificationKey], at: Timestamp) -> String {
    let by = (1..)
        .zip(keys)
        .find(|(_, key)| check(captured, std::slice::from_ref(key), &captured.body, at).is_ok());
    let by =
        by.map(|(number, key)| format!(" by key {number} of {} ({})", keys.len(), key.version()));
    let replay = match captured.header("webhook-replay") {
        Some(replay) => format!(", as part of the replay {replay}"),
        None => String::new(),
    };
    format!(
        "ok: signed{}, {}{replay}",
        by.unwrap_or_default(),
        distance(captured, at)
    )
}

/// How far the request's time is from the receiver's clock.
fn distance(captured: &Captured, at: Timestamp) -> String {
    let sent = captured.header("webhook-timestamp").unwrap_or_default();
    match sent
        .parse::<i64>()
        .map(|sent| at.as_second().saturating_sub(sent))
    {
        Ok(seconds @ 0..) => format!("{seconds} s before the time of this check"),
        Ok(seconds) => format!("{} s after the time of this check", seconds.unsigned_abs()),
        Err(_) => String::new(),
    }
}

const fn reason(error: VerifyError) -> &'static str {
    match error {
        VerifyError::NoSecret => "no_secret",
        VerifyError::MissingHeader(_) => "missing_header",
        VerifyError::InvalidTimestamp => "invalid_timestamp",
        VerifyError::TimestampOff => "timestamp_off",
        VerifyError::OtherVersion => "other_version",
        VerifyError::Malformed => "malformed",
        VerifyError::Mismatch => "mismatch",
    }
}

fn text(
    error: VerifyError,
    captured: &Captured,
    keys: &[VerificationKey],
    at: Timestamp,
) -> String {
    match error {
        VerifyError::NoSecret
        | VerifyError::MissingHeader(_)
        | VerifyError::InvalidTimestamp
        | VerifyError::Malformed => error.to_string(),
        VerifyError::TimestampOff => format!(
            "webhook-timestamp is {}, and at most {} s are allowed either way",
            distance(captured, at),
            TOLERANCE.as_secs()
        ),
        VerifyError::OtherVersion => {
            let signature = captured.header("webhook-signature").unwrap_or_default();
            let entries = signature.split(' ').filter_map(|it| it.split_once(','));
            let found: Vec<&str> = entries.map(|(version, _)| version).collect();
            let wanted: Vec<&str> = keys.iter().map(|key| key.version().as_str()).collect();
            match found.as_slice() {
                [] => "webhook-signature is no list of entries like v1,… separated by spaces".to_owned(),
                found => format!(
                    "webhook-signature has entries of {}, and the keys are for {}",
                    found.join(", "),
                    wanted.join(", ")
                ),
            }
        }
        VerifyError::Mismatch => {
            "no signature matches: it was made with another key, or id, timestamp or body are not what \
             was signed"
                .to_owned()
        }
    }
}

fn hints(
    error: VerifyError,
    captured: &Captured,
    keys: &[VerificationKey],
    at: Timestamp,
) -> Vec<String> {
    let mut hints = Vec::new();
    match error {
        VerifyError::TimestampOff => {
            let sent = captured.header("webhook-timestamp").unwrap_or_default();
            hints.push(format!("to check it as of when it came: --at {sent}"));
        }
        VerifyError::Mismatch => {
            let length = captured
                .header("content-length")
                .and_then(|it| it.parse().ok());
            if let Some(length) = length.filter(|length: &usize| *length != captured.body.len()) {
                let bytes = captured.body.len();
                hints.push(format!(
                    "content-length says {length}, and the body has {bytes} bytes"
                ));
            }
            let would_do = |body: &[u8]| check(captured, keys, body, at).is_ok();
            let undone = alterations(&captured.body)
                .into_iter()
                .find(|(body, _)| would_do(body));
            hints.extend(undone.map(|(_, what)| format!("the body does verify {what}")));
        }
        VerifyError::NoSecret
        | VerifyError::MissingHeader(_)
        | VerifyError::InvalidTimestamp
        | VerifyError::OtherVersion
        | VerifyError::Malformed => {}
    }
    hints
}

/// What tools do to a body before it reaches a file, undone.
fn alterations(body: &[u8]) -> Vec<(Cow<'_, [u8]>, &'static str)> {
    let mut alterations = vec![(
        body.trim_ascii_end().into(),
        "without the blanks at its end: the file has a newline that was not sent",
    )];
    if let Ok(Value::Object(parsed)) = serde_json::from_slice(body) {
        let compact = Value::from(parsed).to_string().into_bytes();
        alterations.push((
            compact.into(),
            "as compact JSON: it was parsed and printed again, so take the raw bytes",
        ));
    }
    alterations
}

#[cfg(test)]
mod tests {
    use super::*;
    use webhook::{Key, sign};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const TIME: i64 = 1_614_265_330;
    const BODY: &str = r#"{"test":2432232314}"#;

    /// A genuine request with this signed body, in which `from` is replaced by `to`.
    fn request(signed: &str, from: &str, to: &str) -> Captured {
        let key: Key = SECRET.parse().unwrap();
        let signature = sign(&[key], "msg_1", TIME, signed.as_bytes());
        let text = format!(
            "POST / HTTP/1.1\r\ncontent-length: {}\r\nwebhook-id: msg_1\r\nwebhook-timestamp: {TIME}\r\n\
             webhook-signature: {signature}\r\n\r\n{signed}",
            signed.len()
        );
        Captured::whole(text.replace(from, to).as_bytes()).unwrap()
    }

    fn judged(captured: &Captured, keys: &[&str], off: i64) -> Verdict {
        let keys: Vec<VerificationKey> = keys.iter().map(|key| key.parse().unwrap()).collect();
        judge(captured, &keys, Timestamp::from_second(TIME + off).unwrap())
    }

    #[track_caller]
    fn refused(verdict: Verdict) -> (&'static str, String, Vec<String>) {
        match verdict {
            Verdict::Refused {
                reason,
                text,
                hints,
            } => (reason, text, hints),
            Verdict::Genuine { text } => panic!("{text}"),
        }
    }

    #[test]
    fn a_genuine_request_says_by_which_key_and_when() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let verdict = judged(&request(BODY, "", ""), &[other, SECRET], 12);
        let Verdict::Genuine { text } = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(
            text,
            "ok: signed by key 2 of 2 (v1), 12 s before the time of this check"
        );
    }

    #[test]
    fn each_fault_is_told_apart() {
        for (from, to, off, reason, says) in [
            (
                "webhook-id: msg_1\r\n",
                "",
                0,
                "missing_header",
                "webhook-id is missing",
            ),
            (
                "webhook-timestamp",
                "x",
                0,
                "missing_header",
                "webhook-timestamp is missing",
            ),
            (
                "webhook-signature",
                "x",
                0,
                "missing_header",
                "webhook-signature is missing",
            ),
            ("1614265330", "soon", 0, "invalid_timestamp", "unix seconds"),
            ("", "", 301, "timestamp_off", "is 301 s before"),
            ("", "", -302, "timestamp_off", "is 302 s after"),
            ("v1,", "v1,AAAA v2,", 0, "malformed", "cut short"),
            (
                "v1,",
                "v3,",
                0,
                "other_version",
                "entries of v3, and the keys are for v1",
            ),
            ("v1,", "", 0, "other_version", "no list of entries"),
            ("msg_1", "msg_2", 0, "mismatch", "no signature matches"),
            (
                "2432232314",
                "2432232315",
                0,
                "mismatch",
                "no signature matches",
            ),
        ] {
            let (found, text, _) = refused(judged(&request(BODY, from, to), &[SECRET], off));
            assert!(
                found == reason && text.contains(says),
                "{from} {to}: {found} {text}"
            );
        }
        let (found, text, _) = refused(judged(&request(BODY, "", ""), &[PUBLIC], 0));
        assert_eq!(found, "other_version");
        assert!(text.contains("the keys are for v1a"), "{text}");
    }

    #[test]
    fn an_old_capture_says_how_to_check_it() {
        let (_, _, hints) = refused(judged(&request(BODY, "", ""), &[SECRET], 9999));
        assert_eq!(hints, ["to check it as of when it came: --at 1614265330"]);
    }

    #[test]
    fn what_a_tool_did_to_the_body_is_found_out() {
        let (_, _, hints) = refused(judged(&request(BODY, "314}", "314}\n"), &[SECRET], 0));
        assert_eq!(hints.len(), 2, "{hints:?}");
        assert!(hints[0].contains("content-length says 19, and the body has 20 bytes"));
        assert!(hints[1].contains("newline that was not sent"), "{hints:?}");
        let (_, _, hints) = refused(judged(&request(BODY, ":243", ": 243"), &[SECRET], 0));
        assert!(hints[1].contains("compact JSON"), "{hints:?}");
    }

    #[test]
    fn a_replay_is_told() {
        let captured = request(BODY, "webhook-id", "webhook-replay: rp_1\r\nwebhook-id");
        let verdict = judged(&captured, &[SECRET], 0);
        assert!(matches!(verdict, Verdict::Genuine { text } if text.ends_with("the replay rp_1")));
    }
}
