//! What the settings would change of the stored endpoints. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use store::endpoints::{DeclaredBy, EndpointState, StoredEndpoint, Transition};
use webhook::Credentials;

use crate::settings::Endpoint;

/// A stored endpoint with what its credentials say.
pub struct Known<'a> {
    pub stored: &'a StoredEndpoint,
    /// Nothing where no key of the settings opens them.
    pub credentials: Option<Credentials>,
    /// Whether they are stored as they would be today.
    pub is_current: bool,
}

/// One step of the plan. The order of steps is that of the settings, then of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Add {
        paused: bool,
    },
    Change {
        /// The words of the settings for what differs; never a value. Empty where only the state does.
        fields: Vec<&'static str>,
        /// A command had added it.
        taken_over: bool,
        transition: Option<Transition>,
    },
    /// Its credentials are written anew under the first key of the settings.
    Reseal,
    Remove,
}

/// What leads from the stored endpoints to the declared ones: adds, changes and removes those that
/// the settings declare or declared, takes over those of the same name that a command added, and
/// leaves the other ones of commands alone.
pub fn plan(declared: &[Endpoint], known: &[Known<'_>]) -> Vec<Step> {
    let by_name: HashMap<&str, &Known<'_>> = known
        .iter()
        .map(|known| (known.stored.name.as_str(), known))
        .collect();
    let names: HashSet<&str> = declared
        .iter()
        .map(|endpoint| endpoint.name.as_str())
        .collect();
    let wanted = declared.iter().filter_map(|endpoint| {
        let what = match by_name.get(endpoint.name.as_str()) {
            None => Some(What::Add {
                paused: endpoint.paused == Some(true),
            }),
            Some(known) => change(endpoint, known).or_else(|| reseal(known)),
        };
        step(&endpoint.name, what)
    });
    let others = known
        .iter()
        .filter(|known| !names.contains(known.stored.name.as_str()))
        .filter_map(|known| {
            let what = match known.stored.origin {
                DeclaredBy::Config => Some(What::Remove),
                DeclaredBy::Command => reseal(known),
            };
            step(&known.stored.name, what)
        });
    wanted.chain(others).collect()
}

fn step(name: &str, what: Option<What>) -> Option<Step> {
    let name = name.to_owned();
    what.map(|what| Step { name, what })
}

fn reseal(known: &Known<'_>) -> Option<What> {
    (known.credentials.is_some() && !known.is_current).then_some(What::Reseal)
}

fn change(endpoint: &Endpoint, known: &Known<'_>) -> Option<What> {
    let stored = known.stored;
    let moved = endpoint.url != stored.url;
    let mut fields: Vec<&'static str> = Vec::new();
    let mut compare = |field, differs: bool| fields.extend(differs.then_some(field));
    let (filter, before) = (&endpoint.filter, &stored.filter);
    compare("url", moved);
    compare("types", filter.types != before.types);
    compare("projects", filter.projects != before.projects);
    compare("environments", filter.environments != before.environments);
    compare("statuses", filter.statuses != before.statuses);
    let (options, before) = (&endpoint.options, &stored.options);
    compare("format", options.format != before.format);
    compare("template", options.template != before.template);
    compare("order", options.order != before.order);
    compare("in_flight", options.in_flight != before.in_flight);
    compare("rate", options.rate != before.rate);
    compare("digest", options.digest != before.digest);
    match &known.credentials {
        None => compare("credentials that could not be read", true),
        Some(before) => {
            let (now, before) = (parts(&endpoint.credentials), parts(before));
            for (part, field) in [
                ("signing", "secret"),
                ("headers", "headers"),
                ("authorization", "authorization"),
                ("client_certificate", "client_certificate"),
            ] {
                compare(field, now.get(part) != before.get(part));
            }
        }
    }
    let taken_over = stored.origin == DeclaredBy::Command;
    let transition = transition(stored.state, moved, endpoint.paused);
    let changes = !fields.is_empty() || taken_over || transition.is_some();
    changes.then_some(What::Change {
        fields,
        taken_over,
        transition,
    })
}

/// As they are stored: equal credentials make equal JSON.
fn parts(credentials: &Credentials) -> Value {
    serde_json::to_value(credentials).unwrap_or_default()
}

/// One that was disabled is enabled by another URL.
fn transition(state: EndpointState, moved: bool, paused: Option<bool>) -> Option<Transition> {
    match (state, paused) {
        (EndpointState::Enabled, Some(true)) => Some(Transition::Pause),
        (EndpointState::Paused, Some(false)) => Some(Transition::Resume),
        (EndpointState::Disabled, None | Some(false)) if moved => Some(Transition::Enable),
        (EndpointState::Enabled | EndpointState::Paused | EndpointState::Disabled, _) => None,
    }
}

impl What {
    /// One word for what is done.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Change { .. } => "change",
            Self::Reseal => "reseal",
            Self::Remove => "remove",
        }
    }

    /// The words of the settings for what differs.
    pub fn fields(&self) -> &[&'static str] {
        match self {
            Self::Change { fields, .. } => fields,
            Self::Add { .. } | Self::Reseal | Self::Remove => &[],
        }
    }

    /// What else there is to say of it.
    pub fn note(&self) -> Option<&'static str> {
        match self {
            Self::Add { paused: true } => Some("paused"),
            Self::Change {
                transition: Some(transition),
                ..
            } => Some(match transition {
                Transition::Enable => "enabled again, at the head of the log",
                Transition::Pause => "paused",
                Transition::Resume => "resumed",
                Transition::Disable => "disabled",
            }),
            Self::Change {
                taken_over: true, ..
            } => Some("taken over from a command"),
            Self::Reseal => Some("sealed under the first of webhooks.encryption_keys"),
            Self::Remove => Some("with what is parked for it"),
            Self::Add { paused: false } | Self::Change { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
