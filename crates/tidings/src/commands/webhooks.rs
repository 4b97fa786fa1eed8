//! `tidings webhooks verify`: whether a captured request is one of ours, without a database.

mod captured;
mod verdict;

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use serde_json::json;
use webhook::VerificationKey;

use crate::Failure;
use crate::cli::{VerifyWebhook, Webhooks};
use captured::Captured;
use verdict::{Verdict, judge};

/// The longest file that is read, in bytes: far more than a notification has.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub fn webhooks(arguments: &Webhooks) -> Result<(), Failure> {
    match arguments {
        Webhooks::Verify(arguments) => verify(arguments),
    }
}

fn verify(arguments: &VerifyWebhook) -> Result<(), Failure> {
    let keys = keys(&arguments.secret).map_err(Failure::Settings)?;
    let captured = captured(arguments).map_err(Failure::Settings)?;
    let at = match arguments.at {
        Some(seconds) => Timestamp::from_second(seconds)
            .context("--at is no time")
            .map_err(Failure::Settings)?,
        None => Timestamp::now(),
    };
    let verdict = judge(&captured, &keys, at);
    if arguments.json {
        println!("{:#}", described(&verdict, &captured, at));
    }
    match verdict {
        Verdict::Genuine { text } => {
            if !arguments.json {
                println!("{text}");
            }
            Ok(())
        }
        Verdict::Refused { text, hints, .. } => {
            let lines: Vec<String> = std::iter::once(text).chain(hints).collect();
            Err(Failure::Failed(anyhow!(lines.join("\n"))))
        }
    }
}

fn described(verdict: &Verdict, captured: &Captured, at: Timestamp) -> serde_json::Value {
    let (reason, text, hints) = match verdict {
        Verdict::Genuine { text } => (None, text, [].as_slice()),
        Verdict::Refused {
            reason,
            text,
            hints,
        } => (Some(reason), text, hints.as_slice()),
    };
    json!({
        "verified": reason.is_none(),
        "reason": reason,
        "text": text,
        "hints": hints,
        "at": at.as_second(),
        "webhook_id": captured.header("webhook-id"),
        "webhook_timestamp": captured.header("webhook-timestamp"),
        "webhook_replay": captured.header("webhook-replay"),
        "body_bytes": captured.body.len(),
    })
}

fn keys(texts: &[String]) -> anyhow::Result<Vec<VerificationKey>> {
    let keys = texts.iter().zip(1..).map(|(text, number)| {
        let key = text.trim().parse();
        key.with_context(|| format!("--secret, number {number}"))
    });
    keys.collect()
}

fn captured(arguments: &VerifyWebhook) -> anyhow::Result<Captured> {
    if let Some(file) = &arguments.request {
        return Captured::whole(&read(file)?).with_context(|| file.display().to_string());
    }
    let (headers, body) = (arguments.headers.as_deref(), arguments.body.as_deref());
    let standard_input = Some(Path::new("-"));
    if headers == standard_input && body == standard_input {
        bail!("--headers and --body can't both be standard input: write one to a file");
    }
    let mut lines = match headers {
        Some(file) => read(file)?,
        None => Vec::new(),
    };
    for header in &arguments.header {
        lines.push(b'\n');
        lines.extend_from_slice(header.as_bytes());
    }
    let body = match body {
        Some(file) => read(file)?,
        None => Vec::new(),
    };
    Captured::parts(&lines, body)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || file.display().to_string();
    let opened: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(name)?)
    };
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(name)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is longer than 16 MiB, which no notification is", name());
    }
    Ok(bytes)
}
