use proptest::prelude::*;
use rcgen::{CertificateParams, CertifiedKey as Issued, KeyPair as TlsKey};
use secrecy::SecretString;

use super::*;
use crate::SignatureVersion;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key() -> Key {
    Key::generate(SignatureVersion::V1).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> Result<CustomHeaders, Error> {
    let pairs = pairs.iter();
    CustomHeaders::new(pairs.map(|(name, value)| ((*name).to_owned(), (*value).into())))
}

fn refusal<T: fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn rotation_puts_the_new_key_first_and_ends_the_old_after_the_overlap() {
    let (old, new) = (key(), key());
    let rotated = Credentials::signed_by(old.clone())
        .rotate(new.clone(), HOUR, at(0))
        .unwrap();
    let exposed =
        |second| -> Vec<String> { rotated.keys(at(second)).iter().map(Key::expose).collect() };
    assert_eq!(exposed(3599), [new.expose(), old.expose()]);
    assert_eq!(exposed(3600), [new.expose()]);
}

#[test]
fn a_rotation_lengthens_no_key_and_drops_the_expired() {
    let (first, second, third) = (key(), key(), key());
    let credentials = Credentials::signed_by(first)
        .rotate(second, HOUR, at(0))
        .unwrap()
        .rotate(third, HOUR * 24, at(10))
        .unwrap();
    let ends: Vec<_> = credentials
        .signing
        .iter()
        .map(|key| key.expires_at)
        .collect();
    assert_eq!(ends, [None, Some(at(10 + 86400)), Some(at(3600))]);
    let credentials = credentials.rotate(key(), HOUR, at(3600)).unwrap();
    assert_eq!(credentials.signing.len(), 3);
}

#[test]
fn a_rotation_without_overlap_leaves_the_new_key_alone() {
    let credentials = Credentials::signed_by(key());
    let rotated = credentials.rotate(key(), SignedDuration::ZERO, at(0));
    assert_eq!(rotated.unwrap().signing.len(), 1);
}

#[test]
fn keys_do_not_pile_up_and_none_signs_twice() {
    let mut credentials = Credentials::signed_by(key());
    for _ in 1..SIGNING_KEYS_MAX {
        credentials = credentials.rotate(key(), HOUR, at(0)).unwrap();
    }
    let full = credentials.clone().rotate(key(), HOUR, at(0));
    assert!(refusal(full).contains("wait until one of them expires"));
    assert!(credentials.clone().rotate(key(), HOUR, at(3600)).is_ok());

    let same = credentials.signing[1].key.clone();
    assert!(refusal(credentials.rotate(same, HOUR, at(0))).contains("signs already"));
}

proptest! {
    #[test]
    fn after_any_rotations_the_newest_signs_and_the_count_is_bounded(
        steps in prop::collection::vec((0..7200i64, 0..7200i64), 1..12),
    ) {
        let mut now = 0;
        let mut newest = key();
        let mut credentials = Credentials::signed_by(newest.clone());
        for (pause, overlap) in steps {
            now += pause;
            let next = key();
            let overlap = SignedDuration::from_secs(overlap);
            if let Ok(rotated) = credentials.clone().rotate(next.clone(), overlap, at(now)) {
                (credentials, newest) = (rotated, next);
            }
            let keys = credentials.keys(at(now));
            prop_assert_eq!(keys[0].expose(), newest.expose());
            prop_assert!(credentials.signing.len() <= SIGNING_KEYS_MAX);
            prop_assert!(credentials.signing[1..].iter().all(|key| key.expires_at.is_some()));
        }
    }
}

#[test]
fn headers_of_ours_and_of_the_connection_are_reserved() {
    for name in [
        "webhook-id",
        "Webhook-Anything",
        "content-type",
        "Content-Length",
        "host",
        "connection",
        "transfer-encoding",
        "te",
        "upgrade",
        "proxy-authorization",
        "expect",
        "user-agent",
        "accept-encoding",
        "x-forwarded-for",
        "Forwarded",
    ] {
        let text = refusal(headers(&[(name, "s3cret")]));
        assert!(
            text.contains(&name.to_lowercase()) && !text.contains("s3cret"),
            "{text}"
        );
    }
    for name in [
        "x-api-key",
        "Authorization",
        "cookie",
        "accept",
        "traceparent",
        "x-webhook-key",
    ] {
        assert!(headers(&[(name, "s3cret")]).is_ok(), "{name}");
    }
}

#[test]
fn what_no_header_holds_is_refused_without_repeating_it() {
    for (name, value) in [
        ("", "s3cret"),
        ("s3cret value", "x"),
        ("x:s3cret", "x"),
        ("x-key", ""),
        ("x-key", "s3cret\r\nhost: evil"),
        ("x-key", "s3cret\n"),
        ("x-key", " s3cret"),
        ("x-key", "s3crét"),
        ("x-key", "s3cret\0"),
    ] {
        let text = refusal(headers(&[(name, value)]));
        assert!(!text.contains("s3cr"), "{text}");
    }
    assert!(refusal(headers(&[("x-key", "a"), ("X-Key", "b")])).contains("twice"));
}

#[test]
fn headers_are_bounded_in_number_and_size() {
    let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), SecretString::from("v")));
    assert!(CustomHeaders::new(many(HEADERS_MAX)).is_ok());
    assert!(refusal(CustomHeaders::new(many(HEADERS_MAX + 1))).contains("at most 20"));
    let long = |length| "a".repeat(length);
    assert!(headers(&[("x-a", &long(HEADERS_BYTES_MAX - 3))]).is_ok());
    assert!(refusal(headers(&[("x-a", &long(HEADERS_BYTES_MAX - 2))])).contains("bytes together"));
}

#[test]
fn authorizations_become_the_header_they_stand_for() {
    let basic = Authorization::basic("Aladdin".to_owned(), "open sesame".into()).unwrap();
    // The example of RFC 7617.
    assert_eq!(basic.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let bearer = Authorization::bearer("mF_9.B5f-4.1JqM".into()).unwrap();
    assert_eq!(bearer.header(), "Bearer mF_9.B5f-4.1JqM");
    assert!(basic.header().is_sensitive() && bearer.header().is_sensitive());
    assert_eq!(
        format!("{basic:?} {bearer:?}"),
        "[redacted basic] [redacted bearer]"
    );
}

#[test]
fn an_authorization_that_no_header_holds_is_refused() {
    for (user, password) in [
        ("a:b", "s3cret"),
        ("a", "s3cret\n"),
        ("\u{7f}", "s3cret"),
        ("", ""),
    ] {
        let text = refusal(Authorization::basic(user.to_owned(), password.into()));
        assert!(!text.contains("s3cret"), "{text}");
    }
    let long = "s".repeat(4097);
    for token in ["", "Bearer s3cret", "s3cret\r\n", "s3crét", &long] {
        let text = refusal(Authorization::bearer(token.into()));
        assert!(!text.contains("s3cr"), "{text}");
    }
}

#[test]
fn an_authorization_excludes_a_header_of_that_name_however_they_come() {
    let bearer = || Some(Authorization::bearer("t0ken".into()).unwrap());
    let header = || headers(&[("Authorization", "Custom x")]).unwrap();
    let one = Credentials::signed_by(key())
        .with_headers(header())
        .unwrap();
    assert!(refusal(one.with_authorization(bearer())).contains("keep one"));
    let other = Credentials::signed_by(key())
        .with_authorization(bearer())
        .unwrap();
    assert!(refusal(other.with_headers(header())).contains("keep one"));
    let stored = r#"{"signing":[],"headers":{"authorization":"x"},"authorization":{"bearer":"y"}}"#;
    assert!(serde_json::from_str::<Credentials>(stored).is_err());
}

/// A certificate and its key as PEM, and another key.
fn issued() -> (String, String, String) {
    let Issued { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["client.example".to_owned()]).unwrap();
    let other = TlsKey::generate().unwrap();
    (
        cert.pem(),
        signing_key.serialize_pem(),
        other.serialize_pem(),
    )
}

#[test]
fn a_client_certificate_is_told_apart_by_its_content() {
    let (cert, key, other) = issued();
    let read = |text: String| ClientCertificate::from_pem(text.into());
    let one = read(format!("{cert}{key}")).unwrap();
    let turned = read(format!("{key}\n{cert}")).unwrap();
    assert_eq!(one.fingerprint(), turned.fingerprint());
    let key = TlsKey::from_pem(&other).unwrap();
    let cert = CertificateParams::default().self_signed(&key).unwrap();
    let another = read(format!("{}{other}", cert.pem())).unwrap();
    assert_ne!(one.fingerprint(), another.fingerprint());
    assert_eq!(format!("{one:?}"), "[redacted]");
}

#[test]
fn a_client_certificate_that_tls_can_not_show_says_what_it_lacks() {
    let (cert, key, other) = issued();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (pem, says) in [
        (String::new(), "section CERTIFICATE"),
        ("s3cret".to_owned(), "section CERTIFICATE"),
        (key.clone(), "section CERTIFICATE"),
        (cert.clone(), "needs its key"),
        (format!("{cert}{encrypted}"), "passphrase"),
        (format!("{cert}{other}"), "belong together"),
        (format!("{cert}{key}{other}"), "not several"),
        (format!("{}{key}", cert.repeat(11)), "at most 10"),
        (" ".repeat(65 << 10), "64 KiB"),
        (
            "-----BEGIN CERTIFICATE-----\ns3cret!\n-----END CERTIFICATE-----\n".to_owned(),
            "no PEM",
        ),
        (
            format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{key}"),
            "can not be read",
        ),
    ] {
        let text = refusal(ClientCertificate::from_pem(pem.into()));
        assert!(text.contains(says) && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn everything_reads_back_as_it_was_stored_and_debug_shows_none_of_it() {
    let (cert, tls_key, _) = issued();
    let certificate = ClientCertificate::from_pem(format!("{cert}{tls_key}").into()).unwrap();
    let basic = Authorization::basic("user".to_owned(), "s3cret".into()).unwrap();
    let credentials = Credentials::signed_by(key())
        .rotate(Key::generate(SignatureVersion::V1a).unwrap(), HOUR, at(0))
        .unwrap()
        .with_headers(headers(&[("x-api-key", "s3cret"), ("Accept", "*/*")]).unwrap())
        .unwrap()
        .with_authorization(Some(basic))
        .unwrap()
        .with_client_certificate(Some(certificate));
    let stored = serde_json::to_string(&credentials).unwrap();
    let read: Credentials = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    assert_eq!(
        read.headers().names().collect::<Vec<_>>(),
        ["x-api-key", "accept"]
    );

    let printed = format!("{credentials:?} {:?} {:?}", read.headers(), read.signing);
    assert!(
        !printed.contains("s3cret") && !printed.contains("whs"),
        "{printed}"
    );
}

#[test]
fn credentials_of_keys_alone_are_stored_as_before_there_was_more() {
    let stored = r#"{"signing":[{"key":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]}"#;
    let read: Credentials = serde_json::from_str(stored).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    assert!(serde_json::from_str::<Credentials>(r#"{"signing":[],"other":1}"#).is_err());
}
