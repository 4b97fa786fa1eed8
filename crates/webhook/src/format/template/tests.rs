use super::*;
use crate::Format;
use proptest::prelude::*;

fn format(template: &str) -> Result<Format, String> {
    Format::new("template", Some(template)).map_err(|error| error.to_string())
}

fn render(template: &str, sample: &Sample) -> Result<(String, &'static str), String> {
    let payload = format(template)?.render(&sample.notification());
    let Payload { body, content_type } = payload.map_err(|error| error.to_string())?;
    Ok((String::from_utf8(body.to_vec()).unwrap(), content_type))
}

fn project() -> Sample {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    sample("project_created", now)
}

#[test]
fn a_template_sees_what_full_sends_and_the_link() {
    let context = FormatContext::new(Some("https://app.example/{seq}")).unwrap();
    let text = "{{ type }} {{ timestamp }} {{ data.project_id }} {{ data.data.sample }} {{ link }}\
                {{ data.reference_ids.container_id }}{{ data.seq + 1 }}";
    let format = Format::in_context("template", Some(text), &context).unwrap();
    let payload = format.render(&project().notification()).unwrap();
    assert_eq!(
        payload.body,
        "project_created 2023-11-14T22:13:20Z proj_sample true https://app.example/0abc1231"
    );
    assert_eq!(payload.content_type, "text/plain; charset=utf-8");
}

#[test]
fn null_prints_nothing_and_what_is_not_there_is_an_error_that_names_the_line() {
    let mut sample = project();
    sample.action.status = None;
    let (text, _) = render("[{{ data.status }}|{{ link }}]", &sample).unwrap();
    assert_eq!(text, "[|]");
    let template = "{% if data.status is none %}\n\n{{ data.nothing }}{% endif %}x";
    assert_eq!(
        render(template, &sample).unwrap_err(),
        "the format: the template fails in line 3 on this action: undefined value"
    );
}

#[test]
fn what_makes_json_of_every_sample_is_sent_as_json() {
    for (template, expected) in [
        (r#"{"text": {{ data.action_details | tojson }}}"#, JSON),
        ("{% set x = data %}{{ x | tojson }}", JSON),
        ("[1, 2]", JSON),
        ("{{ data.action_details }}", TEXT),
        ("{{ data.seq }}", TEXT),
        ("{{ data.status | tojson }}", TEXT),
        ("{not json}", TEXT),
        (
            r#"{"n": {{ data.data.nobody_has_this | default(1) }}}"#,
            JSON,
        ),
    ] {
        let (_, content_type) = render(template, &project()).unwrap();
        assert_eq!(content_type, expected, "{template}");
    }
}

#[test]
fn json_without_tojson_is_refused_before_it_breaks() {
    let error = format(r#"{"text": "{{ data.action_details }}"}"#).unwrap_err();
    assert!(
        error.contains("{{ data.action_details | tojson }}"),
        "{error}"
    );
}

#[test]
fn json_that_breaks_on_an_action_is_not_sent() {
    let template = r#"{"text": "{{ data.environment }}"}"#;
    let mut sample = project();
    assert_eq!(render(template, &sample).unwrap().1, JSON);
    sample.action.environment = Some("s3cr3t\"".to_owned());
    let error = render(template, &sample).unwrap_err();
    assert!(
        error.contains("tojson") && !error.contains("s3cr3t"),
        "{error}"
    );
}

#[test]
fn a_template_for_data_that_no_sample_has_says_itself_what_it_is() {
    let mut sample = project();
    let total = serde_json::from_str("123456789012345678901234567890.5").unwrap();
    sample.action.data.insert("total".to_owned(), total);
    for (template, expected) in [
        (
            r#"{"total": {{ data.data.total | tojson }}}"#,
            (r#"{"total": "123456789012345678901234567890.5"}"#, JSON),
        ),
        (
            "{{ data.data.total }}",
            ("123456789012345678901234567890.5", TEXT),
        ),
    ] {
        let (text, content_type) = render(template, &sample).unwrap();
        assert_eq!((text.as_str(), content_type), expected);
    }
}

#[test]
fn a_mistake_of_the_template_is_refused_with_its_line() {
    for (template, says) in [
        ("a\n{{ type ", "line 2: syntax error"),
        ("a\n\n{{ type | shout }}", "line 3: unknown filter"),
        ("{{ shout(type) }}", "line 1: unknown function"),
        ("{% include 'x' %}", "syntax error"),
        (&"x".repeat(SOURCE_BYTES_MAX + 1), "64 KiB"),
    ] {
        let error = format(template).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let none = Format::new("template", None).unwrap_err().to_string();
    assert!(none.contains("needs a template"), "{none}");
}

#[test]
fn time_and_output_have_their_bounds() {
    let long =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    let error = render(long, &project()).unwrap_err();
    assert!(error.contains("too many steps"), "{error}");
    let mut sample = project();
    sample.action.action_details = Some("x".repeat(OUTPUT_BYTES_MAX));
    let error = render("{{ data.action_details }}!", &sample).unwrap_err();
    assert!(error.contains("1 MiB"), "{error}");
}

#[test]
fn no_error_and_no_debug_repeats_a_value_or_the_template() {
    let mut sample = project();
    sample.action.action_details = Some("s3cr3t".to_owned());
    for template in [
        "{{ data.action_details + 1 }}",
        "{{ data.action_details | int }}",
        "{{ data.action_details.x.y }}",
        "{% for a, b in data.action_details %}{% endfor %}",
        "{{ data[data.action_details] }}",
    ] {
        let error = render(template, &sample).unwrap_err();
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let format = format("the key: hunter2 {{ type }}").unwrap();
    assert!(!format!("{format:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn no_text_is_too_odd_for_a_template(text in "[{}%# a-z|.'\"\\n(\\[\\])]{0,60}") {
        if let Ok(format) = format(&text) {
            let _ = format.render(&project().notification());
        }
    }
}
