use std::io::Write;

use anyhow::Context;
use rules::PackSource;
use store::{Purpose, Session, catalog};

use crate::cli::Init;
use crate::settings::Settings;
use crate::{Failure, init, packs};

pub async fn init(settings: &Settings, arguments: &Init) -> Result<(), Failure> {
    if let Some(path) = arguments.output.as_ref().filter(|path| path.exists()) {
        return Err(Failure::NotReady(format!(
            "{} exists already: name another file, or remove it",
            path.display()
        )));
    }
    let target = settings.database.admin().map_err(Failure::Settings)?;
    let own = &settings.database.schema;
    let session = Session::open(&target, own, Purpose::Admin).await?;
    let survey = catalog::survey(&session, &arguments.schema, own).await?;
    if let Some(missing) = arguments
        .schema
        .iter()
        .find(|schema| !survey.keys().any(|table| table.schema == **schema))
    {
        return Err(Failure::NotReady(format!(
            "schema {missing:?} has no tables that this role can see: write it as the catalog has it, \
             capitals included"
        )));
    }
    let text = init::draft(&survey, &settings.capture.actions_table).map_err(Failure::NotReady)?;
    let origin = arguments
        .output
        .as_ref()
        .map_or("the draft".to_owned(), |path| path.display().to_string());
    // A draft that does not compile is a mistake of ours: better told than written.
    packs::compile(&[PackSource {
        origin,
        text: text.clone(),
        schema: None,
    }])
    .map_err(|failure| anyhow::anyhow!("the draft does not compile: {failure}"))?;
    let Some(path) = &arguments.output else {
        print!("{text}");
        return Ok(());
    };
    let mut file = std::fs::File::create_new(path)
        .with_context(|| format!("{} can not be made", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("{} can not be written", path.display()))?;
    let choices = text.matches("CHOOSE").count();
    println!(
        "{} is written{}. Name it in capture.rules, then run `tidings rules check {0}` and `tidings setup`",
        path.display(),
        match choices {
            0 => String::new(),
            1 => ", with 1 choice to make (CHOOSE)".to_owned(),
            n => format!(", with {n} choices to make (CHOOSE)"),
        }
    );
    Ok(())
}
