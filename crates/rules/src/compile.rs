//! From the text of packs to [`Rules`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use activity::{Event, TableName};
use minijinja::Environment;
use sha2::{Digest, Sha256};

use crate::assemble::{Draft, Use, assemble};
use crate::body::{Binding, Body, closure, reach};
use crate::error::{Errors, Place, Report};
use crate::hint::hint;
use crate::maps;
use crate::pack::{self, Located, Pack, RuleText};
use crate::program::{self, Compiler};
use crate::read;
use crate::references::{Names, References};
use crate::rule::{Let, Rule, User};
use crate::{PackSource, Rules};

pub(crate) fn compile(sources: &[PackSource]) -> Result<Rules, Errors> {
    let mut environment = program::environment();
    let mut problems = Vec::new();
    let mut drafts = Vec::new();
    let mut uses: BTreeMap<TableName, Use> = BTreeMap::new();
    let mut declared = Vec::new();
    let mut packs = BTreeSet::new();
    for source in sources {
        let mut report = Report::new(&source.origin);
        if let Some(pack) = read::parse(&source.text, &mut report) {
            if packs.insert(pack.name.text.clone()) {
                maps::add(&mut environment, &pack);
                let mut pack = PackCompiler {
                    environment: &mut environment,
                    report: &mut report,
                    tables: Arc::new(tables(&pack, source.schema.as_deref())),
                    uses: &mut uses,
                    pack: &pack,
                    version: version(&source.text),
                };
                drafts.extend(pack.rules());
                declared.extend(pack.declared());
            } else {
                let place = Place {
                    line: pack.name.line,
                    rule: None,
                    key: Some("name"),
                };
                report.add(
                    place,
                    format!("there are two packs named {}", pack.name.text),
                    None,
                );
            }
        }
        problems.extend(report.into_problems());
    }
    for (table, columns) in declared {
        // A table that no rule uses is not watched.
        if let Some(used) = uses.get_mut(&table) {
            used.columns.extend(columns);
        }
    }
    if problems.is_empty() {
        Ok(assemble(environment, drafts, uses, sources))
    } else {
        Err(Errors(problems))
    }
}

/// The first 12 hex digits of the text's SHA-256.
fn version(text: &str) -> Arc<str> {
    let digest = Sha256::digest(text);
    let first = digest.iter().take(6);
    first
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

pub(crate) fn tables(pack: &Pack, placement: Option<&str>) -> BTreeMap<String, TableName> {
    let table = |table: &pack::Table| {
        let schema = table.schema.as_deref().or(placement).unwrap_or("public");
        let name = table.table.as_ref().unwrap_or(&table.alias.text);
        (table.alias.text.clone(), TableName::new(schema, name))
    };
    pack.tables.iter().map(table).collect()
}

struct PackCompiler<'a, 'r> {
    environment: &'a mut Environment<'static>,
    report: &'a mut Report<'r>,
    tables: Arc<BTreeMap<String, TableName>>,
    uses: &'a mut BTreeMap<TableName, Use>,
    pack: &'a Pack,
    version: Arc<str>,
}

impl PackCompiler<'_, '_> {
    fn rules(&mut self) -> Vec<Draft> {
        let pack = self.pack;
        let place = |name: &Located| Place {
            line: name.line,
            rule: None,
            key: Some("name"),
        };
        for name in std::iter::once(&pack.name).chain(pack.rules.iter().map(|rule| &rule.name)) {
            if name.text.is_empty() || name.text.contains('/') {
                self.report
                    .add(place(name), "a name is not empty and holds no slash", None);
            }
        }
        let mut seen = BTreeSet::new();
        let mut drafts = Vec::new();
        for rule in &pack.rules {
            if seen.insert(rule.name.text.as_str()) {
                drafts.extend(self.rule(rule));
            } else {
                let message = format!("there are two rules named {}", rule.name.text);
                self.report.add(place(&rule.name), message, None);
            }
        }
        drafts
    }

    /// The columns that the pack names for its tables.
    fn declared(&self) -> Vec<(TableName, Vec<String>)> {
        let of = |table: &pack::Table| {
            let columns = table.columns.iter().map(|column| column.text.clone());
            let name = self.tables.get(&table.alias.text)?.clone();
            Some((name, columns.collect()))
        };
        self.pack.tables.iter().filter_map(of).collect()
    }

    fn rule(&mut self, text: &RuleText) -> Option<Draft> {
        let name = text.name.text.as_str();
        let table = self.table(text);
        let on = self.events(text);
        let id = format!("{}/{name}", self.pack.name.text);
        let mut body = Body {
            compiler: Compiler {
                environment: self.environment,
                report: self.report,
                rule: &id,
                rule_name: name,
                names: Names {
                    variables: BTreeMap::new(),
                    tables: self.tables.keys().cloned().collect(),
                    grouped: text.group.is_some(),
                },
            },
            told: References::default(),
            user: References::default(),
        };
        let lets = body.lets(text, &self.pack.defaults);
        let when = body.condition("when", text.when.as_ref());
        let group = body.condition("group", text.group.as_ref());
        let each = body.condition("each", text.each.as_ref());
        if text.each.is_some() {
            body.item(each.as_ref());
        }
        let data = body.data(text);
        let outputs = body.outputs(text, &self.pack.defaults.outputs);
        let (told, user) = (body.told, body.user);
        let (table, lets, data) = (table?, lets?, data?);
        let (when, group, each) = (when?, group?, each?);

        let of = |program: &Option<crate::program::Compiled<_>>| {
            program.as_ref().map(|compiled| compiled.references.clone())
        };
        let (when_reads, group_reads, each_reads) = (of(&when), of(&group), of(&each));
        let per_row = || when_reads.iter().chain(&group_reads);
        let own = || {
            lets.iter()
                .filter(|b| b.own)
                .map(|b| &b.compiled.references)
        };
        let needed = closure(
            &lets,
            per_row().chain(&each_reads).chain([&told]).chain(own()),
        );
        let lets: Vec<Binding> = lets
            .into_iter()
            .filter(|binding| binding.own || needed.contains(&*binding.name))
            .collect();
        let own: Vec<References> = lets.iter().map(|b| b.compiled.references.clone()).collect();
        let all = reach(
            &lets,
            per_row().chain(&each_reads).chain([&told]).chain(&own),
        );
        let early = closure(&lets, per_row());
        if reach(&lets, per_row()).rows {
            let place = Place {
                line: text.name.line,
                rule: Some(&text.name.text),
                key: Some("group"),
            };
            let message = "rows are used by `when`, `group` or a variable that they use: those are worked \
                           out for each row, before there is a group";
            self.report.add(place, message, None);
        }
        let deciding = reach(&lets, per_row().chain(&each_reads));
        let deciding: BTreeSet<String> = deciding.columns().cloned().collect();
        let triggers = if deciding.is_empty() {
            all.columns().cloned().collect()
        } else {
            deciding
        };
        let user = reach(&lets, [&user].into_iter());
        self.used(&table, &all, &text.changes);
        let lets = lets.into_iter().map(|binding| Let {
            early: early.contains(&*binding.name),
            told: binding.own,
            name: binding.name,
            program: binding.compiled.code,
        });
        Some(Draft {
            rule: Rule {
                id,
                version: Arc::clone(&self.version),
                table: 0,
                on,
                triggers: Vec::new(),
                needs_old: !all.old.is_empty(),
                lets: lets.collect(),
                when: when.map(|compiled| compiled.code),
                each: each.map(|compiled| compiled.code),
                group: group.map(|compiled| compiled.code),
                outputs: outputs?,
                data,
                changes: text
                    .changes
                    .iter()
                    .map(|c| Arc::from(c.text.as_str()))
                    .collect(),
                backfill: text.backfill,
                of_transaction: all.of_transaction || text.group.is_some(),
                user: User {
                    columns: user.columns().cloned().collect(),
                    looks_up: user.looks_up || user.of_transaction,
                },
                tables: Arc::default(),
            },
            table,
            triggers,
            tables: Arc::clone(&self.tables),
        })
    }

    /// Notes what the rule needs of its own table and of others.
    fn used(&mut self, own: &TableName, all: &References, changes: &[Located]) {
        let used = self.uses.entry(own.clone()).or_default();
        used.columns.extend(all.columns().cloned());
        used.columns
            .extend(changes.iter().map(|column| column.text.clone()));
        used.firsts.extend(all.firsts.iter().cloned());
        for alias in &all.tables {
            if let Some(table) = self.tables.get(alias) {
                self.uses.entry(table.clone()).or_default().asked = true;
            }
        }
        for (alias, column) in &all.others {
            if let Some(used) = self.of_alias(alias) {
                used.columns.insert(column.clone());
            }
        }
        for (alias, column) in &all.unique {
            if let Some(used) = self.of_alias(alias) {
                used.unique.insert(column.clone());
            }
        }
    }

    fn of_alias(&mut self, alias: &str) -> Option<&mut Use> {
        self.uses.get_mut(self.tables.get(alias)?)
    }

    fn table(&mut self, text: &RuleText) -> Option<TableName> {
        let alias = text.table.text.as_str();
        if let Some(table) = self.tables.get(alias) {
            return Some(table.clone());
        }
        let known: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        let hint =
            hint("table", alias, &known).unwrap_or_else(|| format!("write [tables.{alias}]"));
        let place = Place {
            line: text.table.line,
            rule: Some(&text.name.text),
            key: Some("table"),
        };
        self.report.add(
            place,
            format!("there is no table {alias} in the pack"),
            Some(hint),
        );
        None
    }

    fn events(&mut self, text: &RuleText) -> Vec<Event> {
        let mut events = Vec::new();
        for on in &text.on {
            match on.text.as_str() {
                "insert" => events.push(Event::Insert),
                "update" => events.push(Event::Update),
                "delete" => events.push(Event::Delete),
                "truncate" => events.push(Event::Truncate),
                other => {
                    let place = Place {
                        line: on.line,
                        rule: Some(&text.name.text),
                        key: Some("on"),
                    };
                    let hint = hint("change", other, &["insert", "update", "delete", "truncate"]);
                    self.report
                        .add(place, format!("there is no change {other}"), hint);
                }
            }
        }
        events
    }
}
