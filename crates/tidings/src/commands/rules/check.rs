use std::collections::{BTreeSet, HashMap};
use std::io::IsTerminal;
use std::path::Path;

use activity::TableName;
use anyhow::anyhow;
use rules::{PackSource, Rules, outline};
use serde_json::{Value, json};
use store::{Purpose, Session, catalog};

use crate::check::{Facts, findings, published};
use crate::cli::CheckRules;
use crate::finding::{Finding, Weight, of_errors, render};
use crate::settings::{Columns, PackReference, Settings};
use crate::{Failure, packs};

/// Compiles packs; with `--live` also compares them with the database of the settings.
pub async fn check(
    settings: impl Fn() -> Result<Settings, Failure>,
    arguments: &CheckRules,
) -> Result<(), Failure> {
    let settings = match arguments.live {
        true => Some(settings()?),
        false => None,
    };
    let sources = sources(settings.as_ref(), &arguments.packs)?;
    let rules = match Rules::compile(&sources) {
        Ok(rules) => rules,
        Err(errors) => return Err(refuse(&of_errors(errors), &sources, arguments.json)),
    };
    let Some(settings) = settings else {
        tell_static(&rules, arguments.json);
        return Ok(());
    };
    live(&settings, &rules, &sources, arguments.json).await
}

/// The packs that are named, where the settings place them; without names those of the settings.
pub(super) fn sources(
    settings: Option<&Settings>,
    named: &[String],
) -> Result<Vec<PackSource>, Failure> {
    let placed = |pack: &String| {
        let known = settings.and_then(|s| s.capture.rules.iter().find(|known| known.pack == *pack));
        let schema = known.and_then(|known| known.schema.clone());
        packs::read(
            &PackReference {
                pack: pack.clone(),
                schema,
            },
            Path::new(""),
        )
    };
    match settings {
        Some(settings) if named.is_empty() => {
            let rules = settings.capture.rules.iter();
            rules
                .map(|pack| packs::read(pack, &settings.folder))
                .collect()
        }
        _ => named.iter().map(placed).collect(),
    }
}

fn tell_static(rules: &Rules, json: bool) {
    let names: Vec<&str> = rules.rules().map(|rule| rule.name).collect();
    if json {
        println!(
            "{:#}",
            json!({"ok": true, "rules": names, "tables": tables_json(rules), "problems": []})
        );
        return;
    }
    println!("{} rules over these tables:", names.len());
    for used in rules.tables() {
        let columns: Vec<&str> = used.columns.iter().map(AsRef::as_ref).collect();
        println!("  {} ({})", used.table, columns.join(", "));
    }
}

async fn live(
    settings: &Settings,
    rules: &Rules,
    sources: &[PackSource],
    json: bool,
) -> Result<(), Failure> {
    let target = settings.database.admin().map_err(Failure::Settings)?;
    let own = &settings.database.schema;
    let session = Session::open(&target, own, Purpose::Admin).await?;
    let server = catalog::server(&session).await?;
    let survey = catalog::survey(&session, &[], own).await?;
    let name = &settings.capture.publication;
    let publication = catalog::publication(&session, server.version, name).await?;
    let outline = outline(sources);
    let used: Vec<(TableName, BTreeSet<String>)> = rules
        .tables()
        .map(|used| (used.table.clone(), used.columns.clone()))
        .collect();
    let listed = |table: &TableName| settings.capture.columns_of(table) == Columns::Listed;
    let facts = Facts {
        used: &used,
        rules: &outline,
        survey: &survey,
        publication: publication.as_ref(),
        actions_table: &settings.capture.actions_table,
        listed: &listed,
        version: server.version,
    };
    let found = findings(&facts);
    let lines = published(&facts);
    if found.iter().any(|finding| finding.level == Weight::Error) {
        return Err(refuse(&found, sources, json));
    }
    let names: Vec<&str> = rules.rules().map(|rule| rule.name).collect();
    if json {
        let told = json!({
            "ok": true, "rules": names, "tables": tables_json(rules), "problems": found,
            "publication": {"name": name, "tables": lines},
        });
        println!("{told:#}");
        return Ok(());
    }
    eprint!("{}", shown(&found, sources));
    println!(
        "{} rules fit this database. Publication {name} will contain:",
        names.len()
    );
    for line in lines {
        println!("  {line}");
    }
    Ok(())
}

fn tables_json(rules: &Rules) -> Vec<Value> {
    let table =
        |used: &rules::TableUse| json!({"table": used.table.to_string(), "columns": used.columns});
    rules.tables().map(table).collect()
}

/// Says what is wrong, and gives the failure that ends the command.
fn refuse(found: &[Finding], sources: &[PackSource], json: bool) -> Failure {
    if json {
        println!("{:#}", json!({"ok": false, "problems": found}));
    } else {
        eprintln!("{}", shown(found, sources));
    }
    let errors = found
        .iter()
        .filter(|finding| finding.level == Weight::Error)
        .count();
    let mistakes = if errors == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{errors} mistakes")
    };
    let files: Vec<&str> = sources
        .iter()
        .map(|source| source.origin.as_str())
        .collect();
    Failure::Settings(anyhow!("{mistakes} in {}", files.join(", ")))
}

fn shown(found: &[Finding], sources: &[PackSource]) -> String {
    let texts: HashMap<&str, &str> = sources
        .iter()
        .map(|source| (source.origin.as_str(), source.text.as_str()))
        .collect();
    render(found, &texts, std::io::stderr().is_terminal())
}
