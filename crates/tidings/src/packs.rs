//! Rule packs by name or file.

use std::path::Path;

use anyhow::Context;
use rules::{PackSource, Rules};

use crate::Failure;
use crate::settings::{PackReference, Settings};

/// Reads and compiles the packs that the settings name.
pub fn load(settings: &Settings) -> Result<Rules, Failure> {
    let sources: Result<Vec<PackSource>, Failure> = settings
        .capture
        .rules
        .iter()
        .map(|pack| read(pack, &settings.folder))
        .collect();
    Ok(compile(&sources?)?.with_context(settings.capture.context))
}

pub fn compile(sources: &[PackSource]) -> Result<Rules, Failure> {
    Rules::compile(sources).map_err(|problems| Failure::Settings(anyhow::anyhow!("{problems}")))
}

/// A built-in pack, or a file relative to `folder`.
pub fn read(reference: &PackReference, folder: &Path) -> Result<PackSource, Failure> {
    let PackReference { pack, schema } = reference;
    let text = match rules::builtin(pack) {
        Some(text) => text.to_owned(),
        None => {
            let path = folder.join(pack);
            std::fs::read_to_string(&path)
                .with_context(|| {
                    format!(
                        "rules: {pack:?} is no built-in pack, and no file at {}",
                        path.display()
                    )
                })
                .map_err(Failure::Settings)?
        }
    };
    Ok(PackSource {
        origin: pack.clone(),
        text,
        schema: schema.clone(),
    })
}
