use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};
use store::quarantine::{self, Entry, Kind, Outcome, Selection};
use store::{Session, status};

use super::set_up_session;
use crate::Failure;
use crate::cli::{Quarantine, Quarantined};
use crate::settings::Settings;

/// Rows that `list` shows at most.
const LISTED_MAX: i64 = 1000;
/// How often the answer of the sidecar is looked for.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// How long a sidecar that went away may take to come back while somebody waits for it.
const ABSENCE_MAX: Duration = Duration::from_secs(30);

pub async fn quarantine(settings: &Settings, arguments: &Quarantine) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    match arguments {
        Quarantine::List { json } => list(&session, *json).await,
        Quarantine::Show { id, json } => show(&session, *id, *json).await,
        Quarantine::Retry { which, json } => retry(session, which, *json).await,
        Quarantine::Discard { which } => discard(&session, which).await,
    }
}

fn selection(which: &Quarantined) -> Selection {
    Selection {
        ids: which.ids.clone(),
        rule: which.rule.clone(),
    }
}

async fn list(session: &Session, as_json: bool) -> Result<(), Failure> {
    let entries = quarantine::list(session, LISTED_MAX).await?;
    if as_json {
        let list: Vec<Value> = entries.iter().map(described).collect();
        println!("{:#}", Value::from(list));
        return Ok(());
    }
    if entries.is_empty() {
        println!("nothing is in quarantine");
    }
    for entry in &entries {
        let rule = entry.rule.as_deref().unwrap_or("every rule");
        let key = entry.key.as_ref().map_or("no key", |key| key.as_str());
        println!("{:<8} {rule}  {} {key}", entry.id, entry.table);
        println!("{:<8} {}", "", entry.reason);
    }
    let total = status::quarantined(session).await?;
    if total > LISTED_MAX {
        println!("and {} more", total - LISTED_MAX);
    }
    Ok(())
}

/// The row with the values that were kept of it: this is the one place that shows them.
async fn show(session: &Session, id: i64, as_json: bool) -> Result<(), Failure> {
    let Some(entry) = quarantine::find(session, id).await? else {
        return Err(missing(id));
    };
    let mut told = described(&entry);
    if let Some(kept) = &entry.change {
        let row = |json: &Option<String>| match json {
            Some(json) => serde_json::from_str::<Value>(json).unwrap_or_default(),
            None => Value::Null,
        };
        told["event"] = kept.event.as_str().into();
        told["committed_at"] = kept.committed_at.to_string().into();
        told["old"] = row(&kept.old);
        told["new"] = row(&kept.new);
    }
    if as_json {
        println!("{told:#}");
        return Ok(());
    }
    for (name, value) in told.as_object().into_iter().flatten() {
        match value {
            Value::Object(columns) => {
                println!("{name}");
                for (column, value) in columns {
                    println!("  {column:<16} {}", plain(value));
                }
            }
            value => println!("{name:<16} {}", plain(value)),
        }
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Marks, and follows until the sidecar has worked everything off.
async fn retry(mut session: Session, which: &Quarantined, as_json: bool) -> Result<(), Failure> {
    await_sidecar(&session, Duration::ZERO).await?;
    let ids = quarantine::request(&mut session, &selection(which)).await?;
    none_missing(&session, which, &ids).await?;
    if ids.is_empty() && !as_json {
        println!("nothing to retry");
        return Ok(());
    }
    let mut waiting: BTreeSet<i64> = ids.iter().copied().collect();
    let (mut told, mut failed) = (Vec::new(), 0);
    while !waiting.is_empty() {
        let left: Vec<i64> = waiting.iter().copied().collect();
        // First, so that what is worked off between the two questions is not taken for discarded.
        let discarded = quarantine::discarded(&session, &left).await?;
        let mut news = quarantine::outcomes(&session, &left).await?;
        news.sort_by_key(|(id, _)| ids.iter().position(|known| known == id));
        for (id, outcome) in news {
            waiting.remove(&id);
            failed += usize::from(matches!(outcome, Outcome::Failed(_)));
            match as_json {
                true => told.push(outcome_json(id, &outcome)),
                false => println!("{id:<8} {}", outcome_text(&outcome)),
            }
        }
        for id in discarded {
            if waiting.remove(&id) && !as_json {
                println!("{id:<8} discarded meanwhile");
            }
        }
        if !waiting.is_empty() {
            await_sidecar(&session, ABSENCE_MAX).await?;
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }
    if as_json {
        println!("{:#}", Value::from(told));
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow!(
            "1 change failed again and stays in quarantine"
        ))),
        failed => Err(Failure::Failed(anyhow!(
            "{failed} changes failed again and stay in quarantine"
        ))),
    }
}

/// Somebody must capture, or nothing is worked off.
async fn await_sidecar(session: &Session, patience: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let capture = status::capture(session).await?;
        if capture
            .as_ref()
            .is_some_and(|capture| capture.reader.is_some())
        {
            return Ok(());
        }
        if began.elapsed() < patience {
            tokio::time::sleep(LOOK_PERIOD).await;
            continue;
        }
        let reason = capture.and_then(|capture| capture.stop_reason);
        let waits = match patience.is_zero() {
            true => "",
            false => ". What was asked for is kept, and is worked off once it runs",
        };
        return Err(Failure::NotReady(match reason {
            None => format!(
                "no `tidings run` reads the stream, and only it can work the quarantine off: start \
                 it{waits}"
            ),
            Some(reason) => format!(
                "capture is stopped, and only it can work the quarantine off: {reason}{waits}"
            ),
        }));
    }
}

async fn discard(session: &Session, which: &Quarantined) -> Result<(), Failure> {
    if which.ids.is_empty() && which.rule.is_none() && !which.all {
        return Err(Failure::Settings(anyhow!(
            "name what is to be given up: numbers, --rule NAME or --all"
        )));
    }
    none_missing(session, which, &[]).await?;
    let count = quarantine::discard(session, &selection(which)).await?;
    println!("{count} discarded");
    Ok(())
}

/// An id that is given and not there is a mistake, not nothing to do.
async fn none_missing(
    session: &Session,
    which: &Quarantined,
    found: &[i64],
) -> Result<(), Failure> {
    for id in &which.ids {
        if !found.contains(id) && quarantine::find(session, *id).await?.is_none() {
            return Err(missing(*id));
        }
    }
    Ok(())
}

fn missing(id: i64) -> Failure {
    Failure::Failed(anyhow!(
        "nothing with number {id} is in quarantine: `tidings quarantine list` shows what is"
    ))
}

fn described(entry: &Entry) -> Value {
    let (kind, seq) = match entry.kind {
        Kind::Rule => ("rule", None),
        Kind::Refused { seq } => ("refused", Some(seq)),
    };
    json!({
        "id": entry.id,
        "quarantined_at": entry.quarantined_at.to_string(),
        "kind": kind,
        "rule": entry.rule,
        "table": entry.table,
        "key": entry.key.as_ref().map(activity::Key::as_str),
        "seq": seq,
        "commit_lsn": entry.commit_lsn,
        "reason": entry.reason,
        "retries": entry.retries,
        "requested": entry.requested,
    })
}

fn outcome_json(id: i64, outcome: &Outcome) -> Value {
    let reason = match outcome {
        Outcome::Failed(reason) => Some(reason.as_str()),
        Outcome::Written(_) | Outcome::Silent => None,
    };
    json!({
        "id": id, "outcome": outcome.as_str(), "actions": outcome.actions(), "reason": reason,
    })
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written(1) => "written: 1 action".to_owned(),
        Outcome::Written(actions) => format!("written: {actions} actions"),
        Outcome::Silent => "silent: its rules have nothing to say of it now".to_owned(),
        Outcome::Failed(reason) => format!("failed again: {reason}"),
    }
}
