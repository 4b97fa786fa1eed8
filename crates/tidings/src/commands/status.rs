use serde_json::{Value, json};
use store::{catalog, status};

use super::{rule_states, set_up_session};
use crate::Failure;
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
    let (state, reason) = match (&capture, &slot) {
        (c, _) if c.active => ("active", None),
        (c, _) if c.standby => ("standby", c.stop_reason.clone()),
        (c, None) => (
            "stopped",
            c.stop_reason.clone().or(Some(format!(
                "replication slot {} does not exist: run `tidings setup --new-slot`",
                settings.capture.slot
            ))),
        ),
        (c, Some(_)) => {
            let reason = "no `tidings run` reads the slot: start it".to_owned();
            ("stopped", Some(c.stop_reason.clone().unwrap_or(reason)))
        }
    };
    let rules = rule_states::gather(settings, &session).await?;
    Ok(json!({
        "state": state,
        "reason": reason,
        "slot": {
            "name": settings.capture.slot,
            "wal_status": slot.as_ref().and_then(|s| s.wal_status.clone()),
            "lag_bytes": slot.as_ref().map(|s| s.lag_bytes),
            "lag_seconds": capture.lag_seconds,
        },
        "progress": {
            "commit_lsn": capture.commit_lsn, "end_lsn": capture.end_lsn, "seq": capture.seq,
        },
        "actions": capture.seq,
        "deliveries": {
            "delivered": deliveries.delivered, "parked": deliveries.parked,
            "behind": deliveries.behind, "dead": deliveries.dead,
        },
        "quarantine": status::quarantined(&session).await?,
        "rules": rules,
        "rules_error": capture.rules_error,
    }))
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
    lines += &format!("quarantine  {}\n", text(&told["quarantine"]));
    if !told["rules_error"].is_null() {
        lines += &format!(
            "rules       not those of the settings: {}\n",
            text(&told["rules_error"])
        );
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
