//! From TOML to a [`Pack`]: every key known, every value of its type, all mistakes reported.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Place, Report};
use crate::hint::hint;
use crate::maps::Map;
use crate::pack::{
    DEFAULT_KEYS, Defaults, Located, OUTPUTS, Outputs, Pack, RULE_KEYS, RuleText, Table,
};
use crate::syntax;

/// `None` where nothing can be made of the text; every problem is in the report.
pub(crate) fn parse(text: &str, report: &mut Report<'_>) -> Option<Pack> {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
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
            return None;
        }
    };
    Reader {
        text,
        report,
        rule: None,
    }
    .pack(document.get_ref())
}

type Field<'a, 'i> = (&'a str, usize, &'a Spanned<DeValue<'i>>);

struct Reader<'a, 'r> {
    text: &'a str,
    report: &'a mut Report<'r>,
    rule: Option<String>,
}

impl Reader<'_, '_> {
    fn problem(&mut self, line: usize, key: &str, message: &str, hint: Option<String>) {
        let place = Place {
            line,
            rule: self.rule.as_deref(),
            key: Some(key),
        };
        self.report.add(place, message, hint);
    }

    /// The entries in written order.
    fn fields<'a, 'i>(&self, table: &'a DeTable<'i>) -> Vec<Field<'a, 'i>> {
        let mut fields: Vec<_> = table.iter().collect();
        fields.sort_by_key(|(key, _)| key.span().start);
        let line = |at| syntax::line(self.text, at);
        fields
            .into_iter()
            .map(|(key, value)| (key.get_ref().as_ref(), line(key.span().start), value))
            .collect()
    }

    fn pack(mut self, document: &DeTable<'_>) -> Option<Pack> {
        let mut name = None;
        let mut tables = Vec::new();
        let mut maps = Vec::new();
        let mut defaults = Defaults::default();
        let mut rules = Vec::new();
        for (key, line, value) in self.fields(document) {
            match key {
                "pack" => {
                    for (key, line, value) in self.table_of(key, line, value) {
                        match key {
                            "name" => name = self.text_of(key, value),
                            _ => self.unknown(key, line, &["name"]),
                        }
                    }
                }
                "tables" => {
                    for (alias, line, value) in self.table_of(key, line, value) {
                        tables.push(self.table(alias, line, value));
                    }
                }
                "maps" => {
                    for (name, line, value) in self.table_of(key, line, value) {
                        maps.push(self.map(name, line, value));
                    }
                }
                "defaults" => {
                    for (key, line, value) in self.table_of(key, line, value) {
                        if key == "let" {
                            defaults.lets = self.named(key, line, value);
                        } else if !self.output(key, line, value, &mut defaults.outputs) {
                            self.unknown(key, line, &[&OUTPUTS[..], &DEFAULT_KEYS[..]].concat());
                        }
                    }
                }
                "rules" => match value.get_ref().as_array() {
                    Some(array) => {
                        for value in array {
                            let line = syntax::line(self.text, value.span().start);
                            rules.extend(self.rule(line, value));
                        }
                    }
                    None => self.problem(
                        line,
                        key,
                        "is not a list of rules",
                        Some("write [[rules]]".to_owned()),
                    ),
                },
                _ => self.unknown(key, line, &["pack", "tables", "maps", "defaults", "rules"]),
            }
        }
        let Some(name) = name else {
            self.problem(
                1,
                "pack",
                "the pack has no name",
                Some("write [pack] and name = \"…\"".to_owned()),
            );
            return None;
        };
        Some(Pack {
            name,
            tables,
            maps,
            defaults,
            rules,
        })
    }

    fn table(&mut self, alias: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Table {
        let mut table = Table {
            alias: Located {
                text: alias.to_owned(),
                line,
            },
            table: None,
            schema: None,
            columns: Vec::new(),
        };
        for (key, line, value) in self.table_of(alias, line, value) {
            let text = |this: &mut Self| this.text_of(key, value).map(|located| located.text);
            match key {
                "table" => table.table = text(self),
                "schema" => table.schema = text(self),
                "columns" => table.columns = self.texts_of(key, line, value),
                _ => self.unknown(key, line, &["table", "schema", "columns"]),
            }
        }
        table
    }

    fn map(&mut self, name: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Map {
        let mut texts = BTreeMap::new();
        for (key, line, value) in self.table_of(name, line, value) {
            let text = match value.get_ref() {
                DeValue::String(text) => Some(minijinja::Value::from(text.as_ref())),
                DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                    .ok()
                    .map(minijinja::Value::from),
                _ => None,
            };
            match text {
                Some(text) => drop(texts.insert(key.to_owned(), text)),
                None => self.problem(line, key, "is neither a text nor an integer", None),
            }
        }
        let name = name.to_owned();
        Map { name, texts }
    }

    fn rule(&mut self, line: usize, value: &Spanned<DeValue<'_>>) -> Option<RuleText> {
        let fields = self.table_of("rules", line, value);
        let named = fields.iter().find(|(key, ..)| *key == "name");
        self.rule = named
            .and_then(|(.., value)| value.get_ref().as_str())
            .map(str::to_owned);
        let (mut name, mut table, mut on) = (None, None, Vec::new());
        let (mut lets, mut when, mut each, mut group) = (Vec::new(), None, None, None);
        let (mut data, mut changes, mut backfill) = (Vec::new(), Vec::new(), true);
        let mut outputs = Outputs::default();
        for (key, line, value) in fields {
            match key {
                "name" => name = self.text_of(key, value),
                "table" => table = self.text_of(key, value),
                "on" => on = self.texts_of(key, line, value),
                "let" => lets = self.named(key, line, value),
                "group" => group = self.text_of(key, value),
                "data" => data = self.named(key, line, value),
                "changes" => changes = self.texts_of(key, line, value),
                "backfill" => match value.get_ref() {
                    DeValue::Boolean(given) => backfill = *given,
                    _ => self.problem(line, key, "is neither true nor false", None),
                },
                "when" => when = self.text_of(key, value),
                "each" => each = self.text_of(key, value),
                _ => {
                    if !self.output(key, line, value, &mut outputs) {
                        self.unknown(key, line, &[&RULE_KEYS[..], &OUTPUTS[..]].concat());
                    }
                }
            }
        }
        for (key, missing) in [
            ("name", name.is_none()),
            ("table", table.is_none()),
            ("on", on.is_empty()),
        ] {
            if missing {
                self.problem(line, key, "is missing", None);
            }
        }
        self.rule = None;
        (!on.is_empty()).then_some(RuleText {
            name: name?,
            table: table?,
            on,
            lets,
            when,
            each,
            group,
            data,
            changes,
            backfill,
            outputs,
        })
    }

    /// Whether the key is one of the outputs.
    fn output(
        &mut self,
        key: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        outputs: &mut Outputs,
    ) -> bool {
        if OUTPUTS.contains(&key) {
            let template = self.text_of(key, value);
            outputs
                .columns
                .extend(template.map(|template| (key.to_owned(), template)));
            return true;
        }
        if key != "reference_ids" {
            return false;
        }
        outputs.reference_ids = self.named(key, line, value);
        true
    }

    /// A table of texts, in written order.
    fn named(
        &mut self,
        key: &str,
        line: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(Located, Located)> {
        let mut named = Vec::new();
        for (name, line, value) in self.table_of(key, line, value) {
            let source = self.text_of(name, value);
            let text = name.to_owned();
            named.extend(source.map(|source| (Located { text, line }, source)));
        }
        named
    }

    fn table_of<'a, 'i>(
        &mut self,
        key: &str,
        line: usize,
        value: &'a Spanned<DeValue<'i>>,
    ) -> Vec<Field<'a, 'i>> {
        match value.get_ref().as_table() {
            Some(table) => self.fields(table),
            None => {
                self.problem(line, key, "is not a table", None);
                Vec::new()
            }
        }
    }

    fn text_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located> {
        let start = value.span().start;
        let line = syntax::line(self.text, start);
        let Some(text) = value.get_ref().as_str() else {
            self.problem(
                line,
                key,
                "is not a text",
                Some("put it in quotes".to_owned()),
            );
            return None;
        };
        // A line break right after the three quotes is no part of the text.
        let raw = self.text.get(start..).unwrap_or("");
        let begins_below = ["\"\"\"\n", "\"\"\"\r\n", "'''\n", "'''\r\n"]
            .iter()
            .any(|q| raw.starts_with(q));
        Some(Located {
            text: text.to_owned(),
            line: line + usize::from(begins_below),
        })
    }

    fn texts_of(&mut self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Vec<Located> {
        match value.get_ref() {
            DeValue::Array(values) => values
                .iter()
                .filter_map(|value| self.text_of(key, value))
                .collect(),
            DeValue::String(_) => self.text_of(key, value).into_iter().collect(),
            _ => {
                self.problem(line, key, "is not a list of texts", None);
                Vec::new()
            }
        }
    }

    fn unknown(&mut self, key: &str, line: usize, known: &[&str]) {
        self.problem(line, key, "there is no such key", hint("key", key, known));
    }
}
