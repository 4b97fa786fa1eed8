//! From TOML to a [`Suite`]: every key known, all mistakes reported with their line.

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cell::{TYPES, type_oid};
use super::{Case, ChangeText, Expected, RowText, Suite, Table, Transaction};
use crate::error::{Place, Report};
use crate::hint::hint;
use crate::pack::Located;
use crate::syntax;

const KEYS: [&str; 5] = ["pack", "schema", "types", "keys", "cases"];
const CASE_KEYS: [&str; 5] = ["name", "rows", "transactions", "actions", "faults"];
const TRANSACTION_KEYS: [&str; 6] = [
    "context", "insert", "update", "delete", "truncate", "changes",
];
const CHANGE_KEYS: [&str; 6] = ["insert", "update", "delete", "truncate", "row", "key"];
/// The columns of an action that a case can name.
pub(super) const ACTION_KEYS: [&str; 14] = [
    "action_type",
    "action_details",
    "status",
    "environment",
    "project_id",
    "user_id",
    "request_id",
    "cost_usd",
    "reference_ids",
    "data",
    "rule",
    "actor",
    "actor_found",
    "event",
];
pub(super) const FAULT_KEYS: [&str; 4] = ["table", "rule", "key", "reason"];

type Spot<'a, 'i> = &'a Spanned<DeValue<'i>>;
type Field<'a, 'i> = (&'a str, usize, Spot<'a, 'i>);

pub(super) fn read(text: &str, report: &mut Report<'_>) -> Option<Suite> {
    let origin = report.origin().to_owned();
    match DeTable::parse(text) {
        Ok(document) => {
            let mut reader = Reader {
                text,
                report,
                tables: Vec::new(),
            };
            reader.suite(origin, document.get_ref())
        }
        Err(error) => {
            let line = error
                .span()
                .map_or(1, |span| syntax::line(text, span.start));
            let place = Place {
                line,
                rule: None,
                key: None,
            };
            report.add(place, error.message(), None);
            None
        }
    }
}

struct Reader<'a, 'r> {
    text: &'a str,
    report: &'a mut Report<'r>,
    tables: Vec<Table>,
}

impl Reader<'_, '_> {
    fn suite(&mut self, origin: String, document: &DeTable<'_>) -> Option<Suite> {
        let (mut pack, mut schema, mut cases) = (None, None, Vec::new());
        for (key, line, value) in self.fields(document) {
            match key {
                "pack" => pack = self.text_of(key, value),
                "schema" => schema = self.text_of(key, value).map(|located| located.text),
                "types" => self.types(key, line, value),
                "keys" => self.keys(key, line, value),
                "cases" => {
                    for value in self.list(key, line, value, "write [[cases]]") {
                        cases.extend(self.case(value));
                    }
                }
                _ => self.unknown(key, line, &KEYS),
            }
        }
        if pack.is_none() {
            let hint = "write pack = \"my.toml\", relative to this file".to_owned();
            self.problem(1, "pack", "is missing", Some(hint));
        }
        if cases.is_empty() {
            self.problem(
                1,
                "cases",
                "there are none",
                Some("write [[cases]]".to_owned()),
            );
        }
        for table in &mut self.tables {
            if table.key.is_empty() {
                table.key = table.columns.first().cloned().into_iter().collect();
            }
        }
        Some(Suite {
            origin,
            pack: pack?,
            schema,
            tables: std::mem::take(&mut self.tables),
            cases,
        })
    }

    fn types(&mut self, key: &str, line: usize, value: Spot<'_, '_>) {
        for (alias, line, value) in self.table(key, line, value) {
            for (column, line, value) in self.table(alias, line, value) {
                let Some(name) = self.text_of(column, value) else {
                    continue;
                };
                match type_oid(&name.text) {
                    Some(oid) => {
                        let table = self.of(alias, line);
                        table.types.push((column.to_owned(), oid));
                    }
                    None => {
                        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
                        let message = format!("there is no type {}", name.text);
                        let hint = hint("type", &name.text, &names)
                            .map(|hint| format!("{hint}; an enum is text"));
                        self.problem(line, column, &message, hint);
                    }
                }
            }
        }
    }

    fn keys(&mut self, key: &str, line: usize, value: Spot<'_, '_>) {
        for (alias, line, value) in self.table(key, line, value) {
            let columns = self.texts(alias, line, value);
            self.of(alias, line).key = columns.into_iter().map(|column| column.text).collect();
        }
    }

    fn case(&mut self, value: Spot<'_, '_>) -> Option<Case> {
        let start = self.line(value);
        let (mut name, mut rows, mut transactions) = (None, Vec::new(), Vec::new());
        let (mut actions, mut faults) = (Vec::new(), Vec::new());
        for (key, line, value) in self.table("cases", start, value) {
            match key {
                "name" => name = self.text_of(key, value),
                "rows" => rows = self.rows(key, line, value),
                "transactions" => {
                    for value in self.list(key, line, value, "write [[cases.transactions]]") {
                        transactions.push(self.transaction(value));
                    }
                }
                "actions" => {
                    for value in self.list(key, line, value, "write [[cases.actions]]") {
                        actions.push(self.expected(value, "actions", &ACTION_KEYS));
                    }
                }
                "faults" => {
                    for value in self.list(key, line, value, "write [[cases.faults]]") {
                        faults.push(self.expected(value, "faults", &FAULT_KEYS));
                    }
                }
                _ => self.unknown(key, line, &CASE_KEYS),
            }
        }
        if name.is_none() {
            self.problem(
                start,
                "name",
                "is missing",
                Some("a case's name is a claim".to_owned()),
            );
        }
        if transactions.is_empty() {
            let hint = "write [[cases.transactions]]".to_owned();
            self.problem(start, "transactions", "there are none", Some(hint));
        }
        Some(Case {
            name: name?,
            rows,
            transactions,
            actions,
            faults,
        })
    }

    fn transaction(&mut self, value: Spot<'_, '_>) -> Transaction {
        let mut transaction = Transaction::default();
        let line = self.line(value);
        let fields = self.table("transactions", line, value);
        // Inserts before updates before deletes, however they are written.
        let order = [
            "context", "insert", "update", "delete", "truncate", "changes",
        ];
        for wanted in order {
            for &(key, line, value) in fields.iter().filter(|(key, ..)| *key == wanted) {
                match key {
                    "context" => transaction.context = self.json(value),
                    "insert" => {
                        let rows = self.rows(key, line, value);
                        transaction
                            .changes
                            .extend(rows.into_iter().map(ChangeText::Insert));
                    }
                    "update" => {
                        let rows = self.rows(key, line, value);
                        let update = |row| ChangeText::Update { key: None, row };
                        transaction.changes.extend(rows.into_iter().map(update));
                    }
                    "delete" => self.deletes(key, line, value, &mut transaction.changes),
                    "truncate" => {
                        let tables = self.aliases(key, line, value);
                        transaction.changes.push(ChangeText::Truncate(tables));
                    }
                    _ => {
                        for value in self.list(key, line, value, "write changes = [{ insert = … }]")
                        {
                            transaction.changes.extend(self.change(value));
                        }
                    }
                }
            }
        }
        for (key, line, _) in fields {
            if !order.contains(&key) {
                self.unknown(key, line, &TRANSACTION_KEYS);
            }
        }
        transaction
    }

    /// `{ table = [["key"], "key", { id = "key" }] }`.
    fn deletes(&mut self, key: &str, line: usize, value: Spot<'_, '_>, into: &mut Vec<ChangeText>) {
        for (alias, line, value) in self.table(key, line, value) {
            self.of(alias, line);
            for value in self.list(alias, line, value, "write a list of keys") {
                let alias = Located {
                    text: alias.to_owned(),
                    line: self.line(value),
                };
                let key = self.key(value, &alias);
                into.extend(key.map(|key| ChangeText::Delete { alias, key }));
            }
        }
    }

    /// One value, a list of them, or a row of which only the key counts.
    fn key(&mut self, value: Spot<'_, '_>, alias: &Located) -> Option<Vec<Json>> {
        match self.json(value)? {
            Json::Array(values) => Some(values),
            Json::Object(values) => {
                self.note(&alias.text, alias.line, &values);
                let table = self.of(&alias.text, alias.line);
                let first = table.columns.first().cloned();
                let columns = if table.key.is_empty() {
                    first.into_iter().collect()
                } else {
                    table.key.clone()
                };
                Some(
                    columns
                        .iter()
                        .filter_map(|column| values.get(column).cloned())
                        .collect(),
                )
            }
            value => Some(vec![value]),
        }
    }

    /// One entry of `changes`.
    fn change(&mut self, value: Spot<'_, '_>) -> Option<ChangeText> {
        let start = self.line(value);
        let fields = self.table("changes", start, value);
        let (mut row, mut key) = (None, None);
        let mut what: Option<(&str, Located)> = None;
        for &(name, line, value) in &fields {
            match name {
                "insert" | "update" | "delete" => {
                    if let Some((first, _)) = &what {
                        let message = format!("is beside {first}: a change does one thing");
                        self.problem(line, name, &message, None);
                    }
                    what = self.text_of(name, value).map(|alias| (name, alias));
                }
                "truncate" => {
                    let tables = self.aliases(name, line, value);
                    return Some(ChangeText::Truncate(tables));
                }
                "row" => row = Some((line, value)),
                "key" => key = Some(value),
                _ => self.unknown(name, line, &CHANGE_KEYS),
            }
        }
        let Some((what, alias)) = what else {
            let hint = "write insert, update, delete or truncate = \"table\"".to_owned();
            self.problem(start, "changes", "a change names no table", Some(hint));
            return None;
        };
        self.of(&alias.text, alias.line);
        let key = key.and_then(|value| self.key(value, &alias));
        let row = row.and_then(|(line, value)| self.row(&alias.text, line, value));
        let missing = |this: &mut Self, name: &str| {
            this.problem(start, what, &format!("needs {name} beside it"), None);
        };
        match what {
            "delete" => {
                if key.is_none() {
                    missing(self, "key = […]");
                }
                Some(ChangeText::Delete { alias, key: key? })
            }
            _ => {
                if row.is_none() {
                    missing(self, "row = {…}");
                }
                let row = row?;
                Some(match what {
                    "insert" => ChangeText::Insert(row),
                    _ => ChangeText::Update { key, row },
                })
            }
        }
    }

    /// `{ table = [{…}, {…}] }`.
    fn rows(&mut self, key: &str, line: usize, value: Spot<'_, '_>) -> Vec<RowText> {
        let mut rows = Vec::new();
        for (alias, line, value) in self.table(key, line, value) {
            for value in self.list(alias, line, value, "write a list of rows") {
                let line = self.line(value);
                rows.extend(self.row(alias, line, value));
            }
        }
        rows
    }

    fn row(&mut self, alias: &str, line: usize, value: Spot<'_, '_>) -> Option<RowText> {
        let alias = Located {
            text: alias.to_owned(),
            line,
        };
        match self.json(value)? {
            Json::Object(values) => {
                self.note(&alias.text, line, &values);
                Some(RowText { alias, values })
            }
            _ => {
                self.problem(
                    line,
                    &alias.text,
                    "is not a row",
                    Some("write { column = value }".to_owned()),
                );
                None
            }
        }
    }

    fn note(&mut self, alias: &str, line: usize, values: &Map<String, Json>) {
        let table = self.of(alias, line);
        for column in values.keys() {
            if !table.columns.contains(column) {
                table.columns.push(column.clone());
            }
        }
    }

    fn of(&mut self, alias: &str, line: usize) -> &mut Table {
        let place = self.tables.iter().position(|table| table.alias == alias);
        let place = place.unwrap_or_else(|| {
            self.tables.push(Table {
                alias: alias.to_owned(),
                line,
                ..Table::default()
            });
            self.tables.len() - 1
        });
        self.tables.get_mut(place).expect("it was found or pushed")
    }

    fn expected(&mut self, value: Spot<'_, '_>, what: &str, known: &[&str]) -> Expected {
        let line = self.line(value);
        let mut columns = Map::new();
        for (key, line, value) in self.table(what, line, value) {
            if known.contains(&key) {
                columns.extend(self.json(value).map(|value| (key.to_owned(), value)));
            } else {
                self.unknown(key, line, known);
            }
        }
        if columns.is_empty() {
            self.problem(line, what, "names nothing to compare", None);
        }
        Expected { line, columns }
    }

    fn aliases(&mut self, key: &str, line: usize, value: Spot<'_, '_>) -> Vec<Located> {
        let aliases = self.texts(key, line, value);
        for alias in &aliases {
            self.of(&alias.text, alias.line);
        }
        aliases
    }

    fn json(&mut self, value: Spot<'_, '_>) -> Option<Json> {
        let line = self.line(value);
        Some(match value.get_ref() {
            DeValue::String(text) => Json::String(text.to_string()),
            DeValue::Boolean(value) => Json::Bool(*value),
            DeValue::Integer(integer) => {
                let digits: String = integer.as_str().chars().filter(|c| *c != '_').collect();
                match i128::from_str_radix(&digits, integer.radix())
                    .ok()
                    .and_then(Number::from_i128)
                {
                    Some(number) => Json::Number(number),
                    None => {
                        self.problem(line, "value", "is too large: write it as a text", None);
                        return None;
                    }
                }
            }
            DeValue::Float(float) => {
                let digits: String = float.as_str().chars().filter(|c| *c != '_').collect();
                // With all its digits, for numeric columns.
                match serde_json::from_str(digits.trim_start_matches('+')) {
                    Ok(number) => Json::Number(number),
                    Err(_) => Json::String(digits),
                }
            }
            // As Postgres prints a time.
            DeValue::Datetime(time) => {
                let time = time.to_string().replacen('T', " ", 1);
                Json::String(
                    time.strip_suffix('Z')
                        .map_or(time.clone(), |t| format!("{t}+00")),
                )
            }
            DeValue::Array(values) => {
                let mut items = Vec::new();
                for value in values {
                    items.push(self.json(value)?);
                }
                Json::Array(items)
            }
            DeValue::Table(table) => {
                let mut fields = Map::new();
                for (name, _, value) in self.fields(table) {
                    fields.insert(name.to_owned(), self.json(value)?);
                }
                Json::Object(fields)
            }
        })
    }

    fn line(&self, value: Spot<'_, '_>) -> usize {
        syntax::line(self.text, value.span().start)
    }

    /// The entries in written order.
    fn fields<'a, 'i>(&self, table: &'a DeTable<'i>) -> Vec<Field<'a, 'i>> {
        let mut fields: Vec<_> = table.iter().collect();
        fields.sort_by_key(|(key, _)| key.span().start);
        let line = |at| syntax::line(self.text, at);
        let field = |(key, value): (&'a Spanned<_>, _)| {
            let name: &'a std::borrow::Cow<'i, str> = key.get_ref();
            (name.as_ref(), line(key.span().start), value)
        };
        fields.into_iter().map(field).collect()
    }

    fn table<'a, 'i>(&mut self, key: &str, line: usize, value: Spot<'a, 'i>) -> Vec<Field<'a, 'i>> {
        match value.get_ref().as_table() {
            Some(table) => self.fields(table),
            None => {
                self.problem(line, key, "is not a table", None);
                Vec::new()
            }
        }
    }

    fn list<'a, 'i>(
        &mut self,
        key: &str,
        line: usize,
        value: Spot<'a, 'i>,
        instead: &str,
    ) -> Vec<Spot<'a, 'i>> {
        match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => {
                self.problem(line, key, "is not a list", Some(instead.to_owned()));
                Vec::new()
            }
        }
    }

    fn text_of(&mut self, key: &str, value: Spot<'_, '_>) -> Option<Located> {
        let line = self.line(value);
        match value.get_ref().as_str() {
            Some(text) => Some(Located {
                text: text.to_owned(),
                line,
            }),
            None => {
                self.problem(
                    line,
                    key,
                    "is not a text",
                    Some("put it in quotes".to_owned()),
                );
                None
            }
        }
    }

    fn texts(&mut self, key: &str, line: usize, value: Spot<'_, '_>) -> Vec<Located> {
        let values = self.list(key, line, value, "write a list of texts");
        values
            .into_iter()
            .filter_map(|value| self.text_of(key, value))
            .collect()
    }

    fn problem(&mut self, line: usize, key: &str, message: &str, hint: Option<String>) {
        self.report.add(
            Place {
                line,
                rule: None,
                key: Some(key),
            },
            message,
            hint,
        );
    }

    fn unknown(&mut self, key: &str, line: usize, known: &[&str]) {
        self.problem(line, key, "there is no such key", hint("key", key, known));
    }
}
