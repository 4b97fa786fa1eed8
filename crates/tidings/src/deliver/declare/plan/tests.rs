use activity::Seq;
use store::endpoints::{Filter, Options, Rate};
use webhook::{Authorization, CustomHeaders, Key, SignatureVersion};

use super::*;

fn credentials() -> Credentials {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    Credentials::signed_by(secret.parse().unwrap())
}

fn declared(name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        url: "https://example.com/hooks".to_owned(),
        filter: Filter::default(),
        options: Options::default(),
        credentials: credentials(),
        paused: None,
    }
}

fn stored(name: &str, origin: DeclaredBy) -> StoredEndpoint {
    StoredEndpoint {
        id: format!("ep_{name}"),
        name: name.to_owned(),
        url: "https://example.com/hooks".to_owned(),
        credentials: String::new(),
        filter: Filter::default(),
        options: Options::default(),
        origin,
        state: EndpointState::Enabled,
        state_reason: None,
        failing_since: None,
        shard: 0,
        cursor: Seq::ZERO,
        behind: false,
        revision: 1,
    }
}

fn known(stored: &StoredEndpoint) -> Known<'_> {
    Known {
        stored,
        credentials: Some(credentials()),
        is_current: true,
    }
}

fn fields(steps: &[Step]) -> Vec<&'static str> {
    steps
        .iter()
        .flat_map(|step| step.what.fields().to_vec())
        .collect()
}

#[test]
fn what_is_as_declared_needs_no_step() {
    let stored = stored("a", DeclaredBy::Config);
    assert_eq!(plan(&[declared("a")], &[known(&stored)]), []);
}

#[test]
fn what_is_new_is_added_and_what_the_settings_left_out_is_removed() {
    let (left, own) = (
        stored("left", DeclaredBy::Config),
        stored("own", DeclaredBy::Command),
    );
    let mut paused = declared("paused");
    paused.paused = Some(true);
    let steps = plan(&[declared("new"), paused], &[known(&left), known(&own)]);
    let told: Vec<_> = steps
        .iter()
        .map(|s| (s.name.as_str(), s.what.verb()))
        .collect();
    assert_eq!(
        told,
        [("new", "add"), ("paused", "add"), ("left", "remove")]
    );
    assert_eq!(steps[1].what, What::Add { paused: true });
}

#[test]
fn a_change_names_the_fields_that_differ_and_no_value() {
    let stored = stored("a", DeclaredBy::Config);
    let mut changed = declared("a");
    changed.url = "https://example.com/s3cret".to_owned();
    changed.filter.types = vec!["deployment".to_owned()];
    changed.options.rate = Some(Rate {
        attempts: 1,
        seconds: 1,
    });
    let key = Key::generate(SignatureVersion::V1a).unwrap();
    let headers = CustomHeaders::new([("x-key".to_owned(), "s3cret".into())]).unwrap();
    changed.credentials = Credentials::signed_by(key)
        .with_headers(headers)
        .unwrap()
        .with_authorization(Some(Authorization::bearer("s3cret".into()).unwrap()))
        .unwrap();
    let steps = plan(&[changed], &[known(&stored)]);
    let expected = ["url", "types", "rate", "secret", "headers", "authorization"];
    assert_eq!(fields(&steps), expected);
    assert!(!format!("{steps:?}").contains("s3cret"));
}

#[test]
fn one_that_a_command_added_is_taken_over_under_its_name() {
    let stored = stored("a", DeclaredBy::Command);
    let steps = plan(&[declared("a")], &[known(&stored)]);
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].what.note(), Some("taken over from a command"));
}

#[test]
fn credentials_are_compared_opened_and_sealed_anew_under_a_new_key() {
    let config = stored("a", DeclaredBy::Config);
    let command = stored("b", DeclaredBy::Command);
    let old = |stored| Known {
        is_current: false,
        ..known(stored)
    };
    let steps = plan(&[declared("a")], &[old(&config), old(&command)]);
    let told: Vec<_> = steps.iter().map(|s| (s.name.as_str(), &s.what)).collect();
    assert_eq!(told, [("a", &What::Reseal), ("b", &What::Reseal)]);
}

#[test]
fn credentials_that_no_key_opens_are_replaced_where_the_settings_have_them() {
    let config = stored("a", DeclaredBy::Config);
    let command = stored("b", DeclaredBy::Command);
    let closed = |stored| Known {
        credentials: None,
        is_current: false,
        ..known(stored)
    };
    let steps = plan(&[declared("a")], &[closed(&config), closed(&command)]);
    assert_eq!(fields(&steps), ["credentials that could not be read"]);
}

#[test]
fn states_follow_the_settings_only_where_these_say_so() {
    let transition_of = |state, moved: bool, paused| {
        let mut stored = stored("a", DeclaredBy::Config);
        stored.state = state;
        let mut declared = declared("a");
        declared.paused = paused;
        if moved {
            declared.url = "https://example.com/moved".to_owned();
        }
        match plan(&[declared], &[known(&stored)]).pop()?.what {
            What::Change { transition, .. } => transition,
            What::Add { .. } | What::Reseal | What::Remove => None,
        }
    };
    use EndpointState::{Disabled, Enabled, Paused};
    assert_eq!(transition_of(Paused, true, None), None);
    assert_eq!(transition_of(Enabled, false, None), None);
    assert_eq!(
        transition_of(Enabled, false, Some(true)),
        Some(Transition::Pause)
    );
    assert_eq!(
        transition_of(Paused, false, Some(false)),
        Some(Transition::Resume)
    );
    assert_eq!(transition_of(Disabled, false, Some(false)), None);
    assert_eq!(
        transition_of(Disabled, true, None),
        Some(Transition::Enable)
    );
    assert_eq!(transition_of(Disabled, true, Some(true)), None);
}
