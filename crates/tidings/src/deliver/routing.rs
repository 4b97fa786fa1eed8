//! Which lanes an action may be for, without asking every one of them.
//!
//! Each lane is listed under the one list of its filter that says most: its projects, else its types.
//! What is found is still to be matched by the whole filter; what is not found does not match.

use std::collections::HashMap;
use std::sync::Arc;

use webhook::{Filter, Subject, TypePattern};

/// The lanes by what their filters name.
#[derive(Debug, Default)]
pub struct Routing {
    places: HashMap<Arc<str>, Vec<Place>>,
    by_project: HashMap<String, Vec<Arc<str>>>,
    by_type: HashMap<String, Vec<Arc<str>>>,
    /// By the beginning of a type. The empty one is of those that take every action.
    by_prefix: HashMap<String, Vec<Arc<str>>>,
    /// The longest of those beginnings, in bytes; never shorter than it.
    prefix_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Project(String),
    Type(String),
    Prefix(String),
}

impl Routing {
    /// Lists a lane, in place of what it was listed under.
    pub fn insert(&mut self, id: &Arc<str>, filter: &Filter) {
        let places = places(filter);
        if self.places.get(id) == Some(&places) {
            return;
        }
        self.remove(id);
        for place in &places {
            if let Place::Prefix(prefix) = place {
                self.prefix_max = self.prefix_max.max(prefix.len());
            }
            self.list(place).push(id.clone());
        }
        self.places.insert(id.clone(), places);
    }

    pub fn remove(&mut self, id: &str) {
        for place in self.places.remove(id).unwrap_or_default() {
            let list = self.list(&place);
            list.retain(|listed| **listed != *id);
            if list.is_empty() {
                match &place {
                    Place::Project(project) => drop(self.by_project.remove(project)),
                    Place::Type(name) => drop(self.by_type.remove(name)),
                    Place::Prefix(prefix) => drop(self.by_prefix.remove(prefix)),
                }
            }
        }
    }

    /// Every lane whose filter may match, each once.
    pub fn candidates<'a>(&'a self, subject: &Subject<'a>) -> impl Iterator<Item = &'a Arc<str>> {
        let action_type = subject.action_type;
        let project = subject.project_id.and_then(|id| self.by_project.get(id));
        let exact = self.by_type.get(action_type);
        let ends = (0..=action_type.len().min(self.prefix_max))
            .filter_map(move |end| action_type.get(..end));
        let prefixes = ends.filter_map(|prefix| self.by_prefix.get(prefix));
        project.into_iter().chain(exact).chain(prefixes).flatten()
    }

    fn list(&mut self, place: &Place) -> &mut Vec<Arc<str>> {
        match place {
            Place::Project(project) => self.by_project.entry(project.clone()).or_default(),
            Place::Type(name) => self.by_type.entry(name.clone()).or_default(),
            Place::Prefix(prefix) => self.by_prefix.entry(prefix.clone()).or_default(),
        }
    }
}

/// Where a filter is listed: an action is found in one of the places at most.
fn places(filter: &Filter) -> Vec<Place> {
    if !filter.projects.is_empty() {
        let mut projects = filter.projects.clone();
        projects.sort_unstable();
        projects.dedup();
        return projects.into_iter().map(Place::Project).collect();
    }
    if filter.types.is_empty() {
        return vec![Place::Prefix(String::new())];
    }
    let mut types: Vec<&TypePattern> = filter.types.iter().collect();
    // What a wider pattern covers comes after it, and is left out.
    types.sort_by_key(|pattern| (pattern.text().len(), !pattern.is_prefix()));
    let mut kept: Vec<&TypePattern> = Vec::new();
    for pattern in types {
        if !kept.iter().any(|wider| covers(wider, pattern)) {
            kept.push(pattern);
        }
    }
    let place = |pattern: &TypePattern| {
        let text = pattern.text().to_owned();
        if pattern.is_prefix() {
            Place::Prefix(text)
        } else {
            Place::Type(text)
        }
    };
    kept.into_iter().map(place).collect()
}

fn covers(wider: &TypePattern, pattern: &TypePattern) -> bool {
    if wider.is_prefix() {
        pattern.text().starts_with(wider.text())
    } else {
        !pattern.is_prefix() && pattern.text() == wider.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        "[abä_]{0,4}"
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(name(), 0..3)
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let pattern = prop_oneof!["[abä_]{1,4}", "[abä_]{0,3}\\*"];
        let patterns = prop::collection::vec(pattern, 0..4);
        (patterns, names(), names(), names()).prop_map(
            |(types, projects, environments, statuses)| Filter {
                types: types
                    .iter()
                    .map(|pattern| pattern.parse().unwrap())
                    .collect(),
                projects,
                environments,
                statuses,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_routed_is_what_every_filter_would_take(
            filters in prop::collection::vec((0..8usize, prop::option::weighted(0.9, filter())), 1..30),
            subjects in prop::collection::vec(
                ("[abä_]{1,5}", prop::option::of(name()), prop::option::of(name()), prop::option::of(name())),
                1..20,
            ),
        ) {
            let ids: Vec<Arc<str>> = (0..8).map(|n| format!("ep_{n}").into()).collect();
            let (mut routing, mut lanes) = (Routing::default(), HashMap::new());
            for (n, filter) in filters {
                // Lanes come, change and go.
                if let Some(filter) = filter {
                    routing.insert(&ids[n], &filter);
                    lanes.insert(ids[n].clone(), filter);
                } else {
                    routing.remove(&ids[n]);
                    lanes.remove(&ids[n]);
                }
            }
            for (action_type, project, environment, status) in &subjects {
                let subject = Subject {
                    action_type,
                    project_id: project.as_deref(),
                    environment: environment.as_deref(),
                    status: status.as_deref(),
                };
                let mut routed: Vec<_> = routing
                    .candidates(&subject)
                    .filter(|id| lanes[*id].matches(&subject))
                    .collect();
                let mut filtered: Vec<_> = lanes
                    .iter()
                    .filter(|(_, filter)| filter.matches(&subject))
                    .map(|(id, _)| id)
                    .collect();
                routed.sort_unstable();
                filtered.sort_unstable();
                prop_assert_eq!(routed, filtered);
            }
        }
    }
}
