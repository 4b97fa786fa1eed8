//! Whatever an action can hold, every format is whole and within its vendor's limits.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Texts that have broken formats before: long, empty, of controls, of markup, from right to left.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        ".{0,20}",
        Just(String::new()),
        Just(" \n\t ".to_owned()),
        Just("@everyone <@1> <!channel> <@U1> @here".to_owned()),
        Just("\u{202E}שלום\u{2066} مرحبا".to_owned()),
        Just("👩‍👩‍👧‍👦".repeat(2000)),
        Just("&<>\"\\".repeat(5000)),
        Just("\n".repeat(10_000)),
        Just("line\n".repeat(5000)),
        Just("\u{1}\u{7f}\u{fffe}".repeat(3000)),
        Just("[x](https://evil.example) https://a.example/".repeat(500)),
        "[a-z_*~`|]{0,200}".prop_map(|text| text.repeat(40)),
    ]
}

fn odd_action() -> impl Strategy<Value = Action> {
    let text = || proptest::option::of(odd_text());
    (odd_text(), text(), text(), text(), text()).prop_map(
        |(action_type, project_id, action_details, status, environment)| Action {
            project_id,
            reference_ids: Some(json!({ "deployment_id": action_details })),
            data: serde_json::Map::from_iter([(action_type.clone(), json!(status))]),
            action_type,
            action_details,
            status,
            environment,
            ..Action::default()
        },
    )
}

/// As a vendor counts: UTF-16 code units are the most that anybody does.
fn length(value: &Value) -> usize {
    value.as_str().unwrap_or_default().encode_utf16().count()
}

fn check_slack(message: &Value) {
    assert!((1..=1000).contains(&length(&message["text"])));
    for block in message["blocks"].as_array().unwrap() {
        let (texts, max) = match block["type"].as_str().unwrap() {
            "header" => (vec![&block["text"]], 150),
            "section" => (vec![&block["text"]], 3000),
            _ => (block["elements"].as_array().unwrap().iter().collect(), 3000),
        };
        for text in texts {
            assert!((1..=max).contains(&length(&text["text"])));
            let mut markup = text["text"].as_str().unwrap().split('<').skip(1);
            assert!(
                markup.all(|rest| rest.starts_with("!date^") || rest.starts_with("https://app.")),
                "nothing is mentioned: {text}"
            );
        }
    }
}

fn check_discord(message: &Value) {
    let embed = &message["embeds"][0];
    let [title, description] = [&embed["title"], &embed["description"]].map(length);
    let footer = length(&embed["footer"]["text"]);
    assert!((1..=256).contains(&title) && (1..=4096).contains(&description) && footer <= 2048);
    assert!(title + description + footer <= 6000);
    assert!(length(&embed["url"]) <= 2048);
    assert_eq!(message["allowed_mentions"], json!({"parse": []}));
}

fn check_teams(payload: &Payload, message: &Value) {
    assert!(payload.body.len() <= 28 * 1024, "{}", payload.body.len());
    for block in message["attachments"][0]["content"]["body"]
        .as_array()
        .unwrap()
    {
        assert!(length(&block["inlines"][0]["text"]) > 0);
    }
}

fn check(name: &str, payload: &Payload) {
    let value: Value = serde_json::from_slice(&payload.body).unwrap();
    match name {
        "slack" => check_slack(&value),
        "discord" => check_discord(&value),
        "teams" => check_teams(payload, &value),
        "cloudevents" => {
            for attribute in ["id", "source", "type"] {
                let text = value[attribute].as_str().unwrap();
                assert!(!text.is_empty() && !text.contains(char::is_control));
            }
            assert_ne!(value["subject"], "");
        }
        "template" => assert!(value.is_array()),
        _ => assert!(value.is_object()),
    }
}

proptest! {
    #[test]
    fn every_action_fits_every_vendor(actions in proptest::collection::vec(odd_action(), 1..5)) {
        let notifications: Vec<_> = actions.iter().map(notification).collect();
        let digest = Digest { actions: &notifications };
        for name in Format::NAMES {
            let format = match name {
                "template" => Format::new(name, Some("[{{ type | tojson }}]")).unwrap(),
                name => format(name),
            };
            for notification in &notifications {
                check(name, &format.render(notification).unwrap());
            }
            check(name, &format.render_digest(&digest).unwrap());
        }
    }

    #[test]
    fn no_sentence_pings_or_links_in_discord(text in odd_text()) {
        let action = Action { action_details: Some(text), ..action() };
        let payload = format("discord").render(&notification(&action)).unwrap();
        let value: Value = serde_json::from_slice(&payload.body).unwrap();
        let shown = value["embeds"][0]["description"].as_str().unwrap();
        for (at, _) in shown.match_indices(['[', ']', '<', '>']) {
            prop_assert!(shown[..at].ends_with('\\'), "{}", shown);
        }
    }
}
