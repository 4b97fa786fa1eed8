//! What the columns of a table are for, by their names and types. Pure.

use activity::TableName;
use store::catalog::{SurveyedColumn, SurveyedTable};

use crate::secrecy::looks_secret;
use crate::words::{noun, words};

type Patterns = &'static [&'static [&'static str]];

const NAMES: Patterns = &[
    &["name"],
    &["title"],
    &["display", "name"],
    &["full", "name"],
    &["label"],
    &["slug"],
    &["domain"],
    &["hostname"],
    &["app", "name"],
    &["db", "name"],
    &["database", "name"],
    &["project", "name"],
    &["site", "name"],
    &["repo", "name"],
];
const OWNERS: Patterns = &[
    &["user", "id"],
    &["owner", "id"],
    &["created", "by"],
    &["created", "by", "id"],
    &["created", "by", "user", "id"],
    &["creator", "id"],
    &["author", "id"],
    &["owner", "user", "id"],
    &["triggered", "by"],
    &["triggered", "by", "id"],
    &["started", "by"],
    &["deployed", "by"],
    &["requested", "by"],
    &["user", "uuid"],
    &["owner"],
    &["author"],
    &["creator"],
    &["user"],
];
const CREATED: Patterns = &[
    &["created", "at"],
    &["created"],
    &["inserted", "at"],
    &["created", "on"],
    &["date", "created"],
    &["created", "date"],
    &["creation", "date"],
    &["creation", "time"],
    &["create", "time"],
    &["ctime"],
    &["queued", "at"],
    &["started", "at"],
    &["requested", "at"],
];
const URLS: Patterns = &[
    &["url"],
    &["deployment", "url"],
    &["deploy", "url"],
    &["public", "url"],
    &["site", "url"],
    &["preview", "url"],
    &["target", "url"],
    &["web", "url"],
    &["html", "url"],
    &["link"],
    &["fqdn"],
    &["domain"],
];
const ERRORS: Patterns = &[
    &["error"],
    &["error", "message"],
    &["error", "msg"],
    &["error", "text"],
    &["failure", "reason"],
    &["failure", "message"],
    &["fail", "reason"],
    &["failed", "reason"],
    &["status", "message"],
];
const PLATFORMS: Patterns = &[
    &["platform"],
    &["provider"],
    &["target", "platform"],
    &["cloud", "provider"],
    &["hosting", "provider"],
];
const ENVIRONMENTS: Patterns = &[
    &["environment"],
    &["environment", "name"],
    &["env", "name"],
    &["target", "environment"],
    &["deploy", "environment"],
    &["environment", "slug"],
    &["env"],
];
const SUBJECTS: Patterns = &[
    &["application", "name"],
    &["app", "name"],
    &["service", "name"],
    &["project", "name"],
    &["site", "name"],
    &["repository", "name"],
    &["repo", "name"],
];
const REQUESTS: Patterns = &[&["request", "id"], &["correlation", "id"], &["trace", "id"]];
const STATUSES: Patterns = &[
    &["status"],
    &["state"],
    &["phase"],
    &["result"],
    &["outcome"],
    &["conclusion"],
    &["stage"],
];

/// Finds columns of one table.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub name: &'a TableName,
    pub table: &'a SurveyedTable,
}

impl<'a> Columns<'a> {
    /// The first column, in the order of the patterns, that is named so and may be read.
    fn find(
        &self,
        patterns: Patterns,
        fits: impl Fn(&SurveyedColumn) -> bool,
    ) -> Option<&'a SurveyedColumn> {
        let readable = |c: &&SurveyedColumn| is_usable(c) && fits(c);
        patterns.iter().find_map(|pattern| {
            let named = |c: &&SurveyedColumn| words(&c.name) == *pattern;
            self.table
                .columns
                .iter()
                .find(|c| named(c) && readable(c) && !self.is_secret(c))
        })
    }

    /// A column named after what the table holds: `project_name`, `deploymentStatus`.
    fn of_noun(
        &self,
        last: &str,
        fits: impl Fn(&SurveyedColumn) -> bool,
    ) -> Option<&'a SurveyedColumn> {
        let mut named = noun(&self.name.name);
        named.push(last.to_owned());
        let short = named
            .get(named.len().saturating_sub(2)..)
            .unwrap_or_default();
        self.table.columns.iter().find(|c| {
            let words = words(&c.name);
            (words == named || words == short) && is_usable(c) && fits(c)
        })
    }

    /// By name; `env` with a set of words, or a short one, is the name of an environment.
    pub fn is_secret(&self, column: &SurveyedColumn) -> bool {
        let environment = words(&column.name) == ["env"] && names_environment(column);
        !environment && looks_secret(self.name, &column.name)
    }

    /// What people call a row.
    pub fn name(&self) -> Option<&'a SurveyedColumn> {
        let exact = self.find(NAMES.get(..1).unwrap_or(NAMES), is_text);
        exact
            .or_else(|| self.of_noun("name", is_text))
            .or_else(|| self.find(NAMES, is_text))
    }

    pub fn owner(&self) -> Option<&'a SurveyedColumn> {
        let key = |c: &SurveyedColumn| self.table.key.contains(&c.name);
        self.find(OWNERS, |c| (is_text(c) || is_integer(c)) && !key(c))
    }

    pub fn created(&self) -> Option<&'a SurveyedColumn> {
        self.find(CREATED, |c| is_text(c) || is_integer(c) || is_time(c))
    }

    pub fn url(&self) -> Option<&'a SurveyedColumn> {
        self.find(URLS, is_text)
    }

    pub fn error(&self) -> Option<&'a SurveyedColumn> {
        self.find(ERRORS, is_text)
    }

    pub fn platform(&self) -> Option<&'a SurveyedColumn> {
        self.find(PLATFORMS, is_text)
    }

    pub fn environment(&self) -> Option<&'a SurveyedColumn> {
        self.find(ENVIRONMENTS, |c| {
            is_text(c) && (words(&c.name) != ["env"] || names_environment(c))
        })
    }

    /// What is deployed, where the row itself says so.
    pub fn subject(&self) -> Option<&'a SurveyedColumn> {
        self.find(SUBJECTS, is_text)
    }

    pub fn request(&self) -> Option<&'a SurveyedColumn> {
        let key = |c: &SurveyedColumn| self.table.key.contains(&c.name);
        self.find(REQUESTS, |c| is_text(c) && !key(c))
    }

    pub fn status(&self) -> Option<&'a SurveyedColumn> {
        let telling = |c: &SurveyedColumn| is_text(c) || is_integer(c);
        self.of_noun("status", telling)
            .or_else(|| self.find(STATUSES, telling))
            .or_else(|| {
                let ending = |c: &&SurveyedColumn| {
                    words(&c.name).last().is_some_and(|last| last == "status")
                };
                let telling = |c: &&SurveyedColumn| is_text(c) && is_usable(c);
                self.table.columns.iter().filter(telling).find(ending)
            })
    }

    /// Those that look like secrets, in the table's order.
    pub fn secrets(&self) -> impl Iterator<Item = &'a SurveyedColumn> + use<'a> {
        let this = *self;
        this.table.columns.iter().filter(move |c| this.is_secret(c))
    }
}

fn names_environment(column: &SurveyedColumn) -> bool {
    column.words_from.is_some()
        || !matches!(column.type_name.as_str(), "text" | "character varying")
}

/// Whether a rule can name it: a quote or a backslash in a name can not be written.
fn is_usable(column: &SurveyedColumn) -> bool {
    column.type_oid != 17 && !column.name.contains(['\'', '"', '\\'])
}

/// Enums included, and domains as what they seem.
fn is_text(column: &SurveyedColumn) -> bool {
    !is_integer(column) && !is_time(column) && !is_other(column)
}

pub fn is_integer(column: &SurveyedColumn) -> bool {
    matches!(column.type_oid, 20 | 21 | 23)
}

fn is_time(column: &SurveyedColumn) -> bool {
    matches!(column.type_oid, 1082 | 1114 | 1184)
}

/// bool, floats, numeric, json, bytea, intervals, arrays.
fn is_other(column: &SurveyedColumn) -> bool {
    matches!(
        column.type_oid,
        16 | 17 | 114 | 700 | 701 | 1186 | 1700 | 3802
    ) || column.type_name.ends_with("[]")
}
