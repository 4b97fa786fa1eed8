use super::*;
use proptest::prelude::*;

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const TIME: i64 = 1_614_265_330;
const ENTRY: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn first() -> Secret {
    secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
}

fn second() -> Secret {
    secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
}

/// Verifies the first vector's request under this signature header.
fn verify_entries(signature: &str) -> Result<(), VerifyError> {
    let time = TIME.to_string();
    verify(
        &[first()],
        Some(ID),
        Some(&time),
        Some(signature),
        BODY,
        at(TIME),
    )
}

#[test]
fn the_published_vectors_come_out() {
    assert_eq!(sign(&[first()], ID, TIME, BODY), ENTRY);
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    assert_eq!(
        sign(
            &[second()],
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            body
        ),
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    );
}

#[test]
fn each_of_several_secrets_verifies_alone() {
    let header = sign(&[second(), first()], ID, TIME, BODY);
    assert!(header.ends_with(&format!(" {ENTRY}")));
    let time = TIME.to_string();
    for secret in [first(), second()] {
        let verified = verify(
            &[secret],
            Some(ID),
            Some(&time),
            Some(&header),
            BODY,
            at(TIME),
        );
        assert_eq!(verified, Ok(()));
    }
}

#[test]
fn one_right_entry_is_enough_whatever_stands_beside_it() {
    for header in [
        format!("{ENTRY} v1,AAAA v2,{ENTRY}"),
        format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw {ENTRY}"),
        format!("  nonsense v1, v1 , {ENTRY}  "),
    ] {
        assert_eq!(verify_entries(&header), Ok(()), "{header}");
    }
}

#[test]
fn a_wrong_or_truncated_signature_is_refused() {
    for header in [
        "v1,",
        "v1,AAAA",
        &ENTRY[..ENTRY.len() - 1],
        &ENTRY[..20],
        &ENTRY[3..],
        &ENTRY.replace("v1", "v2"),
        &ENTRY.replace("v1", "v1a"),
        "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ] {
        assert_eq!(
            verify_entries(header),
            Err(VerifyError::Mismatch),
            "{header}"
        );
    }
}

#[test]
fn a_missing_header_or_secret_is_named() {
    let time = TIME.to_string();
    let headers = [Some(ID), Some(time.as_str()), Some(ENTRY)];
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    for (index, name) in names.into_iter().enumerate() {
        for nothing in [None, Some("")] {
            let mut headers = headers;
            headers[index] = nothing;
            let [id, time, signature] = headers;
            let refused = verify(&[first()], id, time, signature, BODY, at(TIME));
            assert_eq!(refused, Err(VerifyError::MissingHeader(name)));
        }
    }
    let [id, time, signature] = headers;
    let refused = verify(&[], id, time, signature, BODY, at(TIME));
    assert_eq!(refused, Err(VerifyError::NoSecret));
}

#[test]
fn a_timestamp_may_be_five_minutes_off_and_no_more() {
    let time = TIME.to_string();
    for (off, expected) in [
        (0, Ok(())),
        (300, Ok(())),
        (-300, Ok(())),
        (301, Err(VerifyError::TimestampOff)),
        (-301, Err(VerifyError::TimestampOff)),
    ] {
        let now = at(TIME + off);
        let verified = verify(&[first()], Some(ID), Some(&time), Some(ENTRY), BODY, now);
        assert_eq!(verified, expected, "{off}");
    }
}

#[test]
fn a_timestamp_is_digits_and_nothing_else() {
    for time in [
        "now",
        "+1614265330",
        "-1",
        " 1614265330",
        "1614265330.0",
        "1e9",
        "99999999999999999999",
    ] {
        let refused = verify(
            &[first()],
            Some(ID),
            Some(time),
            Some(ENTRY),
            BODY,
            at(TIME),
        );
        assert_eq!(refused, Err(VerifyError::InvalidTimestamp), "{time}");
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_any_changed_byte_does_not(
        key in proptest::collection::vec(any::<u8>(), 24..=64),
        body in proptest::collection::vec(any::<u8>(), 1..200),
        place in any::<prop::sample::Index>(), change in 1..=255u8,
    ) {
        let secrets = [secret(&format!("whsec_{}", STANDARD.encode(key)))];
        let time = TIME.to_string();
        let header = sign(&secrets, ID, TIME, &body);
        let check = |id: &[u8], time: &[u8], header: &[u8], body: &[u8]| {
            let text = |bytes| std::str::from_utf8(bytes).ok();
            verify(&secrets, text(id), text(time), text(header), body, at(TIME))
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
    fn no_header_makes_verify_panic(id in ".*", time in ".*", header in ".*") {
        let refused = verify(&[first()], Some(&id), Some(&time), Some(&header), BODY, at(TIME));
        prop_assert!(refused.is_err());
    }
}
