use std::time::Duration;

use activity::Lsn;
use anyhow::{Context, anyhow};
use rules::Rules;
use store::catalog;
use store::progress::{self, Lineage};
use store::setup::{Found, Step, StepKind, Wanted, WantedTable, plan};
use store::{Purpose, Session, gaps};
use wal::Connection;

use crate::capture::{self, Verdict};
use crate::cli::Setup;
use crate::settings::{Columns, Settings};
use crate::{Failure, packs};

/// How often a slot creation that waits says whom it waits for.
const WAIT_NOTICE: Duration = Duration::from_secs(2);

pub async fn setup(settings: &Settings, arguments: &Setup) -> Result<(), Failure> {
    let rules = packs::load(settings)?;
    let admin = settings.database.admin().map_err(Failure::Settings)?;
    let admin = Session::open(&admin, &settings.database.schema, Purpose::Admin).await?;
    let wanted = wanted(settings, &rules)?;
    let found = find(&admin, &wanted).await?;
    let steps = plan(&wanted, &found)
        .map_err(|obstacles| Failure::NotReady(listed("these stand in the way", &obstacles)))?;
    if arguments.dry_run {
        print!("{}", script(&steps));
        return Ok(());
    }
    let roles: Vec<&str> = steps
        .iter()
        .filter(|step| step.kind == StepKind::Role)
        .map(|step| step.sql.as_str())
        .collect();
    if !roles.is_empty() {
        return Err(Failure::NotReady(format!(
            "setup makes and grants no roles. Run this as a superuser first, then setup again:\n  {}",
            roles.join("\n  ")
        )));
    }
    admin
        .batch_execute("set lock_timeout = '1s'")
        .await
        .map_err(store::Error::from)?;
    let statements = steps.iter().filter(|step| step.kind == StepKind::Statement);
    for step in statements {
        println!("{}\n    {}", step.why, step.sql);
        execute(&admin, step).await?;
    }
    let mut session = super::session(settings).await?;
    store::migrate(&mut session).await?;
    store::released::clear(&session).await?;
    begin(settings, &admin, &session, arguments.new_slot).await?;
    println!("setup is complete: `tidings run` can start");
    Ok(())
}

/// Publishes the tables of rules that are to take over while `run` runs, where an owner of the tables is
/// named; else only looks whether they are published.
pub async fn publish(settings: &Settings, rules: &Rules) -> Result<(), Failure> {
    if settings.database.has_admin() {
        let admin = settings.database.admin().map_err(Failure::Settings)?;
        let admin = Session::open(&admin, &settings.database.schema, Purpose::Admin).await?;
        let wanted = wanted(settings, rules)?;
        let found = find(&admin, &wanted).await?;
        let steps = plan(&wanted, &found)
            .map_err(|obstacles| Failure::NotReady(listed("these stand in the way", &obstacles)))?;
        admin
            .batch_execute("set lock_timeout = '1s'")
            .await
            .map_err(store::Error::from)?;
        for step in steps.iter().filter(|s| s.kind == StepKind::Statement) {
            tracing::info!(sql = step.sql, "{}", step.why);
            execute(&admin, step).await?;
        }
    }
    let session = super::session(settings).await?;
    let server = catalog::server(&session).await?;
    let publication = &settings.capture.publication;
    capture::check_published(&session, rules, publication, server.version)
        .await
        .map_err(|fault| Failure::NotReady(fault.to_string()))
}

/// What is there, as the session that sets up sees it.
pub(crate) async fn find(admin: &Session, wanted: &Wanted) -> Result<Found, Failure> {
    let server = catalog::server(admin).await?;
    let tables: Vec<_> = wanted.tables.iter().map(|t| t.table.clone()).collect();
    let tables = catalog::tables(admin, &tables).await?;
    let mut read = Vec::new();
    for WantedTable { table, columns, .. } in &wanted.tables {
        let key = tables.get(table).map_or(&[][..], |known| &known.key);
        let named = columns.iter().filter(|column| !key.contains(column));
        read.extend(
            key.iter()
                .chain(named)
                .map(|column| (table, column.as_str())),
        );
    }
    Ok(Found {
        unreadable: catalog::unreadable(admin, &wanted.role, &read).await?,
        role: catalog::role(admin, &wanted.role).await?,
        schema_exists: catalog::schema_exists(admin, &wanted.schema).await?,
        actions_table_exists: catalog::table_exists(admin, &wanted.actions_table).await?,
        may_insert: catalog::may_insert(admin, &wanted.role, &wanted.actions_table).await?,
        sequences: catalog::default_sequences(admin, &wanted.actions_table).await?,
        tables,
        publication: catalog::publication(admin, server.version, &wanted.publication).await?,
        slot: catalog::slot(admin, &wanted.slot).await?,
        server,
    })
}

/// What the settings and rules ask for.
pub(crate) fn wanted(settings: &Settings, rules: &Rules) -> Result<Wanted, Failure> {
    let capture = &settings.capture;
    let target = settings.database.target().map_err(Failure::Settings)?;
    let table = |used: &rules::TableUse| WantedTable {
        table: used.table.clone(),
        columns: used.columns.iter().map(ToString::to_string).collect(),
        listed: capture.columns_of(&used.table) == Columns::Listed,
    };
    Ok(Wanted {
        schema: settings.database.schema.clone(),
        slot: capture.slot.clone(),
        publication: capture.publication.clone(),
        role: target.user().to_owned(),
        actions_table: capture.actions_table.clone(),
        tables: rules.tables().map(table).collect(),
    })
}

async fn execute(admin: &Session, step: &Step) -> Result<(), Failure> {
    let Err(error) = admin
        .batch_execute(&step.sql)
        .await
        .map_err(store::Error::from)
    else {
        return Ok(());
    };
    let sql = &step.sql;
    Err(
        match error
            .sqlstate()
            .map(|state| state.code().to_owned())
            .as_deref()
        {
            Some("42501") => Failure::NotReady(format!(
                "this role may not do that: {error}\nSet database.admin_url to the owner of the worker's \
             tables, or have the owner run the output of `tidings setup --dry-run`. Refused:\n  {sql}"
            )),
            Some("55P03") => Failure::NotReady(format!(
                "a table is locked by somebody else (a VACUUM, an index build, an open ALTER): run \
             `tidings setup` again later. It waited for:\n  {sql}"
            )),
            _ => Failure::Failed(anyhow::Error::new(error).context(sql.clone())),
        },
    )
}

/// The slot and the progress row: from here on nothing is lost.
async fn begin(
    settings: &Settings,
    admin: &Session,
    session: &Session,
    new_slot: bool,
) -> Result<(), Failure> {
    let slot = &settings.capture.slot;
    let server = catalog::server(session).await?;
    let target = settings.database.target().map_err(Failure::Settings)?;
    let mut connection = Connection::open(&target).await.context(
        "no replication connection; pg_hba.conf must let this role in, as for the database",
    )?;
    if !capture::try_lock(&mut connection, slot)
        .await
        .map_err(anyhow::Error::from)?
    {
        return match (progress::read(session).await?, new_slot) {
            (Some(_), false) => Ok(()),
            _ => Err(Failure::NotReady(
                "a sidecar is running on this slot: stop it, then run setup again".to_owned(),
            )),
        };
    }
    let name = &settings.capture.publication;
    let publication = catalog::publication(session, server.version, name).await?;
    let publication =
        publication.ok_or_else(|| anyhow!("publication {name} vanished while setup ran"))?;
    let progress = progress::read(session).await?;
    if let Some(progress) = &progress
        && !new_slot
    {
        let oid = publication.oid;
        let found = capture::look(session, &mut connection, &server, progress, oid)
            .await
            .map_err(anyhow::Error::from)?;
        return goes_on(settings, session, capture::judge(progress, &found)).await;
    }
    let identity = connection
        .identify_system()
        .await
        .map_err(anyhow::Error::from)?;
    let lineage = Lineage {
        system_id: identity.system_id,
        timeline: identity.timeline,
        publication_oid: publication.oid,
    };
    let existing = catalog::slot(session, slot).await?;
    if progress.is_some() {
        // Should setup be ended before the new slot is there, the next `run` makes one.
        gaps::open(session, None, "`tidings setup --new-slot`", true).await?;
    }
    let at = match existing {
        Some(existing) if !new_slot => existing.confirmed.unwrap_or_default(),
        existing => {
            if existing.is_some() {
                session
                    .execute("select pg_drop_replication_slot($1)", &[slot])
                    .await
                    .map_err(store::Error::from)?;
            }
            create_slot(&mut connection, admin, slot, server.version).await?
        }
    };
    if let Some(before) = progress {
        println!(
            "not in the stream: changes between {} and {at}. `tidings run` compares tables with images: rows \
             that differ become actions",
            before.end_lsn
        );
    }
    let new = progress::NewSlot {
        slot,
        publication: name,
        lineage: &lineage,
        at,
        epoch: None,
    };
    progress::init(session, new).await?;
    println!("replication slot {slot} is there; capture begins at {at}");
    Ok(())
}

/// Whether `run` can go on from what is stored, by itself if need be.
async fn goes_on(settings: &Settings, session: &Session, verdict: Verdict) -> Result<(), Failure> {
    let why = match verdict {
        Verdict::Resume | Verdict::Follow { .. } => return Ok(()),
        Verdict::Refuse(text) => return Err(Failure::NotReady(text)),
        Verdict::Rebuild(why) => why,
    };
    let limit = settings.capture.rebuilds_per_hour;
    let refused = capture::refusal(session, limit, &why)
        .await
        .map_err(anyhow::Error::from)?;
    if let Some(text) = refused {
        return Err(Failure::NotReady(text));
    }
    println!("{why}. `tidings run` makes a new slot and compares tables with images");
    Ok(())
}

/// Creates the slot, and says whom that waits for: `admin` may see the transactions of other roles.
async fn create_slot(
    connection: &mut Connection,
    admin: &Session,
    slot: &str,
    version: u32,
) -> Result<Lsn, Failure> {
    let creation = connection.create_slot(slot, version >= 170_000);
    tokio::pin!(creation);
    loop {
        tokio::select! {
            created = &mut creation => {
                return Ok(created.context("the replication slot")?);
            }
            () = tokio::time::sleep(WAIT_NOTICE) => {
                for open in catalog::open_transactions(admin).await? {
                    println!("waiting for {}", super::describe(&open));
                }
            }
        }
    }
}

fn script(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "-- nothing to do\n".to_owned();
    }
    let lines = steps
        .iter()
        .map(|step| format!("-- {}\n{}\n", step.why, step.sql.replace("; ", ";\n")));
    lines.collect()
}

fn listed(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}:");
    for line in lines {
        text.push_str("\n  - ");
        text.push_str(line);
    }
    text
}
