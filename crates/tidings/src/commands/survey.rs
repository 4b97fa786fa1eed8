//! Tables compared with images from outside, writing nothing: for `reconcile --dry-run` and `verify`.
//!
//! What the stream has committed and the sidecar has not taken in yet looks like a difference. So what
//! differs is looked at once more after a moment, and what has settled by then is none.

use std::collections::HashMap;
use std::time::Duration;

use activity::{Key, Lsn, Row, TableName};
use rules::{Rules, Shapes, TableUse};
use store::images::{self, ImageTables, Stored, Wanted};
use store::reconcile::{Needed, Purpose as Why};
use store::rows::{self, Limits, Readable, Seen, Span};
use store::{Purpose, Session, catalog, reconcile};

use crate::Failure;
use crate::capture::{self, Compared, Found, Synthetic, Teller};
use crate::settings::Settings;

const ROWS_MAX: usize = 1000;
const BYTES_MAX: usize = 8 << 20;
/// How long what is on its way may take to arrive.
const MOMENT: Duration = Duration::from_secs(2);

pub struct Survey<'a> {
    pub session: Session,
    pub tables: ImageTables,
    pub rules: &'a Rules,
    pub shapes: Shapes,
    complete: Vec<TableName>,
}

/// Some keys of a table, looked at.
pub struct Sight<'a> {
    pub synthetic: Synthetic<'a>,
    pub compared: Vec<Compared<'a>>,
}

/// What a survey hands its sights to.
pub trait Beholder {
    async fn behold(&mut self, survey: &Survey<'_>, sight: &Sight<'_>) -> Result<(), Failure>;
}

impl<'a> Survey<'a> {
    pub async fn begin(settings: &Settings, rules: &'a Rules) -> Result<Self, Failure> {
        let target = settings.database.target().map_err(Failure::Settings)?;
        let schema = &settings.database.schema;
        let session = Session::open(&target, schema, Purpose::Read).await?;
        let used: Vec<TableUse> = rules.tables().cloned().collect();
        let names: Vec<TableName> = used.iter().map(|used| used.table.clone()).collect();
        let found = catalog::tables(&session, &names).await?;
        let shapes = capture::shapes(&used, &found).map_err(|f| Failure::Failed(f.into()))?;
        Ok(Self {
            tables: images::known(&session).await?,
            complete: reconcile::complete(&session).await?,
            session,
            rules,
            shapes,
        })
    }

    pub fn teller(&self) -> Teller<'_> {
        Teller {
            rules: self.rules,
            shapes: &self.shapes,
            session: &self.session,
            tables: &self.tables,
        }
    }

    /// The tables of the rules. Those that have never been captured are left out.
    pub fn needed(&self) -> Vec<Needed> {
        let mut needed = capture::needed(&self.shapes);
        needed.retain(|needed| self.tables.id(&needed.table).is_some());
        needed.sort_by(|a, b| a.table.cmp(&b.table));
        needed
    }

    pub fn is_complete(&self, table: &TableName) -> bool {
        self.complete.contains(table)
    }

    /// Goes through the rows of a table, and then through the images whose rows are gone.
    pub async fn walk(
        &self,
        needed: &Needed,
        why: Why,
        beholder: &mut impl Beholder,
    ) -> Result<(), Failure> {
        let mut cursor = None;
        loop {
            let span = Span::After(cursor);
            let (readable, mut seen) = self.read(needed, &span, ROWS_MAX).await?;
            cursor = seen.cursor.take();
            let rows = std::mem::take(&mut seen.rows);
            let rows = rows
                .into_iter()
                .map(|(key, row)| (key, Some(row)))
                .collect();
            self.look(needed, why, &readable, rows, &seen, beholder)
                .await?;
            if cursor.is_none() {
                break;
            }
        }
        let id = self.tables.id(&needed.table).unwrap_or_default();
        let (mut after, mut limit): (Option<Key>, usize) = (None, ROWS_MAX);
        loop {
            let from = after.as_ref().map(Key::as_str);
            let keys = images::keys(&self.session, id, from, &Wanted::All, limit as i64).await?;
            let Some(last) = keys.last().cloned() else {
                return Ok(());
            };
            let (readable, mut seen) = self.read(needed, &of(&keys), limit).await?;
            if seen.cut && limit > 1 {
                limit /= 2;
                continue;
            }
            after = Some(last);
            let there: HashMap<Key, Row> = std::mem::take(&mut seen.rows).into_iter().collect();
            // Those with a row have been looked at.
            let gone = keys.into_iter().filter(|key| !there.contains_key(key));
            let gone = gone.map(|key| (key, None)).collect();
            self.look(needed, why, &readable, gone, &seen, beholder)
                .await?;
        }
    }

    async fn read(
        &self,
        needed: &Needed,
        span: &Span,
        rows: usize,
    ) -> Result<(Readable, Seen), Failure> {
        let Needed {
            table,
            key,
            columns,
        } = needed;
        let readable = Readable::describe(&self.session, table, key, columns).await?;
        let id = self.tables.id(table).unwrap_or_default();
        let limits = Limits {
            rows,
            bytes: BYTES_MAX,
        };
        let seen = rows::chunk(&self.session, &readable, id, span, limits).await;
        match seen {
            Ok(seen) => Ok((readable, seen)),
            Err(error) if error.sqlstate().is_some_and(|code| code.code() == "42501") => {
                Err(Failure::NotReady(format!(
                    "table {table} can not be read ({error}): run `tidings setup`"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn look(
        &self,
        needed: &Needed,
        why: Why,
        readable: &Readable,
        mut rows: Vec<(Key, Option<Row>)>,
        seen: &Seen,
        beholder: &mut impl Beholder,
    ) -> Result<(), Failure> {
        let complete = self.is_complete(&needed.table);
        let stored = self.stored(needed, &rows).await?;
        let first = compare(&rows, seen, &stored, why, complete)?;
        let on_the_way: Vec<Key> = first
            .iter()
            .filter(|c| may_settle(c))
            .map(|c| c.key.clone())
            .collect();
        drop(first);
        if !on_the_way.is_empty() {
            tokio::time::sleep(MOMENT).await;
            let (_, again) = self
                .read(needed, &of(&on_the_way), on_the_way.len())
                .await?;
            let now: HashMap<&Key, &Row> = again.rows.iter().map(|(key, row)| (key, row)).collect();
            let was: Vec<(Key, Option<Row>)> = on_the_way
                .into_iter()
                .map(|key| {
                    let row = now.get(&key).map(|row| (*row).clone());
                    (key, row)
                })
                .collect();
            let stored_now = self.stored(needed, &was).await?;
            for (key, row) in was {
                // A row that changed again may be on its way again.
                let same = rows
                    .iter()
                    .find(|(k, _)| *k == key)
                    .is_some_and(|(_, r)| values(r) == values(&row));
                let image = |stored: &HashMap<Key, Stored>| {
                    stored.get(&key).map(|s| (s.xid, s.row.clone()))
                };
                let settled = image(&stored) != image(&stored_now);
                if !same || settled {
                    rows.retain(|(k, _)| *k != key);
                }
            }
        }
        let sight = Sight {
            synthetic: Synthetic {
                table: &needed.table,
                relation: &readable.relation,
                key: &needed.key,
                at: Lsn::ZERO,
                lsn: Lsn::ZERO,
                time: seen.at,
                xid: seen.snapshot.settled(),
            },
            compared: compare(&rows, seen, &stored, why, complete)?,
        };
        beholder.behold(self, &sight).await
    }

    async fn stored(
        &self,
        needed: &Needed,
        rows: &[(Key, Option<Row>)],
    ) -> Result<HashMap<Key, Stored>, Failure> {
        let keys: Vec<&Key> = rows.iter().map(|(key, _)| key).collect();
        let tables = images::known(&self.session).await?;
        Ok(images::stored(&self.session, &tables, &needed.table, &keys).await?)
    }
}

fn compare<'a>(
    rows: &'a [(Key, Option<Row>)],
    seen: &Seen,
    stored: &HashMap<Key, Stored>,
    why: Why,
    complete: bool,
) -> Result<Vec<Compared<'a>>, Failure> {
    capture::compare(rows, &seen.snapshot, stored, why, complete, None)
        .map_err(|error| Failure::Failed(anyhow::anyhow!(error)))
}

/// Whether it may be on its way in the stream: all but what is from before Tidings.
fn may_settle(compared: &Compared<'_>) -> bool {
    match compared.found {
        Found::Changed | Found::Deleted | Found::New(activity::Origin::Reconciled) => true,
        Found::New(_) | Found::Same | Found::Gone => false,
    }
}

fn values(row: &Option<Row>) -> Option<&[activity::Value]> {
    row.as_ref().map(|row| row.values.as_slice())
}

fn of(keys: &[Key]) -> Span {
    Span::Of(keys.iter().filter_map(rows::key_texts).collect())
}
