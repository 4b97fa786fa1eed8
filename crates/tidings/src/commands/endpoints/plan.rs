use serde_json::{Value, json};

use crate::Failure;
use crate::commands::set_up_session;
use crate::deliver::{self, Step};
use crate::settings::Settings;

/// What the next start or SIGHUP would change.
pub async fn plan(settings: &Settings, as_json: bool) -> Result<(), Failure> {
    let session = set_up_session(settings).await?;
    let steps = deliver::planned(settings, &session).await?;
    if as_json {
        let steps: Vec<Value> = steps.iter().map(described).collect();
        println!("{:#}", Value::from(steps));
        return Ok(());
    }
    if steps.is_empty() {
        println!("the settings change nothing: the endpoints are as they declare them");
    }
    for Step { name, what } in &steps {
        let mut line = format!("{:<7} {name}", what.verb());
        if !what.fields().is_empty() {
            line += &format!(": {}", what.fields().join(", "));
        }
        if let Some(note) = what.note() {
            line += &format!(" ({note})");
        }
        println!("{line}");
    }
    Ok(())
}

fn described(Step { name, what }: &Step) -> Value {
    json!({"name": name, "step": what.verb(), "fields": what.fields(), "note": what.note()})
}
