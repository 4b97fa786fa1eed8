use serde_json::Value;

/// What an action says: by this the demo tells actions apart without knowing their ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sentence {
    pub project_id: String,
    pub action_type: String,
    pub details: String,
    pub status: String,
    pub environment: String,
}

impl Sentence {
    /// Reads the body of a notification; what is missing there is empty here, and so matches nothing.
    pub fn of_notification(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = &body["data"];
        Self {
            project_id: text(&data["project_id"]),
            action_type: text(&body["type"]),
            details: text(&data["action_details"]),
            status: text(&data["status"]),
            environment: text(&data["environment"]),
        }
    }
}
