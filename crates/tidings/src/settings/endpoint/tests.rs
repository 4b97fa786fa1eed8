use store::endpoints::{Order, Rate};

use crate::settings::{Endpoint, Settings};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

/// The one endpoint of these keys, beside a file `s3cret` that holds `text`.
fn read_with(keys: &str, text: &str) -> anyhow::Result<Endpoint> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s3cret"), text).unwrap();
    let path = folder.path().join("tidings.toml");
    let settings = format!(
        "[database]\nurl = \"postgres://tidings@localhost/app\"\n\
         [[endpoints]]\nname = \"ops\"\nurl = \"https://example.com\"\n{keys}\n"
    );
    std::fs::write(&path, settings).unwrap();
    Settings::load(Some(&path)).map(|mut settings| settings.endpoints.remove(0))
}

fn read(keys: &str) -> anyhow::Result<Endpoint> {
    read_with(keys, "s3cret")
}

fn signed(keys: &str) -> anyhow::Result<Endpoint> {
    read(&format!("secret = \"{SECRET}\"\n{keys}"))
}

#[test]
fn every_option_of_an_endpoint_is_read() {
    let endpoint = signed(
        "types = \"deployment\"\nformat = \"template\"\ntemplate = \"{{ type }}\"\norder = \"project\"\n\
         in_flight = 4\nrate = \"600/m\"\ndigest = { within = \"5m\", actions = 20 }\n\
         headers = { \"x-key\" = \"s3cret\" }\nbearer_file = \"s3cret\"\npaused = true\n",
    )
    .unwrap();
    let options = &endpoint.options;
    assert_eq!(endpoint.filter.types, ["deployment"]);
    assert_eq!(options.format.as_deref(), Some("template"));
    assert_eq!(options.template.as_deref(), Some("{{ type }}"));
    assert_eq!(options.order, Order::Project);
    assert_eq!(options.in_flight, Some(4));
    let rate = Rate {
        attempts: 600,
        seconds: 60,
    };
    assert_eq!(options.rate, Some(rate));
    let digest = options.digest.unwrap();
    assert_eq!((digest.seconds, digest.actions), (300, 20));
    let credentials = &endpoint.credentials;
    assert_eq!(credentials.headers().names().collect::<Vec<_>>(), ["x-key"]);
    assert_eq!(credentials.authorization().unwrap().kind(), "bearer");
    assert_eq!(endpoint.paused, Some(true));
}

#[test]
fn a_digest_may_be_its_time_alone() {
    let digest = signed("digest = \"90s\"").unwrap().options.digest.unwrap();
    assert_eq!((digest.seconds, digest.actions), (90, 50));
}

#[test]
fn several_secrets_of_either_kind_sign_newest_first() {
    let endpoint = read(&format!("secrets = [\"{PAIR}\", \"{SECRET}\"]")).unwrap();
    let keys: Vec<String> = endpoint
        .credentials
        .signing
        .iter()
        .map(|signing| signing.key.expose())
        .collect();
    assert_eq!(keys, [PAIR, SECRET]);
}

#[test]
fn a_secret_in_a_file_may_end_with_a_line_break() {
    let endpoint = read_with("secret_file = \"s3cret\"", &format!("{SECRET}\n")).unwrap();
    assert_eq!(endpoint.credentials.signing[0].key.expose(), SECRET);
}

#[test]
fn what_excludes_each_other_or_is_out_of_bounds_is_refused_by_name_and_never_printed() {
    for (keys, says) in [
        ("secret_file = \"s3cret\"", "secret and secret_file"),
        (
            "secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]",
            "secret and secrets",
        ),
        (
            "template = \"s3cret\"\ntemplate_file = \"s3cret\"",
            "template and template_file",
        ),
        ("template_file = \"missing\"", "template_file names"),
        ("order = \"s3cret\"", "parallel"),
        ("rate = \"s3cret\"", "10/s"),
        ("digest = \"s3cret\"", "1s to 24h"),
        ("digest = { within = \"5m\", actions = 1 }", "2 to 1000"),
        ("digest = { within = \"48h\" }", "1s to 24h"),
        ("digest = { within = \"1500ms\" }", "1s to 24h"),
        ("basic = { user = \"u\" }", "password or password_file"),
        (
            "basic = { user = \"u\", password = \"s3cret\" }\nbearer = \"s3cret\"",
            "basic and bearer",
        ),
        (
            "bearer = \"s3cret\"\nbearer_file = \"s3cret\"",
            "bearer_file",
        ),
        ("headers = { \"webhook-id\" = \"s3cret\" }", "webhook-id"),
        ("client_key = \"s3cret\"", "client_certificate"),
        ("client_certificate = \"s3cret\"", "client_certificate"),
        ("pace = \"s3cret\"", "unknown key \"pace\""),
    ] {
        let told = signed(keys).unwrap_err().to_string();
        assert!(told.contains(says), "{keys}: {told}");
        assert!(
            !told.replace("/s3cret", "").contains("s3cret"),
            "{keys}: {told}"
        );
        assert!(told.contains("tidings.toml"), "{told}");
    }
    let told = read("").unwrap_err().to_string();
    assert!(told.contains("secret, secret_file or secrets"), "{told}");
    let told = read("secret = \"s3cret\"").unwrap_err().to_string();
    assert!(
        told.contains("endpoint ops: secret") && !told.contains("s3cret"),
        "{told}"
    );
}

#[test]
fn printing_an_endpoint_prints_no_secret() {
    let endpoint = signed(
        "headers = { \"x-key\" = \"s3cret\" }\nbasic = { user = \"u\", password = \"s3cret\" }",
    )
    .unwrap();
    let printed = format!("{endpoint:?}");
    assert!(
        !printed.contains("s3cret") && !printed.contains("MfKQ9r8"),
        "{printed}"
    );
}
