//! An endpoint as it is shown: everything but its secrets.

use jiff::Timestamp;
use serde_json::{Value, json};
use store::endpoints::{Options, StoredEndpoint};
use webhook::{Authorization, Credentials, Key};

use crate::settings::rate_text;

/// In the shape of `--json`.
pub fn described(endpoint: &StoredEndpoint) -> Value {
    let Options {
        format,
        template,
        order,
        in_flight,
        rate,
        digest,
    } = &endpoint.options;
    json!({
        "id": endpoint.id, "name": endpoint.name, "url": endpoint.url,
        "state": endpoint.state.as_str(),
        "reason": endpoint.state_reason, "origin": endpoint.origin.as_str(),
        "types": endpoint.filter.types, "projects": endpoint.filter.projects,
        "environments": endpoint.filter.environments, "statuses": endpoint.filter.statuses,
        "format": format.as_deref().unwrap_or("full"), "template": template,
        "order": order.as_str(), "in_flight": in_flight, "rate": rate.map(rate_text),
        "digest": digest.map(|digest| json!({
            "seconds": digest.seconds, "actions": digest.actions,
        })),
        "failing_since": endpoint.failing_since.map(|since| since.to_string()),
    })
}

/// What it signs and authorizes with, without anything secret.
pub fn credentials(credentials: &Credentials) -> Value {
    let keys = credentials.signing.iter().map(|signing| {
        json!({
            "version": signing.key.version().as_str(),
            "public_key": public(&signing.key),
            "expires_at": signing.expires_at.map(|end| end.to_string()),
            "expired": signing.expires_at.is_some_and(|end| end <= Timestamp::now()),
        })
    });
    json!({
        "keys": keys.collect::<Vec<Value>>(),
        "headers": credentials.headers().names().collect::<Vec<&str>>(),
        "authorization": credentials.authorization().map(Authorization::kind),
        "client_certificate": credentials.client_certificate().is_some(),
    })
}

/// What everybody may know of a key; of a secret that is nothing.
pub fn public(key: &Key) -> Option<String> {
    key.public().map(|public| public.to_string())
}

/// What differs from the default, for people: `(word, value)`.
pub fn wishes(endpoint: &StoredEndpoint) -> Vec<(&'static str, String)> {
    let told = described(endpoint);
    let mut wishes = Vec::new();
    for list in ["types", "projects", "environments", "statuses"] {
        let values: Vec<&str> = told[list]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !values.is_empty() {
            wishes.push((list, values.join(", ")));
        }
    }
    let options = &endpoint.options;
    let mut tell = |word, value: Option<String>| wishes.extend(value.map(|value| (word, value)));
    tell("format", options.format.clone());
    tell(
        "order",
        Some(options.order.as_str().to_owned()).filter(|order| order != "parallel"),
    );
    tell("in_flight", options.in_flight.map(|most| most.to_string()));
    tell("rate", options.rate.map(rate_text));
    tell(
        "digest",
        options
            .digest
            .map(|digest| format!("{} s or {} actions", digest.seconds, digest.actions)),
    );
    wishes
}
