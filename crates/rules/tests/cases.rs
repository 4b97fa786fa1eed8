//! Every pack that comes along holds its golden cases.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use rules::PackSource;
use rules::cases::Suite;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/rules")
}

/// The packs of the folder, without the files of cases.
fn packs() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut packs: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| !name.ends_with(".cases"))
        .collect();
    packs.sort();
    packs
}

#[test]
fn every_pack_that_comes_along_has_cases_for_each_of_its_rules_and_they_hold() {
    let packs = packs();
    assert!(packs.contains(&"reference".to_owned()), "{packs:?}");
    for pack in packs {
        let origin = format!("{pack}.cases.toml");
        let text = std::fs::read_to_string(folder().join(&origin))
            .unwrap_or_else(|error| panic!("{origin}: {error}"));
        let suite = Suite::read(&origin, &text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(suite.pack(), format!("{pack}.toml"), "{origin}");
        let source = PackSource {
            origin: suite.pack().to_owned(),
            text: std::fs::read_to_string(folder().join(suite.pack())).unwrap(),
            schema: suite.schema().map(str::to_owned),
        };
        assert_eq!(
            rules::builtin(&pack),
            Some(source.text.as_str()),
            "{pack} is not built in"
        );
        let run = suite
            .run(&source)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let failed: Vec<String> = run
            .verdicts
            .iter()
            .filter(|verdict| !verdict.holds())
            .map(ToString::to_string)
            .collect();
        assert!(failed.is_empty(), "{origin}\n{}", failed.join("\n"));
        assert!(
            run.untested.is_empty(),
            "{origin}: no case makes {:?} tell",
            run.untested
        );
    }
}
