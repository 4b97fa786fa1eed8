use serde_json::{Value, json};
use store::replays::{self, Replay};

use super::find;
use crate::Failure;
use crate::commands::set_up_session;
use crate::settings::Settings;

pub async fn list(
    settings: &Settings,
    endpoint: Option<&str>,
    limit: i64,
    as_json: bool,
) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let endpoint_id = match endpoint {
        Some(endpoint) => Some(find(&session, endpoint).await?.id),
        None => None,
    };
    let replays = replays::list(&session, endpoint_id.as_deref(), limit).await?;
    if as_json {
        let replays: Vec<Value> = replays.iter().map(described).collect();
        println!("{:#}", Value::from(replays));
        return Ok(());
    }
    if replays.is_empty() {
        println!("no replays: ask for one with `tidings replay --endpoint NAME --since TIME`");
    }
    for replay in &replays {
        println!("{}", line(replay));
    }
    Ok(())
}

/// In the shape of `--json`.
pub fn described(replay: &Replay) -> Value {
    json!({
        "id": replay.id, "endpoint": replay.endpoint, "endpoint_id": replay.endpoint_id,
        "endpoint_state": replay.endpoint_state, "types": replay.types,
        "projects": replay.projects, "state": replay.state, "cursor_seq": replay.cursor,
        "until_seq": replay.until, "per_second": replay.per_second, "attempted": replay.attempted,
        "parked": replay.parked, "dead": replay.dead, "created_at": replay.created_at.to_string(),
        "finished_at": replay.finished_at.map(|at| at.to_string()),
    })
}

fn line(replay: &Replay) -> String {
    let mut line = format!(
        "{}  {:<9} {:<20} at seq {} of {}, {} attempted, {} parked, {} dead",
        replay.id,
        replay.state,
        replay.endpoint,
        replay.cursor,
        replay.until,
        replay.attempted,
        replay.parked,
        replay.dead
    );
    if replay.state == "running" && replay.endpoint_state != "enabled" {
        line += &format!("; waits: the endpoint is {}", replay.endpoint_state);
    }
    line
}
