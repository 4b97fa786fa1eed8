use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::attempts::{self, Attempt};
use store::endpoints::{self, Standing, StoredEndpoint};

use super::described::{credentials, described, wishes};
use super::find;
use crate::Failure;
use crate::commands::{attempt_log, set_up_session};
use crate::settings::Settings;
use crate::timetable::timetable;

/// Attempts that are shown.
const ATTEMPTS: i64 = 5;

pub async fn show(settings: &Settings, endpoint: &str, as_json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let stored = find(&session, endpoint).await?;
    let standing = endpoints::standing(&session, &stored.id).await?;
    let attempts = attempts::newest(&session, &stored.id, ATTEMPTS).await?;
    // None where somebody removed it this moment.
    let Some(standing) = standing else {
        return Err(super::changed_meanwhile(&stored.name));
    };
    let opened = settings
        .webhooks
        .vault()
        .open(&stored.credentials, &stored.id);
    let opened = match &opened {
        Ok(opened) => credentials(opened),
        Err(error) => json!({"error": error.to_string()}),
    };
    let shown = Shown {
        disabled_at: disabled_at(settings, &stored),
        schedule: timetable(&settings.webhooks.retry_schedule),
        credentials: opened,
        stored,
        standing,
        attempts,
    };
    match as_json {
        true => println!("{:#}", shown.json()),
        false => print!("{}", shown.text()),
    }
    Ok(())
}

/// When it is disabled if it goes on failing.
fn disabled_at(settings: &Settings, stored: &StoredEndpoint) -> Option<Timestamp> {
    let span = SignedDuration::try_from(settings.webhooks.disable_after?).ok()?;
    stored.failing_since?.checked_add(span).ok()
}

struct Shown {
    stored: StoredEndpoint,
    standing: Standing,
    attempts: Vec<Attempt>,
    credentials: Value,
    schedule: String,
    disabled_at: Option<Timestamp>,
}

impl Shown {
    fn json(&self) -> Value {
        let mut told = described(&self.stored);
        let standing = &self.standing;
        told["disabled_at"] = json!(self.disabled_at.map(|at| at.to_string()));
        told["credentials"] = self.credentials.clone();
        told["schedule"] = self.schedule.as_str().into();
        told["position"] = json!(standing.position);
        told["behind"] = standing.behind().into();
        told["parked"] = standing.parked.into();
        told["dead"] = standing.dead.into();
        told["next_due"] = json!(standing.next_due.map(|due| due.to_string()));
        told["held_projects"] = standing.held.into();
        told["replays"] = standing.replays.into();
        told["attempts"] = self.attempts.iter().map(attempt_log::described).collect();
        told
    }

    fn text(&self) -> String {
        let (stored, standing) = (&self.stored, &self.standing);
        let mut lines: Vec<(&str, String)> = vec![
            ("name", format!("{} ({})", stored.name, stored.id)),
            ("url", stored.url.clone()),
            ("declared by", stored.origin.as_str().to_owned()),
        ];
        let reason = stored
            .state_reason
            .as_ref()
            .map(|reason| format!(": {reason}"));
        let state = stored.state.as_str();
        lines.push(("state", format!("{state}{}", reason.unwrap_or_default())));
        if let Some(since) = stored.failing_since {
            let end = self
                .disabled_at
                .map(|at| format!("; disabled at {at} if it goes on"));
            lines.push((
                "failing",
                format!("since {since}{}", end.unwrap_or_default()),
            ));
        }
        lines.extend(wishes(stored));
        lines.extend(credential_lines(&self.credentials));
        lines.push((
            "position",
            format!("seq {}, {} behind", standing.position, standing.behind()),
        ));
        let due = standing
            .next_due
            .map(|due| format!(", the next attempt at {due}"));
        lines.push((
            "waiting",
            format!(
                "{} parked{}, {} dead",
                standing.parked,
                due.unwrap_or_default(),
                standing.dead
            ),
        ));
        if standing.held > 0 {
            lines.push((
                "held",
                format!("{} projects wait for a failing delivery", standing.held),
            ));
        }
        if standing.replays > 0 {
            lines.push(("replays", format!("{} under way", standing.replays)));
        }
        lines.push(("schedule", self.schedule.clone()));
        let lines: Vec<String> = lines
            .iter()
            .map(|(word, value)| format!("{word:<14}{value}\n"))
            .collect();
        let mut text = lines.concat();
        for attempt in &self.attempts {
            text += &format!("seq {:<10} {}\n", attempt.seq, attempt_log::lines(attempt));
        }
        text
    }
}

fn credential_lines(credentials: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if credentials["error"].is_string() {
        return vec![("keys", text(&credentials["error"]))];
    }
    let mut lines = Vec::new();
    for key in credentials["keys"].as_array().into_iter().flatten() {
        let mut line = text(&key["version"]);
        if key["public_key"].is_string() {
            line += &format!(" {}", text(&key["public_key"]));
        }
        if key["expires_at"].is_string() {
            line += &format!(" until {}", text(&key["expires_at"]));
        }
        lines.push(("key", line));
    }
    let headers: Vec<String> = credentials["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    if !headers.is_empty() {
        lines.push(("headers", headers.join(", ")));
    }
    if credentials["authorization"].is_string() {
        lines.push(("authorization", text(&credentials["authorization"])));
    }
    if credentials["client_certificate"] == true {
        lines.push((
            "certificate",
            "a client certificate is shown in TLS".to_owned(),
        ));
    }
    lines
}
