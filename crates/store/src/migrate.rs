use crate::{Error, Session};

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// Every file, by version.
pub(crate) fn known() -> Vec<(i32, String)> {
    let runner = embedded::migrations::runner();
    let mut known: Vec<(i32, String)> = runner
        .get_migrations()
        .iter()
        .map(|migration| (migration.version(), migration.name().to_owned()))
        .collect();
    known.sort();
    known
}

/// Brings the sidecar's schema up to date, forwards only. The schema itself must exist.
///
/// An advisory lock lets one session migrate at a time; each file runs in a transaction of its
/// own, so a killed migration is taken up where it stopped.
pub async fn migrate(session: &mut Session) -> Result<(), Error> {
    let schema = session.schema().to_owned();
    session
        .execute(
            "select pg_advisory_lock(hashtextextended('tidings migrate ' || $1, 0))",
            &[&schema],
        )
        .await?;
    let done = embedded::migrations::runner()
        .set_migration_table_name("migrations")
        .run_async(&mut **session)
        .await;
    session
        .execute(
            "select pg_advisory_unlock(hashtextextended('tidings migrate ' || $1, 0))",
            &[&schema],
        )
        .await?;
    for migration in done.map_err(Error::Migrate)?.applied_migrations() {
        tracing::info!(%migration, "schema migrated");
    }
    Ok(())
}
