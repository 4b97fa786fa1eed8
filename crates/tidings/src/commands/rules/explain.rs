use rules::{Rules, outline};
use serde_json::{Value, json};
use store::explanation::{self, Delivery, Explanation};
use store::{Purpose, Session};

use super::super::set_up_session;
use crate::settings::Settings;
use crate::{Failure, packs};

/// Where an action came from and what became of it, from what is stored.
pub async fn explain(settings: &Settings, id: &str, json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let Some(found) = explanation::explanation(&session, id).await? else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "there is no action {id} in the log: it was never made, or retention has dropped it"
        )));
    };
    let told = Told {
        in_table: in_table(settings, &found).await,
        deliveries: explanation::deliveries(&session, found.seq).await?,
        force: in_force(settings, &found.rule),
        found,
    };
    if json {
        println!("{:#}", told.json());
    } else {
        print!("{}", told.text(&settings.capture.actions_table.to_string()));
    }
    Ok(())
}

/// The rule as the settings have it now.
struct InForce {
    version: String,
    origin: String,
    line: usize,
    when: Option<String>,
}

struct Told {
    found: Explanation,
    /// `None`: nobody here may read the table.
    in_table: Option<bool>,
    deliveries: Vec<Delivery>,
    force: Option<InForce>,
}

fn in_force(settings: &Settings, id: &str) -> Option<InForce> {
    let rules: Rules = packs::load(settings).ok()?;
    let version = rules
        .rules()
        .find(|rule| rule.name == id)?
        .version
        .to_owned();
    let outline = outline(rules.sources())
        .into_iter()
        .find(|rule| rule.id == id)?;
    Some(InForce {
        version,
        origin: outline.origin,
        line: outline.line,
        when: outline.when,
    })
}

/// The run role may insert and not read, so the owner is asked.
async fn in_table(settings: &Settings, found: &Explanation) -> Option<bool> {
    let admin = settings.database.admin().ok()?;
    let session = Session::open(&admin, &settings.database.schema, Purpose::Admin)
        .await
        .ok()?;
    let table = &settings.capture.actions_table;
    explanation::is_in_table(&session, table, &found.action_id)
        .await
        .ok()
        .flatten()
}

impl Told {
    fn same_version(&self) -> Option<bool> {
        self.force
            .as_ref()
            .map(|force| force.version == self.found.rule_version)
    }

    fn json(&self) -> Value {
        let found = &self.found;
        let deliveries = self.deliveries.iter().map(|delivery| {
            json!({
                "endpoint": delivery.endpoint, "state": delivery.state(), "attempts": delivery.attempts,
                "status": delivery.status, "attempted_at": delivery.attempted_at.map(|at| at.to_string()),
                "due_at": delivery.due_at.map(|at| at.to_string()), "error": delivery.error,
            })
        });
        let force = self.force.as_ref();
        json!({
            "action_id": found.action_id, "seq": found.seq, "action": found.columns,
            "rule": found.rule, "rule_version": found.rule_version,
            "in_force": force.map(|force| json!({
                "file": force.origin, "line": force.line, "version": force.version,
                "same": force.version == found.rule_version, "when": force.when,
            })),
            "origin": found.origin, "event": found.event, "changed": found.changed,
            "table": found.table, "key": key(&found.key), "xid": found.xid,
            "commit_lsn": found.commit_lsn, "change_lsn": found.change_lsn,
            "committed_at": found.committed_at.to_string(), "recorded_at": found.recorded_at.to_string(),
            "actor": found.actor, "actor_found": found.actor_found, "data": found.data,
            "in_table": self.in_table, "refused": found.refused,
            "deliveries": deliveries.collect::<Vec<_>>(),
        })
    }

    fn text(&self, table: &str) -> String {
        let found = &self.found;
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("{name:<12}{value}\n");
        line("action", format!("{} (seq {})", found.action_id, found.seq));
        for name in [
            "action_type",
            "action_details",
            "status",
            "environment",
            "project_id",
            "user_id",
        ] {
            match &found.columns[name] {
                Value::Null => {}
                Value::String(value) => line(short(name), value.clone()),
                other => line(short(name), other.to_string()),
            }
        }
        line(
            "rule",
            format!("{}, version {}", found.rule, found.rule_version),
        );
        line("", self.version());
        if let Some(when) = self.force.as_ref().and_then(|force| force.when.as_ref()) {
            let when: Vec<&str> = when.lines().map(str::trim).collect();
            line("when", when.join(" "));
        }
        line("because", self.because());
        line("table", format!("{} {}", found.table, found.key));
        let position = format!(
            "commit {}, change {}, xid {}",
            found.commit_lsn, found.change_lsn, found.xid
        );
        line("position", position);
        line(
            "committed",
            format!("{}, recorded {}", found.committed_at, found.recorded_at),
        );
        line("origin", found.origin.clone());
        line(
            "actor",
            match (&found.actor, &found.actor_found) {
                (Some(actor), Some(by)) => format!("{actor}, found by {}", found_by(by)),
                _ => "not known".to_owned(),
            },
        );
        if found.data.as_object().is_some_and(|data| !data.is_empty()) {
            line("data", found.data.to_string());
        }
        line(
            "written",
            match (&found.refused, self.in_table) {
                (Some(reason), _) => format!("refused by {table}, in quarantine: {reason}"),
                (None, Some(true)) => format!("in {table}"),
                (None, Some(false)) => format!("not in {table} any more: somebody deleted it"),
                (None, None) => {
                    format!("{table} took it; whether it is still there, this role may not read")
                }
            },
        );
        if self.deliveries.is_empty() {
            line("deliveries", "there are no endpoints".to_owned());
        }
        for delivery in &self.deliveries {
            line("delivery", described(delivery));
        }
        text
    }

    fn version(&self) -> String {
        let same = self.same_version();
        match (&self.force, same) {
            (None, _) => "no rule of that name is in force now".to_owned(),
            (Some(force), Some(true)) => {
                format!("as in force: {}, line {}", force.origin, force.line)
            }
            (Some(force), _) => format!(
                "the pack has changed since: {}, line {}, is version {}; what follows is its text of now",
                force.origin, force.line, force.version
            ),
        }
    }

    fn because(&self) -> String {
        let found = &self.found;
        match (found.event.as_str(), found.changed.as_slice()) {
            ("update", []) => "the row was updated".to_owned(),
            ("update", changed) => format!("the row was updated: {} changed", changed.join(", ")),
            ("insert", _) => "the row was inserted".to_owned(),
            ("delete", _) => "the row was deleted".to_owned(),
            ("truncate", _) => "the table was truncated".to_owned(),
            (other, _) => format!("of a {other}"),
        }
    }
}

fn short(column: &str) -> &str {
    match column {
        "action_type" => "type",
        "action_details" => "details",
        "project_id" => "project",
        "user_id" => "user",
        other => other,
    }
}

fn found_by(found: &str) -> &str {
    match found {
        "message" => "the transaction's message",
        "row" => "a column of the row",
        "lookup" => "a lookup",
        other => other,
    }
}

/// The key's columns, or the text where it is too long for that.
fn key(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn described(delivery: &Delivery) -> String {
    let times = match delivery.attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let error = delivery
        .error
        .as_ref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    let status = delivery
        .status
        .map(|status| format!(", HTTP {status}"))
        .unwrap_or_default();
    let name = &delivery.endpoint;
    match delivery.state() {
        "passed" => format!("{name}: never sent: its filter refused it, or it was added later"),
        "waiting" => format!("{name}: waiting to be sent"),
        "disabled" => format!("{name}: not sent, the endpoint is disabled"),
        "parked" => {
            let due = delivery
                .due_at
                .map(|due| format!(", next try at {due}"))
                .unwrap_or_default();
            format!("{name}: parked after {times}{due}{error}")
        }
        state => format!("{name}: {state}{status}, {times}{error}"),
    }
}
