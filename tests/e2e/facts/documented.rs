//! docs/postgres.md names a test for each fact; here it is held to that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names that stand in backquotes with two colons in them.
fn named(document: &str) -> BTreeSet<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.contains("::") && !text.contains(' '))
        .collect()
}

/// The names of the tests below a directory: `module::name` of each file, its directories first.
fn tests(root: &Path, under: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            tests(&path, &format!("{under}{stem}::"), found);
            continue;
        }
        let module = match &*stem {
            "mod" | "main" => under.to_owned(),
            _ => format!("{under}{stem}::"),
        };
        let source = fs::read_to_string(&path).unwrap();
        let mut lines = source.lines().peekable();
        while let Some(line) = lines.next() {
            if !line.trim().starts_with("#[tokio::test") && line.trim() != "#[test]" {
                continue;
            }
            let name = lines.find_map(|line| {
                let (_, rest) = line.split_once("fn ")?;
                Some(rest.split('(').next()?.to_owned())
            });
            found.insert(format!("{module}{}", name.unwrap()));
        }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e")
}

fn document() -> String {
    fs::read_to_string(sources().join("../../docs/postgres.md")).unwrap()
}

#[test]
fn every_test_that_the_documentation_names_is_there() {
    let (document, mut known) = (document(), BTreeSet::new());
    tests(&sources(), "", &mut known);
    assert!(known.contains("facts::documented::every_test_that_the_documentation_names_is_there"));
    let named = named(&document);
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !known.contains(**name))
        .collect();
    assert!(missing.is_empty(), "docs/postgres.md names {missing:?}");
}

#[test]
fn every_fact_is_in_the_documentation() {
    let (document, mut known) = (document(), BTreeSet::new());
    tests(&sources(), "", &mut known);
    let named = named(&document);
    let facts = known
        .iter()
        .filter(|name| name.starts_with("facts::") && !name.starts_with("facts::documented::"));
    let missing: Vec<_> = facts
        .filter(|name| !named.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/postgres.md lacks {missing:?}");
}
