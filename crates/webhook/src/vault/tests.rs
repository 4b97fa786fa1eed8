use proptest::prelude::*;

use super::*;
use crate::Key;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ENDPOINT: &str = "ep_1";

fn credentials() -> Credentials {
    let key: Key = SECRET.parse().unwrap();
    Credentials::signed_by(key)
}

fn vault(keys: &[u8]) -> Vault {
    let keys: Vec<SecretString> = keys
        .iter()
        .map(|byte| BASE64.encode([*byte; 32]).into())
        .collect();
    Vault::new(&keys).unwrap()
}

fn exposed(credentials: &Credentials) -> Vec<String> {
    let keys = credentials.keys(jiff::Timestamp::UNIX_EPOCH);
    keys.iter().map(Key::expose).collect()
}

#[test]
fn what_is_sealed_opens_and_shows_nothing() {
    let vault = vault(&[1]);
    let stored = vault.seal(&credentials(), ENDPOINT).unwrap();
    assert!(
        !stored.contains("MfKQ") && !stored.contains("signing"),
        "{stored}"
    );
    assert!(stored.starts_with("tidings.1."));
    assert_eq!(exposed(&vault.open(&stored, ENDPOINT).unwrap()), [SECRET]);
    let again = vault.seal(&credentials(), ENDPOINT).unwrap();
    assert_ne!(again, stored);
}

#[test]
fn without_a_key_it_is_plain_and_plain_text_opens_under_any() {
    let stored = Vault::default().seal(&credentials(), ENDPOINT).unwrap();
    assert!(stored.contains(SECRET));
    for vault in [Vault::default(), vault(&[1])] {
        assert_eq!(exposed(&vault.open(&stored, ENDPOINT).unwrap()), [SECRET]);
    }
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let (old, rotated, new) = (vault(&[1]), vault(&[2, 1]), vault(&[2]));
    let stored = old.seal(&credentials(), ENDPOINT).unwrap();
    assert_eq!(exposed(&rotated.open(&stored, ENDPOINT).unwrap()), [SECRET]);
    assert!(old.is_current(&stored) && !rotated.is_current(&stored));

    let resealed = rotated.seal(&credentials(), ENDPOINT).unwrap();
    assert!(rotated.is_current(&resealed) && new.is_current(&resealed));
    assert!(new.open(&resealed, ENDPOINT).is_ok());
    assert!(old.open(&resealed, ENDPOINT).is_err());
}

#[test]
fn plain_text_is_current_only_without_a_key() {
    let plain = Vault::default().seal(&credentials(), ENDPOINT).unwrap();
    let sealed = vault(&[1]).seal(&credentials(), ENDPOINT).unwrap();
    assert!(Vault::default().is_current(&plain) && !vault(&[1]).is_current(&plain));
    assert!(!Vault::default().is_current(&sealed));
}

#[test]
fn a_missing_key_names_the_setting_that_lacks_it() {
    let stored = vault(&[1]).seal(&credentials(), ENDPOINT).unwrap();
    for other in [vault(&[2, 3]), Vault::default()] {
        let error = other.open(&stored, ENDPOINT).unwrap_err().to_string();
        assert!(error.contains("webhooks.encryption_keys"), "{error}");
    }
}

#[test]
fn what_was_sealed_for_one_endpoint_opens_for_no_other() {
    let stored = vault(&[1]).seal(&credentials(), ENDPOINT).unwrap();
    let error = vault(&[1]).open(&stored, "ep_2").unwrap_err().to_string();
    assert!(error.contains("another endpoint"), "{error}");
}

#[test]
fn a_key_is_32_bytes_and_its_error_repeats_nothing() {
    for text in ["", "c2VjcmV0", "not base64", &BASE64.encode([1; 33])] {
        let error = Vault::new(&[text.to_owned().into()]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("webhooks.encryption_keys") && !text.contains("c2Vj"),
            "{text}"
        );
    }
    assert_eq!(format!("{:?}", vault(&[1, 2])), "Vault { keys: 2, .. }");
}

proptest! {
    #[test]
    fn no_stored_text_makes_it_panic(text in ".*", rest in "[A-Za-z0-9_.-]{0,200}") {
        let vault = vault(&[1]);
        let id = &vault.keys[0].id;
        for text in [&text, &format!("{VERSION}{rest}"), &format!("{VERSION}{id}.{rest}")] {
            prop_assert!(vault.open(text, ENDPOINT).is_err());
            vault.is_current(text);
        }
    }

    #[test]
    fn a_changed_byte_is_found_out(place in any::<prop::sample::Index>(), change in 1..=127u8) {
        let vault = vault(&[1]);
        let mut stored = vault.seal(&credentials(), ENDPOINT).unwrap().into_bytes();
        let place = place.index(stored.len());
        stored[place] = (stored[place] ^ change) & 0x7F;
        let changed = String::from_utf8(stored).unwrap();
        prop_assert!(vault.open(&changed, ENDPOINT).is_err());
    }

    #[test]
    fn no_key_text_makes_it_panic(text in ".*") {
        let _ = Vault::new(&[text.into()]);
    }
}
