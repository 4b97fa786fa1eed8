use std::io::{IsTerminal, Write};

use store::catalog::{self, Server};
use store::{Purpose, Session, quote_identifier};

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
    let server = catalog::server(&session).await?;
    drop_slot(&session, &server, slot).await?;
    drop_publication(&session, &server, publication).await?;
    session
        .batch_execute(&format!(
            "drop schema if exists {} cascade",
            quote_identifier(schema)
        ))
        .await
        .map_err(store::Error::from)?;
    println!("schema {schema} is dropped");
    revoke_create(settings, &session, &server).await?;
    Ok(())
}

/// A slot that setup would refuse to use is somebody else's.
async fn drop_slot(session: &Session, server: &Server, slot: &String) -> Result<(), Failure> {
    let Some(found) = catalog::slot(session, slot).await? else {
        return Ok(());
    };
    if !found.is_ours(&server.database) {
        println!(
            "slot {slot} stays: it is not ours (plugin {}, database {})",
            found.plugin.as_deref().unwrap_or("none"),
            found.database.as_deref().unwrap_or("none")
        );
        return Ok(());
    }
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
    Ok(())
}

async fn drop_publication(session: &Session, server: &Server, name: &str) -> Result<(), Failure> {
    let Some(found) = catalog::publication(session, server.version, name).await? else {
        return Ok(());
    };
    if found.sweeping {
        println!("publication {name} stays: it is FOR ALL TABLES or IN SCHEMA and not ours");
        return Ok(());
    }
    session
        .batch_execute(&format!("drop publication {}", quote_identifier(name)))
        .await
        .map_err(store::Error::from)?;
    println!("publication {name} is dropped");
    Ok(())
}

/// Takes back what setup granted to the run role for owning the publication, where that can be done.
async fn revoke_create(
    settings: &Settings,
    session: &Session,
    server: &Server,
) -> Result<(), Failure> {
    if !was_granted(session).await? {
        return Ok(());
    }
    let (database, role) = (&server.database, &server.user);
    let revoke = format!(
        "revoke create on database {} from {}",
        quote_identifier(database),
        quote_identifier(role)
    );
    let admin = settings.database.admin().map_err(Failure::Settings)?;
    // Best effort: what is asked for is done, whoever may not do this.
    if let Ok(admin) = Session::open(&admin, session.schema(), Purpose::Admin).await
        && let Err(error) = admin
            .batch_execute(&revoke)
            .await
            .map_err(store::Error::from)
    {
        tracing::debug!(%error, "a privilege stays");
    }
    if was_granted(session).await? {
        println!(
            "role {role} may still make schemas in database {database}. If nothing else needs that, run \
             as the database's owner:\n  {revoke};"
        );
    } else {
        println!("role {role} may not make schemas in database {database} any more");
    }
    Ok(())
}

/// Whether the run role was granted CREATE on the database, which its owner has without a grant.
async fn was_granted(session: &Session) -> Result<bool, Failure> {
    let row = session
        .query_one(
            "select exists (select from pg_database d, aclexplode(d.datacl) a
               where d.datname = current_database() and a.privilege_type = 'CREATE'
                 and a.grantee = current_user::regrole and a.grantee <> d.datdba)",
            &[],
        )
        .await
        .map_err(store::Error::from)?;
    Ok(row.get(0))
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
