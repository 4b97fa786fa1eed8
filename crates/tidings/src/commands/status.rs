use serde_json::{Value, json};
use store::{Session, catalog, gaps, status};

use super::{rule_states, set_up_session};
use crate::Failure;
use crate::capture::budget::{WARN, percent, size};
use crate::cli::Status;
use crate::settings::Settings;

pub async fn status(settings: &Settings, arguments: &Status) -> Result<(), Failure> {
    let told = gather(settings).await?;
    if arguments.json {
        println!("{told:#}");
    } else {
        print!("{}", human(&told));
    }
    Ok(())
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
    let (state, reason) = match (&capture, &slot) {
        (c, _) if c.active => ("active", None),
        (c, _) if c.standby => ("standby", c.stop_reason.clone()),
        (c, None) => ("stopped", c.stop_reason.clone().or(Some(no_slot(settings)))),
        (c, Some(_)) => {
            let reason = "no `tidings run` reads the slot: start it".to_owned();
            ("stopped", Some(c.stop_reason.clone().unwrap_or(reason)))
        }
    };
    let rules = rule_states::gather(settings, &session).await?;
    let budget = settings.capture.max_retained_wal.map(|size| size.as_u64());
    let percent = slot
        .as_ref()
        .zip(budget)
        .map(|(slot, budget)| percent(slot, budget));
    let gap = gaps::newest(&session).await?.map(|gap| {
        json!({
            "reason": gap.reason, "from_lsn": gap.from, "until_lsn": gap.until,
            "noticed_at": gap.noticed_at,
        })
    });
    Ok(json!({
        "state": state,
        "reason": reason,
        "slot": {
            "name": settings.capture.slot,
            "wal_status": slot.as_ref().and_then(|s| s.wal_status.clone()),
            "lag_bytes": slot.as_ref().map(|s| s.lag_bytes),
            "lag_seconds": capture.lag_seconds,
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

fn no_slot(settings: &Settings) -> String {
    let slot = &settings.capture.slot;
    match settings.capture.rebuilds_per_hour {
        0 => format!("replication slot {slot} does not exist: run `tidings setup --new-slot`"),
        _ => format!(
            "replication slot {slot} does not exist: start `tidings run`, which makes a new one"
        ),
    }
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

fn human(told: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines = format!("capture     {}\n", text(&told["state"]));
    if !told["reason"].is_null() {
        lines += &format!("            {}\n", text(&told["reason"]));
    }
    let (slot, deliveries) = (&told["slot"], &told["deliveries"]);
    lines += &format!(
        "slot        {} ({}), {} bytes behind\n",
        text(&slot["name"]),
        text(&slot["wal_status"]),
        text(&slot["lag_bytes"])
    );
    lines += &retained(slot);
    let gap = &told["gap"];
    if !gap.is_null() {
        lines += &format!(
            "gap         not observed since {}: {}\n            from {} to {}\n",
            text(&gap["noticed_at"]),
            text(&gap["reason"]),
            text(&gap["from_lsn"]),
            text(&gap["until_lsn"])
        );
    }
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
