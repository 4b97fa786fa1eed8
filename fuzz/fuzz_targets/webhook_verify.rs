//! What a request says of itself never verifies unless it was signed, and a Retry-After never asks for more
//! than it may.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use webhook::{
    Key, RETRY_AFTER_MAX, RetryAfter, Secret, TypePattern, VerificationKey, sign, verify,
};

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (id, timestamp, signature, body) = input;
    let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        .parse()
        .expect("a secret");
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let keys = [VerificationKey::Hmac(secret.clone())];
    let told = verify(&keys, Some(id), Some(timestamp), Some(signature), body, now);
    assert!(told.is_err(), "nobody signed this");
    if !id.is_empty() {
        let signed = sign(&[Key::Hmac(secret)], id, now.as_second(), body);
        let at = now.as_second().to_string();
        let whole = format!("{signature} {signed}");
        assert_eq!(
            verify(&keys, Some(id), Some(&at), Some(&whole), body, now),
            Ok(())
        );
    }
    if let Some(asked) = RetryAfter::parse(timestamp) {
        let latest = now.checked_add(RETRY_AFTER_MAX).expect("a day later");
        assert!(asked.time(now) <= latest);
    }
    for text in [id, timestamp, signature] {
        let _ = text.parse::<Secret>();
        let _ = text.parse::<VerificationKey>();
        let _ = webhook::validate_url(text, &[]);
        if let Ok(pattern) = text.parse::<TypePattern>() {
            assert_eq!(pattern.to_string().parse().ok(), Some(pattern));
        }
    }
});
