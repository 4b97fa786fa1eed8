use std::io::{IsTerminal, Write};

use store::{catalog, quote_identifier};

use super::session;
use crate::Failure;
use crate::cli::Uninstall;
use crate::settings::Settings;

pub async fn uninstall(settings: &Settings, arguments: &Uninstall) -> Result<(), Failure> {
    let (slot, schema) = (&settings.capture.slot, &settings.database.schema);
    let publication = &settings.capture.publication;
    println!(
        "This drops replication slot {slot}, publication {publication} and schema {schema} with the \
         action log, endpoints and parked deliveries. {} stays as it is.",
        settings.capture.actions_table
    );
    if !arguments.yes && !confirmed()? {
        return Err(Failure::NotReady(
            "nothing was dropped: say yes, or give --yes".to_owned(),
        ));
    }
    let session = session(settings).await?;
    let run = async |sql: &str| session.batch_execute(sql).await.map_err(store::Error::from);
    if let Some(found) = catalog::slot(&session, slot).await? {
        if let Some(pid) = found.active_pid {
            return Err(Failure::NotReady(format!(
                "process {pid} reads slot {slot}: stop `tidings run` first"
            )));
        }
        session
            .execute("select pg_drop_replication_slot($1)", &[slot])
            .await
            .map_err(store::Error::from)?;
        println!("slot {slot} is dropped");
    }
    run(&format!(
        "drop publication if exists {}",
        quote_identifier(publication)
    ))
    .await?;
    run(&format!(
        "drop schema if exists {} cascade",
        quote_identifier(schema)
    ))
    .await?;
    println!("publication {publication} and schema {schema} are dropped");
    Ok(())
}

/// Asks on a terminal; elsewhere nobody answers.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("Go on? [y/N] ");
    std::io::stdout().flush().map_err(anyhow::Error::from)?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(anyhow::Error::from)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
