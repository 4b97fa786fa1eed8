use api::standing::State;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Session, catalog, gaps, status};

use super::{rule_states, set_up_session};
use crate::Failure;
use crate::capture::budget::{WARN, percent, size};
use crate::cli::Status;
use crate::settings::Settings;
use crate::standing::of_slot;

pub async fn status(settings: &Settings, arguments: &Status) -> Result<(), Failure> {
    let told = match gather(settings).await {
        Ok(told) => told,
        Err(failure) => {
            if arguments.json {
                println!("{:#}", unknown(&failure));
            }
            return Err(failure);
        }
    };
    if arguments.json {
        println!("{told:#}");
    } else {
        print!("{}", human(&told));
    }
    Ok(())
}

/// What is told where the database can not be asked: nothing can be captured from it either.
fn unknown(failure: &Failure) -> Value {
    json!({"state": State::Stopped, "moves": false, "reason": failure.to_string()})
}

/// Everything `status` tells, in the shape of `--json`.
pub(super) async fn gather(settings: &Settings) -> Result<Value, Failure> {
    let session = set_up_session(settings).await?;
    let Some(capture) = status::capture(&session).await? else {
        return Err(Failure::NotReady(
            "the sidecar has never been set up here: run `tidings setup`".to_owned(),
        ));
    };
    let slot = catalog::slot(&session, &settings.capture.slot).await?;
    let deliveries = status::deliveries(&session).await?;
    let endpoints = status::endpoints(&session).await?;
    let disabled = endpoints.disabled.iter();
    let disabled: Vec<Value> = disabled
        .map(|(name, reason)| json!({"name": name, "reason": reason}))
        .collect();
    let silent = capture.reader.and_then(|reader| reader.silent);
    let standing = of_slot(&settings.capture, &capture);
    let rules = rule_states::gather(settings, &session).await?;
    let budget = settings.capture.max_retained_wal.map(|size| size.as_u64());
    let percent = slot
        .as_ref()
        .zip(budget)
        .map(|(slot, budget)| percent(slot, budget));
    let gap = gaps::newest(&session).await?.map(|gap| {
        json!({
            "reason": gap.reason, "from_lsn": gap.from, "until_lsn": gap.until,
            "noticed_at": gap.noticed_at, "rebuilt_at": gap.rebuilt_at,
        })
    });
    Ok(json!({
        "state": standing.state,
        "moves": standing.moves,
        "reason": standing.reason,
        "standbys": capture.standbys,
        "slot": {
            "name": settings.capture.slot,
            "wal_status": slot.as_ref().and_then(|s| s.wal_status.clone()),
            "lag_bytes": slot.as_ref().map(|s| s.lag_bytes),
            "lag_seconds": capture.lag_seconds,
            "silent_seconds": silent.map(|silent| silent.as_secs_f64()),
            "retained_bytes": slot.as_ref().map(|s| s.retained_bytes),
            "safe_bytes": slot.as_ref().and_then(|s| s.safe_bytes),
            "budget_bytes": budget,
            "budget_percent": percent,
        },
        "gap": gap,
        "progress": {
            "commit_lsn": capture.commit_lsn, "end_lsn": capture.end_lsn, "seq": capture.seq,
        },
        "actions": capture.seq,
        "deliveries": {
            "delivered": deliveries.delivered, "parked": deliveries.parked,
            "behind": deliveries.behind, "dead": deliveries.dead,
        },
        "endpoints": {
            "enabled": endpoints.enabled, "paused": endpoints.paused, "disabled": disabled,
        },
        "quarantine": status::quarantined(&session).await?,
        "reconcile": reconcile(&session).await?,
        "rules": rules,
        "rules_error": capture.rules_error,
    }))
}

/// What is or was compared with its images, and what that waits for.
async fn reconcile(session: &Session) -> Result<Vec<Value>, Failure> {
    let standings = store::reconcile::standings(session).await?;
    let open = match standings.iter().any(|standing| standing.waits) {
        true => catalog::open_transactions(session).await?,
        false => Vec::new(),
    };
    let open: Vec<String> = open.iter().map(super::describe).collect();
    let told = |standing: store::reconcile::Standing| {
        let open = Some(open.join(", ")).filter(|open| standing.waits && !open.is_empty());
        json!({
            "table": standing.table.to_string(), "purpose": standing.purpose.as_str(),
            "state": standing.state, "rows_done": standing.rows_done,
            "estimated_rows": standing.estimated_rows, "actions": standing.actions,
            "waiting_for": standing.trouble.or(open),
        })
    };
    Ok(standings.into_iter().map(told).collect())
}

/// What the slot keeps back, and of how much.
fn retained(slot: &Value) -> String {
    let Some(bytes) = slot["retained_bytes"].as_i64() else {
        return String::new();
    };
    let kept = size(bytes);
    match (
        slot["budget_bytes"].as_i64(),
        slot["budget_percent"].as_u64(),
    ) {
        (Some(budget), Some(percent)) => {
            let warning = match percent {
                ..WARN => "",
                _ => ": capture does not keep up, and at 100 % the slot is given up",
            };
            let budget = size(budget);
            format!("            keeps back {kept} of {budget} of WAL ({percent} %){warning}\n")
        }
        _ => format!("            keeps back {kept} of WAL\n"),
    }
}

/// The newest gap: open, or how long it was.
fn unobserved(gap: &Value) -> String {
    if gap.is_null() {
        return String::new();
    }
    let of = |name: &str| gap[name].as_str().unwrap_or("-");
    let (noticed, reason, from) = (of("noticed_at"), of("reason"), of("from_lsn"));
    let moment = |name: &str| of(name).parse::<Timestamp>().ok();
    match (moment("noticed_at"), moment("rebuilt_at")) {
        (Some(began), Some(ended)) => {
            let seconds = ended.duration_since(began).as_secs().max(0);
            let length = match seconds {
                ..120 => format!("{seconds} s"),
                _ => format!("{} min", seconds / 60),
            };
            format!(
                "gap         not observed from {noticed} to {ended}, {length}: {reason}\n            closed at {}, \
                 from {from} on; tables were asked to be compared\n",
                of("until_lsn")
            )
        }
        _ => format!(
            "gap         not observed since {noticed}: {reason}\n            from {from} on, until there is a new \
             slot\n"
        ),
    }
}

fn human(told: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let still = match (told["state"].as_str(), told["moves"].as_bool()) {
        (Some("active"), Some(false)) => ", and does not get on",
        _ => "",
    };
    let mut lines = format!("capture     {}{still}\n", text(&told["state"]));
    if !told["reason"].is_null() {
        lines += &format!("            {}\n", text(&told["reason"]));
    }
    lines += &format!(
        "standbys    {} waiting to take over\n",
        text(&told["standbys"])
    );
    let (slot, deliveries) = (&told["slot"], &told["deliveries"]);
    lines += &format!(
        "slot        {} ({}), {} bytes behind\n",
        text(&slot["name"]),
        text(&slot["wal_status"]),
        text(&slot["lag_bytes"])
    );
    lines += &retained(slot);
    let gap = &told["gap"];
    lines += &unobserved(gap);
    lines += &format!(
        "progress    {} (actions: {})\n",
        text(&told["progress"]["end_lsn"]),
        text(&told["actions"])
    );
    lines += &format!(
        "deliveries  {} delivered, {} parked, {} behind, {} dead\n",
        text(&deliveries["delivered"]),
        text(&deliveries["parked"]),
        text(&deliveries["behind"]),
        text(&deliveries["dead"])
    );
    let endpoints = &told["endpoints"];
    let disabled = endpoints["disabled"].as_array();
    lines += &format!(
        "endpoints   {} enabled, {} paused, {} disabled\n",
        text(&endpoints["enabled"]),
        text(&endpoints["paused"]),
        disabled.map_or(0, Vec::len)
    );
    for endpoint in disabled.into_iter().flatten() {
        lines += &format!(
            "            {} is disabled: {}\n",
            text(&endpoint["name"]),
            text(&endpoint["reason"])
        );
    }
    lines += &format!("quarantine  {}\n", text(&told["quarantine"]));
    if !told["rules_error"].is_null() {
        lines += &format!(
            "rules       not those of the settings: {}\n",
            text(&told["rules_error"])
        );
    }
    for table in told["reconcile"].as_array().into_iter().flatten() {
        if table["state"] != "done" {
            lines += &format!(
                "{:<12}{} is {}: {} of about {} rows, {} actions\n",
                text(&table["purpose"]),
                text(&table["table"]),
                text(&table["state"]),
                text(&table["rows_done"]),
                text(&table["estimated_rows"]),
                text(&table["actions"])
            );
            if !table["waiting_for"].is_null() {
                lines += &format!("            waits for {}\n", text(&table["waiting_for"]));
            }
        }
    }
    for rule in told["rules"].as_array().into_iter().flatten() {
        if rule["state"] != "ok" {
            lines += &format!(
                "rule        {} is {}: {}\n",
                text(&rule["name"]),
                text(&rule["state"]),
                text(&rule["reason"])
            );
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_closed_says_how_long_it_was() {
        let mut gap = json!({
            "reason": "the slot is lost", "from_lsn": "0/10", "until_lsn": null,
            "noticed_at": "2026-03-01T10:00:00Z", "rebuilt_at": null,
        });
        assert_eq!(unobserved(&Value::Null), "");
        let open = unobserved(&gap);
        assert!(
            open.contains("not observed since 2026-03-01T10:00:00Z: the slot is lost"),
            "{open}"
        );
        gap["until_lsn"] = json!("0/20");
        for (rebuilt, length) in [("10:01:59", "119 s"), ("10:07:30", "7 min")] {
            gap["rebuilt_at"] = json!(format!("2026-03-01T{rebuilt}Z"));
            let closed = unobserved(&gap);
            let says = format!("to 2026-03-01T{rebuilt}Z, {length}: the slot is lost");
            assert!(
                closed.contains(&says) && closed.contains("closed at 0/20"),
                "{closed}"
            );
        }
    }
}
