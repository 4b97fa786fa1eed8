use crate::{Error, Session, migrate};

/// How the sidecar's schema stands to the files that this program brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Those still to be made, oldest first: `V3__rules`.
    pub pending: Vec<String>,
    /// Those that a newer program made.
    pub unknown: Vec<String>,
}

/// `None` where nothing was set up.
pub async fn migrations(session: &Session) -> Result<Option<Migrations>, Error> {
    let there = session
        .query_one(
            "select to_regclass(quote_ident($1) || '.migrations') is not null",
            &[&session.schema()],
        )
        .await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = session
        .query(
            "select version, name::text from migrations order by version",
            &[],
        )
        .await?;
    let made: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known = migrate::known();
    let pending = known
        .iter()
        .filter(|(version, _)| !made.iter().any(|(made, _)| made == version));
    let unknown = made
        .iter()
        .filter(|(version, _)| !known.iter().any(|(known, _)| known == version));
    let named = |(version, name): &(i32, String)| format!("V{version}__{name}");
    Ok(Some(Migrations {
        pending: pending.map(named).collect(),
        unknown: unknown.map(named).collect(),
    }))
}
