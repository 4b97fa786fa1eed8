use std::path::Path;

use serde_json::json;

use crate::settings::PackReference;
use crate::{Failure, packs};

pub fn check(references: &[String], json: bool) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for pack in references {
        let reference = PackReference {
            pack: pack.clone(),
            schema: None,
        };
        sources.push(packs::read(&reference, Path::new(""))?);
    }
    let rules = packs::compile(&sources)?;
    let names: Vec<&str> = rules.rules().map(|rule| rule.name).collect();
    if json {
        let tables: Vec<_> = rules
            .tables()
            .map(|used| json!({"table": used.table.to_string(), "columns": used.columns}))
            .collect();
        println!(
            "{:#}",
            json!({"ok": true, "rules": names, "tables": tables})
        );
        return Ok(());
    }
    println!("{} rules over these tables:", names.len());
    for used in rules.tables() {
        let columns: Vec<&str> = used.columns.iter().map(AsRef::as_ref).collect();
        println!("  {} ({})", used.table, columns.join(", "));
    }
    Ok(())
}
