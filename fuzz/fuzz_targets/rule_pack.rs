//! Whatever a pack or its cases say, they compile or are refused with places in the file, never with a panic;
//! and what compiles once compiles again from its own sources.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::cases::Suite;
use rules::{PackSource, Rules, outline};

fuzz_target!(|text: &str| {
    let pack = PackSource {
        origin: "fuzz.toml".to_owned(),
        text: text.to_owned(),
        schema: None,
    };
    match Rules::compile(std::slice::from_ref(&pack)) {
        Ok(rules) => {
            assert!(Rules::compile(rules.sources()).is_ok());
            let _ = outline(std::slice::from_ref(&pack));
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
    if let Ok(cases) = Suite::read("fuzz.cases.toml", text) {
        let _ = cases.run(&pack);
    }
});
