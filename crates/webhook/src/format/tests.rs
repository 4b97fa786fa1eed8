//! Each format against the literal text that a subscriber gets.

use activity::{Action, Seq};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::sample;

mod odd;

const ID: &str = "---0PnSCW7---1L_QRhX_";

fn action() -> Action {
    Action {
        project_id: Some("proj_1".to_owned()),
        user_id: None,
        action_type: "deployment".to_owned(),
        action_details: Some(
            "Deployment to fly.io failed: <a> & *b*\nsee https://a_b.example/x".to_owned(),
        ),
        status: Some("failed".to_owned()),
        environment: Some("production".to_owned()),
        ..Action::default()
    }
}

fn notification(action: &Action) -> Notification<'_> {
    Notification {
        action_id: ID,
        seq: Seq::new(7),
        action,
        created_at: 1_700_000_000,
        committed_at: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
        has_cost_usd: false,
    }
}

fn format(name: &str) -> Format {
    let context = FormatContext::new(Some("https://app.example/{project_id}?a={action_id}&b"));
    let template = (name == "template").then_some("{{ data | tojson }}");
    Format::in_context(name, template, &context.unwrap()).unwrap()
}

fn body(payload: &Payload) -> &str {
    std::str::from_utf8(&payload.body).unwrap()
}

fn rendered(name: &str) -> String {
    let payload = format(name).render(&notification(&action())).unwrap();
    body(&payload).to_owned()
}

fn digest_actions() -> Vec<Action> {
    let project = Action {
        project_id: Some("proj_1".to_owned()),
        action_type: "project_created".to_owned(),
        action_details: Some("Project 'My API' created".to_owned()),
        status: Some("success".to_owned()),
        ..Action::default()
    };
    let mut endpoints = sample("endpoints_added", Timestamp::UNIX_EPOCH).action;
    endpoints.project_id = Some("proj_1".to_owned());
    endpoints.user_id = None;
    endpoints.request_id = None;
    endpoints.reference_ids = None;
    vec![project, endpoints, action()]
}

fn rendered_digest(name: &str) -> String {
    let actions = digest_actions();
    let actions: Vec<_> = actions.iter().map(notification).collect();
    let digest = Digest { actions: &actions };
    body(&format(name).render_digest(&digest).unwrap()).to_owned()
}

const DATA: &str = concat!(
    r#""data":{"action_id":"---0PnSCW7---1L_QRhX_","project_id":"proj_1","user_id":null,"#,
    r#""request_id":null,"action_type":"deployment","action_details":"#,
    r#""Deployment to fly.io failed: <a> & *b*\nsee https://a_b.example/x","status":"failed","#,
    r#""environment":"production","reference_ids":null,"created_at":1700000000,"seq":7,"data":{}}}"#,
);

#[test]
fn full_holds_every_column() {
    let head = r#"{"type":"deployment","timestamp":"2023-11-14T22:13:20.123456Z","#;
    assert_eq!(rendered("full"), format!("{head}{DATA}"));
}

#[test]
fn thin_holds_ids_and_a_link() {
    let expected = concat!(
        r#"{"type":"deployment","timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
        r#""action_id":"---0PnSCW7---1L_QRhX_","seq":7,"project_id":"proj_1","#,
        r#""link":"https://app.example/proj_1?a=---0PnSCW7---1L_QRhX_&b"}}"#,
    );
    assert_eq!(rendered("thin"), expected);
    let unlinked = Format::new("thin", None).unwrap();
    let unlinked = unlinked.render(&notification(&action())).unwrap();
    assert!(body(&unlinked).ends_with(r#""seq":7,"project_id":"proj_1"}}"#));
}

#[test]
fn cloudevents_holds_the_data_of_full_in_an_envelope() {
    let head = concat!(
        r#"{"specversion":"1.0","id":"---0PnSCW7---1L_QRhX_","source":"/tidings","#,
        r#""type":"dev.tidings.deployment","subject":"proj_1","#,
        r#""time":"2023-11-14T22:13:20.123456Z","datacontenttype":"application/json","#,
    );
    assert_eq!(rendered("cloudevents"), format!("{head}{DATA}"));
    let payload = format("cloudevents").render(&notification(&action()));
    assert_eq!(
        payload.unwrap().content_type,
        "application/cloudevents+json; charset=utf-8"
    );
}

#[test]
fn slack_gets_blocks_and_a_text_in_which_nothing_is_markup_of_slack() {
    let expected = concat!(
        r#"{"text":"Deployment to fly.io failed: &lt;a&gt; &amp; *b* see https://a_b.example/x","#,
        r#""blocks":[{"type":"section","text":{"type":"mrkdwn","text":"#,
        r#""Deployment to fly.io failed: &lt;a&gt; &amp; *b*\nsee https://a_b.example/x","#,
        r#""verbatim":true}},{"type":"context","elements":[{"type":"mrkdwn","text":"#,
        r#""Deployment · failed · production · project proj_1 · "#,
        r#"<!date^1700000000^{date_short_pretty} {time}|2023-11-14 22:13 UTC> · "#,
        r#"<https://app.example/proj_1?a=---0PnSCW7---1L_QRhX_&amp;b|Open>","verbatim":true}]}],"#,
        r#""unfurl_links":false,"unfurl_media":false}"#,
    );
    assert_eq!(rendered("slack"), expected);
}

#[test]
fn discord_gets_an_embed_that_mentions_nobody() {
    let expected = concat!(
        r#"{"embeds":[{"title":"Deployment","#,
        r#""url":"https://app.example/proj_1?a=---0PnSCW7---1L_QRhX_&b","#,
        r#""description":"Deployment to fly.io failed: \\<a\\> & \\*b\\*\nsee https://a_b.example/x","#,
        r#""color":13574702,"timestamp":"2023-11-14T22:13:20.123456Z","#,
        r#""footer":{"text":"failed · production · project proj_1"}}],"#,
        r#""allowed_mentions":{"parse":[]}}"#,
    );
    assert_eq!(rendered("discord"), expected);
}

#[test]
fn teams_gets_a_message_with_an_adaptive_card() {
    let expected = concat!(
        r#"{"type":"message","attachments":[{"#,
        r#""contentType":"application/vnd.microsoft.card.adaptive","content":{"#,
        r#""$schema":"http://adaptivecards.io/schemas/adaptive-card.json","#,
        r#""type":"AdaptiveCard","version":"1.4","body":["#,
        r#"{"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"Deployment","#,
        r#""weight":"Bolder","color":"Attention"}]},"#,
        r#"{"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"#,
        r#""Deployment to fly.io failed: <a> & *b*"}],"spacing":"Small"},"#,
        r#"{"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"#,
        r#""see https://a_b.example/x"}],"spacing":"Small"},"#,
        r#"{"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"#,
        r#""failed · production · project proj_1 · 2023-11-14 22:13 UTC","#,
        r#""size":"Small","isSubtle":true}]}],"#,
        r#""actions":[{"type":"Action.OpenUrl","title":"Open","#,
        r#""url":"https://app.example/proj_1?a=---0PnSCW7---1L_QRhX_&b"}]}}]}"#,
    );
    assert_eq!(rendered("teams"), expected);
}

#[test]
fn a_digest_counts_and_repeats_its_actions() {
    let text = rendered_digest("full");
    let head = concat!(
        r#"{"type":"digest","timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
        r#""project_id":"proj_1","from":"2023-11-14T22:13:20.123456Z","#,
        r#""to":"2023-11-14T22:13:20.123456Z","count":3,"#,
        r#""summary":["1 project created","2 endpoints added","1 deployment (1 failed)"],"#,
        r#""counts":{"project_created":1,"endpoints_added":1,"deployment":1},"actions":[{"#,
        r#""action_id":"---0PnSCW7---1L_QRhX_","project_id":"proj_1","#,
    );
    assert!(text.starts_with(head), "{text}");
    assert!(
        text.ends_with(r#""seq":7,"data":{}}],"more":0}}"#),
        "{text}"
    );
    let event: Value = serde_json::from_str(&rendered_digest("cloudevents")).unwrap();
    assert_eq!(event["id"], format!("digest:{ID}:{ID}"));
    assert_eq!(event["type"], "dev.tidings.digest");
    let full: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["data"], full["data"]);
    let template: Value = serde_json::from_str(&rendered_digest("template")).unwrap();
    assert_eq!(template, full["data"]);
}

#[test]
fn a_thin_digest_names_its_actions() {
    let expected = concat!(
        r#"{"type":"digest","timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
        r#""project_id":"proj_1","from":"2023-11-14T22:13:20.123456Z","#,
        r#""to":"2023-11-14T22:13:20.123456Z","count":3,"actions":["#,
        r#"{"action_id":"---0PnSCW7---1L_QRhX_","seq":7},"#,
        r#"{"action_id":"---0PnSCW7---1L_QRhX_","seq":7},"#,
        r#"{"action_id":"---0PnSCW7---1L_QRhX_","seq":7}],"more":0,"#,
        r#""link":"https://app.example/proj_1?a=---0PnSCW7---1L_QRhX_&b"}}"#,
    );
    assert_eq!(rendered_digest("thin"), expected);
}

#[test]
fn a_digest_for_people_begins_with_what_it_counts() {
    let told = "1 project created\n2 endpoints added\n1 deployment (1 failed)\n\n\
        • Project 'My API' created\n• Added 2 endpoints: GET /api/users, POST /api/users (sample)\n\
        • Deployment to fly.io failed: ";
    let slack: Value = serde_json::from_str(&rendered_digest("slack")).unwrap();
    let header = json!({"type": "plain_text", "text": "3 actions", "emoji": false});
    assert_eq!(
        slack["blocks"][0],
        json!({"type": "header", "text": header})
    );
    let expected = format!("{told}&lt;a&gt; &amp; *b*");
    assert_eq!(slack["blocks"][1]["text"]["text"], expected);
    assert_eq!(
        slack["text"],
        "3 actions: 1 project created, 2 endpoints added, 1 deployment (1 failed)"
    );
    let discord: Value = serde_json::from_str(&rendered_digest("discord")).unwrap();
    let expected = format!(r"{told}\<a\> & \*b\*");
    assert_eq!(discord["embeds"][0]["description"], expected);
    assert_eq!(
        discord["embeds"][0]["color"], 0xCF_22_2E,
        "the worst of them"
    );
    let teams = rendered_digest("teams");
    assert!(teams.contains(r#""text":"2 endpoints added""#), "{teams}");
}

#[test]
fn a_large_digest_repeats_a_hundred_actions_and_says_how_many_more() {
    let action = action();
    let actions = vec![notification(&action); 250];
    let digest = Digest { actions: &actions };
    for name in ["full", "thin", "cloudevents"] {
        let payload = format(name).render_digest(&digest).unwrap();
        let value: Value = serde_json::from_slice(&payload.body).unwrap();
        assert_eq!(value["data"]["count"], 250);
        assert_eq!(value["data"]["actions"].as_array().unwrap().len(), 100);
        assert_eq!(value["data"]["more"], 150);
    }
    let big = Action {
        action_details: Some("x".repeat(64 * 1024)),
        ..action.clone()
    };
    let actions = vec![notification(&big); 10];
    let digest = Digest { actions: &actions };
    let payload = format("full").render_digest(&digest).unwrap();
    let value: Value = serde_json::from_slice(&payload.body).unwrap();
    assert_eq!(value["data"]["more"], 7);
}

#[test]
fn a_digest_of_nothing_is_none() {
    for name in Format::NAMES {
        let error = format(name).render_digest(&Digest { actions: &[] });
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("at least one action")
        );
    }
}

#[test]
fn an_unknown_format_is_refused_with_those_there_are() {
    let error = Format::new("xml", None).unwrap_err().to_string();
    assert_eq!(
        error,
        "the format: \"xml\" is none: it is one of full, thin, cloudevents, slack, discord, teams, \
         template"
    );
    let error = Format::new("slack", Some("x")).unwrap_err().to_string();
    assert!(error.contains("takes no template"), "{error}");
}
