use super::*;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const TIME: i64 = 1_614_265_330;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

const ENTRY: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const ENTRY_1A: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

/// What verifies the first vector, by version.
const BOTH: [(&str, &str); 3] = [(SECRET, ENTRY), (PUBLIC, ENTRY_1A), (PAIR, ENTRY_1A)];

fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn verifying(texts: &[&str]) -> Vec<VerificationKey> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Verifies the first vector's request under this signature header.
fn verify_entries(keys: &[&str], signature: &str) -> Result<(), VerifyError> {
    let time = TIME.to_string();
    let keys = verifying(keys);
    verify(
        &keys,
        Some(ID),
        Some(&time),
        Some(signature),
        BODY,
        at(TIME),
    )
}

#[test]
fn the_published_vectors_come_out() {
    assert_eq!(sign(&keys(&[SECRET]), ID, TIME, BODY), ENTRY);
    assert_eq!(sign(&keys(&[PAIR]), ID, TIME, BODY), ENTRY_1A);
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    assert_eq!(
        sign(&keys(&[OTHER_SECRET]), id, 1_649_367_553, body),
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    );
}

#[test]
fn each_of_several_keys_of_either_version_verifies_alone() {
    let header = sign(&keys(&[OTHER_SECRET, PAIR, SECRET]), ID, TIME, BODY);
    assert!(header.ends_with(&format!(" {ENTRY_1A} {ENTRY}")));
    for key in [SECRET, OTHER_SECRET, PAIR, PUBLIC] {
        assert_eq!(verify_entries(&[key], &header), Ok(()));
    }
    assert_eq!(verify_entries(&[OTHER_SECRET, PUBLIC], ENTRY_1A), Ok(()));
}

#[test]
fn one_right_entry_is_enough_whatever_stands_beside_it() {
    for (key, entry) in BOTH {
        for header in [
            format!("{entry} v1,AAAA v2,{entry} v1a,AAAA"),
            format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw v1,g0hM9SsE {entry}"),
            format!("  nonsense v1, v1 v1a , {entry}  "),
        ] {
            assert_eq!(verify_entries(&[key], &header), Ok(()), "{header}");
        }
    }
}

#[test]
fn a_wrong_or_truncated_signature_is_refused_and_told_apart() {
    for (key, entry) in BOTH {
        let (version, signature) = entry.split_once(',').unwrap();
        let altered = format!("{version},A{}", &signature[1..]);
        let cut = &entry[..entry.len() - 1];
        for (header, expected) in [
            (altered.as_str(), VerifyError::Mismatch),
            (&format!("{version},"), VerifyError::Malformed),
            (&format!("{version},AAAA"), VerifyError::Malformed),
            (cut, VerifyError::Malformed),
            (&entry[..20], VerifyError::Malformed),
            (&format!("{cut} {altered}"), VerifyError::Mismatch),
            (&format!("{altered} {cut}"), VerifyError::Mismatch),
            (signature, VerifyError::OtherVersion),
            (&format!("v2,{signature}"), VerifyError::OtherVersion),
            (" ", VerifyError::OtherVersion),
        ] {
            assert_eq!(verify_entries(&[key], header), Err(expected), "{header}");
        }
    }
    assert_eq!(
        verify_entries(&[SECRET], ENTRY_1A),
        Err(VerifyError::OtherVersion)
    );
    assert_eq!(
        verify_entries(&[PUBLIC], ENTRY),
        Err(VerifyError::OtherVersion)
    );
    assert_eq!(
        verify_entries(&[OTHER_SECRET], ENTRY),
        Err(VerifyError::Mismatch)
    );
}

#[test]
fn a_missing_header_or_secret_is_named() {
    let time = TIME.to_string();
    let headers = [Some(ID), Some(time.as_str()), Some(ENTRY)];
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let keys = verifying(&[SECRET]);
    for (index, name) in names.into_iter().enumerate() {
        for nothing in [None, Some("")] {
            let mut headers = headers;
            headers[index] = nothing;
            let [id, time, signature] = headers;
            let refused = verify(&keys, id, time, signature, BODY, at(TIME));
            assert_eq!(refused, Err(VerifyError::MissingHeader(name)));
        }
    }
    let [id, time, signature] = headers;
    let refused = verify(&[], id, time, signature, BODY, at(TIME));
    assert_eq!(refused, Err(VerifyError::NoSecret));
}

#[test]
fn an_empty_secret_is_no_key() {
    for text in ["", "whsec_", "whsk_", "whpk_"] {
        assert!(text.parse::<VerificationKey>().is_err(), "{text}");
        assert!(text.parse::<Key>().is_err(), "{text}");
    }
}

#[test]
fn a_timestamp_may_be_five_minutes_off_and_no_more() {
    let time = TIME.to_string();
    for (key, entry) in BOTH {
        for (off, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(VerifyError::TimestampOff)),
            (-301, Err(VerifyError::TimestampOff)),
        ] {
            let now = at(TIME + off);
            let keys = verifying(&[key]);
            let verified = verify(&keys, Some(ID), Some(&time), Some(entry), BODY, now);
            assert_eq!(verified, expected, "{off}");
        }
    }
}

#[test]
fn a_timestamp_is_digits_and_nothing_else() {
    let keys = verifying(&[SECRET]);
    for time in [
        "now",
        "+1614265330",
        "-1",
        " 1614265330",
        "1614265330.0",
        "1e9",
        "99999999999999999999",
    ] {
        let refused = verify(&keys, Some(ID), Some(time), Some(ENTRY), BODY, at(TIME));
        assert_eq!(refused, Err(VerifyError::InvalidTimestamp), "{time}");
    }
}

fn key() -> impl Strategy<Value = Key> {
    let encoded = |prefix: &str, bytes: &[u8]| format!("{prefix}{}", STANDARD.encode(bytes));
    prop_oneof![
        prop::collection::vec(any::<u8>(), 24..=64).prop_map(move |bytes| encoded(
            "whsec_", &bytes
        )
        .parse()
        .unwrap()),
        any::<[u8; 32]>().prop_map(move |seed| {
            let pair = ed25519_dalek::SigningKey::from_bytes(&seed).to_keypair_bytes();
            encoded("whsk_", &pair).parse().unwrap()
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_any_changed_byte_does_not(
        key in key(),
        body in proptest::collection::vec(any::<u8>(), 1..200),
        place in any::<prop::sample::Index>(), change in 1..=255u8,
    ) {
        let keys = [VerificationKey::from(&key)];
        let time = TIME.to_string();
        let header = sign(&[key], ID, TIME, &body);
        let check = |id: &[u8], time: &[u8], header: &[u8], body: &[u8]| {
            let text = |bytes| std::str::from_utf8(bytes).ok();
            verify(&keys, text(id), text(time), text(header), body, at(TIME))
        };
        let changed = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            bytes
        };
        let (id, time, header) = (ID.as_bytes(), time.as_bytes(), header.as_bytes());
        prop_assert_eq!(check(id, time, header, &body), Ok(()));
        prop_assert!(check(&changed(id), time, header, &body).is_err());
        prop_assert!(check(id, &changed(time), header, &body).is_err());
        prop_assert!(check(id, time, &changed(header), &body).is_err());
        prop_assert!(check(id, time, header, &changed(&body)).is_err());
    }

    #[test]
    fn no_header_makes_verify_panic(id in ".*", time in ".*", header in "(v1a?,)?.*") {
        let keys = verifying(&[SECRET, PUBLIC]);
        let refused = verify(&keys, Some(&id), Some(&time), Some(&header), BODY, at(TIME));
        prop_assert!(refused.is_err());
        let time = TIME.to_string();
        let refused = verify(&keys, Some(ID), Some(&time), Some(&header), BODY, at(TIME));
        prop_assert!(refused.is_err());
    }
}
