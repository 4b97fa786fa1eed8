//! Every table that rules could read, with what its columns tell of their meaning.
//!
//! Reads the catalog, and of statistics only the words of columns that are named like a status;
//! never a row. What a role may not SELECT has no statistics for it.

use std::collections::{BTreeMap, HashMap};

use activity::TableName;

use super::{Generated, Table, tables};
use crate::{Error, Session};

/// More different values than this are no set of words.
const WORDS_MAX: f32 = 24.0;

/// A table of the worker's, as far as the catalog describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyedTable {
    /// What tells its rows apart, in the key's order; empty where it could not be published.
    pub key: Vec<String>,
    /// In the table's order.
    pub columns: Vec<SurveyedColumn>,
    /// Columns that are unique by themselves, the key's included.
    pub unique: Vec<String>,
    /// Of one column each.
    pub foreign: Vec<ForeignKey>,
    /// Why its updates would fail once it is published.
    pub unidentified: bool,
    /// Whether the whole old row is in the stream.
    pub full: bool,
    /// The columns that the server makes of others.
    pub generated: Vec<(String, Generated)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyedColumn {
    pub name: String,
    pub type_oid: u32,
    /// As SQL writes it: `character varying(255)`.
    pub type_name: String,
    pub not_null: bool,
    /// A default, an identity or a generation: an insert need not give it.
    pub fills_itself: bool,
    /// Large values are stored out of line and left out of updates that do not touch them.
    pub toastable: bool,
    /// Its values, where the database knows them all or the most common ones.
    pub words: Vec<String>,
    pub words_from: Option<WordsFrom>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordsFrom {
    Enum,
    Check,
    Statistics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub column: String,
    pub table: TableName,
    pub target: String,
}

pub type Survey = BTreeMap<TableName, SurveyedTable>;

/// All tables of these schemas; of all but the server's own and `except` where none are named.
pub async fn survey(session: &Session, schemas: &[String], except: &str) -> Result<Survey, Error> {
    let mut survey = columns(session, schemas, except).await?;
    let names: Vec<TableName> = survey.keys().cloned().collect();
    identify(&mut survey, tables(session, &names).await?);
    unique(session, &mut survey).await?;
    constraints(session, &mut survey).await?;
    statistics(session, &mut survey).await?;
    Ok(survey)
}

async fn columns(session: &Session, schemas: &[String], except: &str) -> Result<Survey, Error> {
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text, a.attname::text, a.atttypid,
               format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.atthasdef or a.attidentity <> '', t.typlen = -1 and a.attstorage <> 'p',
               (select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e
                where e.enumtypid = case t.typtype when 'd' then t.typbasetype else t.oid end)
             from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             join pg_type t on t.oid = a.atttypid
             where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
               and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
               and n.nspname <> $2 and (cardinality($1::text[]) = 0 or n.nspname = any($1))
             order by n.nspname, c.relname, a.attnum",
            &[&schemas, &except],
        )
        .await?;
    let mut survey = Survey::new();
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let labels: Option<Vec<String>> = row.get(8);
        let column = SurveyedColumn {
            name: row.get(2),
            type_oid: row.get(3),
            type_name: row.get(4),
            not_null: row.get(5),
            fills_itself: row.get(6),
            toastable: row.get(7),
            words_from: labels.is_some().then_some(WordsFrom::Enum),
            words: labels.unwrap_or_default(),
        };
        survey.entry(table).or_default().columns.push(column);
    }
    Ok(survey)
}

fn identify(survey: &mut Survey, tables: HashMap<TableName, Table>) {
    for (name, table) in tables {
        if let Some(surveyed) = survey.get_mut(&name) {
            surveyed.unidentified = table.unidentified.is_some();
            surveyed.full = table.full.is_some();
            surveyed.key = table.key;
            surveyed.generated = table.generated;
        }
    }
}

async fn unique(session: &Session, survey: &mut Survey) -> Result<(), Error> {
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text, a.attname::text
             from pg_index i
             join pg_class c on c.oid = i.indrelid
             join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
             where i.indisunique and i.indisvalid and i.indnkeyatts = 1 and i.indpred is null
               and i.indexprs is null and n.nspname not like 'pg\\_%'
             group by 1, 2, 3 order by 1, 2, 3",
            &[],
        )
        .await?;
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if let Some(surveyed) = survey.get_mut(&table) {
            surveyed.unique.push(row.get(2));
        }
    }
    Ok(())
}

/// Foreign keys and checks of one column.
async fn constraints(session: &Session, survey: &mut Survey) -> Result<(), Error> {
    let rows = session
        .query(
            "select n.nspname::text, c.relname::text, a.attname::text,
               fn.nspname::text, fc.relname::text, fa.attname::text,
               case when k.contype = 'c' then pg_get_constraintdef(k.oid) end
             from pg_constraint k
             join pg_class c on c.oid = k.conrelid
             join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.conkey[1]
             left join pg_class fc on fc.oid = k.confrelid
             left join pg_namespace fn on fn.oid = fc.relnamespace
             left join pg_attribute fa on fa.attrelid = fc.oid and fa.attnum = k.confkey[1]
             where k.contype in ('f', 'c') and cardinality(k.conkey) = 1
               and n.nspname not like 'pg\\_%'
             order by k.oid",
            &[],
        )
        .await?;
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let column: &str = row.get(2);
        let Some(surveyed) = survey.get_mut(&table) else {
            continue;
        };
        if let Some(definition) = row.get::<_, Option<&str>>(6) {
            let words = checked_words(definition);
            tell(surveyed, column, words, WordsFrom::Check);
        } else if let (Some(schema), Some(name), Some(target)) = (
            row.get::<_, Option<String>>(3),
            row.get::<_, Option<String>>(4),
            row.get::<_, Option<String>>(5),
        ) {
            surveyed.foreign.push(ForeignKey {
                column: column.to_owned(),
                table: TableName::new(schema, name),
                target,
            });
        }
    }
    Ok(())
}

async fn statistics(session: &Session, survey: &mut Survey) -> Result<(), Error> {
    let rows = session
        .query(
            "select schemaname::text, tablename::text, attname::text,
               most_common_vals::text::text[]
             from pg_stats
             where n_distinct > 0 and n_distinct <= $1 and most_common_vals is not null
               and attname ~* '(status|state|phase|stage|result|outcome|conclusion)$'
               and schemaname not like 'pg\\_%'",
            &[&WORDS_MAX],
        )
        .await?;
    for row in &rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        if let Some(surveyed) = survey.get_mut(&table) {
            tell(surveyed, row.get(2), row.get(3), WordsFrom::Statistics);
        }
    }
    Ok(())
}

/// Gives a column its words, unless it has better ones or they are none.
fn tell(table: &mut SurveyedTable, column: &str, words: Vec<String>, from: WordsFrom) {
    let column = table.columns.iter_mut().find(|c| c.name == column);
    if let Some(column) = column.filter(|c| c.words_from.is_none() && !words.is_empty()) {
        column.words = words;
        column.words_from = Some(from);
    }
}

/// The texts that a check allows, as `pg_get_constraintdef` prints it; none where it is of another
/// kind.
fn checked_words(definition: &str) -> Vec<String> {
    let is_list = definition.contains(" = ANY (") || definition.contains(" = '");
    let is_other = ["<>", "~", " NOT ", "<", ">", "length("]
        .iter()
        .any(|other| definition.contains(other));
    if !is_list || is_other {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut rest = definition;
    while let Some((_, quoted)) = rest.split_once('\'') {
        let mut word = String::new();
        let mut after = quoted;
        loop {
            let Some((text, next)) = after.split_once('\'') else {
                return words;
            };
            word.push_str(text);
            match next.strip_prefix('\'') {
                Some(next) => {
                    word.push('\'');
                    after = next;
                }
                None => {
                    rest = next;
                    break;
                }
            }
        }
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_lists_words_tells_them_and_no_other_does() {
        let listed = "CHECK (((status)::text = ANY ((ARRAY['queued'::character varying, \
                      'it''s done'::character varying])::text[])))";
        assert_eq!(checked_words(listed), ["queued", "it's done"]);
        let either = "CHECK (((state = 'on'::text) OR (state = 'off'::text)))";
        assert_eq!(checked_words(either), ["on", "off"]);
        for other in [
            "CHECK ((status <> 'x'::text))",
            "CHECK ((status ~ '^a'::text))",
            "CHECK ((length(status) > 0))",
            "CHECK ((price > (0)::numeric))",
        ] {
            assert!(checked_words(other).is_empty(), "{other}");
        }
    }
}
