//! A connection URL is read or refused, and neither its display nor a refusal repeats its password.
#![no_main]

use connect::Target;
use libfuzzer_sys::fuzz_target;

const PASSWORD: &str = "pass-w0rd-of-nobody";

fuzz_target!(|text: &str| {
    let _ = Target::parse(text).map(|target| target.to_string());
    let secret = format!("postgres://user:{PASSWORD}@{text}");
    let told = match Target::parse(&secret) {
        Ok(target) => format!("{target} {target:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!told.contains(PASSWORD), "{told}");
});
