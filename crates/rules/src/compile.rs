//! From the text of packs to [`Rules`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use activity::{Event, TableName};
use minijinja::Environment;
use sha2::{Digest, Sha256};

use crate::body::{Body, closure};
use crate::error::{Errors, Place, Report};
use crate::hint::hint;
use crate::pack::{self, Located, Pack, RuleText};
use crate::program::{self, Compiler};
use crate::read;
use crate::references::References;
use crate::rule::{Let, Rule};
use crate::{PackSource, Rules, TableUse};

/// A rule before its columns have places.
struct Draft {
    rule: Rule,
    table: TableName,
    triggers: BTreeSet<String>,
}

pub(crate) fn compile(sources: &[PackSource]) -> Result<Rules, Errors> {
    let mut environment = program::environment();
    let mut problems = Vec::new();
    let mut drafts = Vec::new();
    let mut columns: BTreeMap<TableName, BTreeSet<String>> = BTreeMap::new();
    let mut packs = BTreeSet::new();
    for source in sources {
        let mut report = Report::new(&source.origin);
        if let Some(pack) = read::parse(&source.text, &mut report) {
            if packs.insert(pack.name.text.clone()) {
                let mut pack = PackCompiler {
                    environment: &mut environment,
                    report: &mut report,
                    tables: tables(&pack, source.schema.as_deref()),
                    columns: &mut columns,
                    pack: &pack,
                    version: version(&source.text),
                };
                drafts.extend(pack.rules());
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
    if problems.is_empty() {
        Ok(assemble(environment, drafts, columns, sources))
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

fn tables(pack: &Pack, placement: Option<&str>) -> BTreeMap<String, TableName> {
    let table = |table: &pack::Table| {
        let schema = table.schema.as_deref().or(placement).unwrap_or("public");
        let name = table.table.as_ref().unwrap_or(&table.alias.text);
        (table.alias.text.clone(), TableName::new(schema, name))
    };
    pack.tables.iter().map(table).collect()
}

fn assemble(
    environment: Environment<'static>,
    drafts: Vec<Draft>,
    columns: BTreeMap<TableName, BTreeSet<String>>,
    sources: &[PackSource],
) -> Rules {
    let uses: Vec<TableUse> = columns
        .into_iter()
        .map(|(table, columns)| TableUse { table, columns })
        .collect();
    let names: Vec<Arc<[Arc<str>]>> = uses
        .iter()
        .map(|used| {
            used.columns
                .iter()
                .map(|column| Arc::from(column.as_str()))
                .collect()
        })
        .collect();
    let places: HashMap<TableName, usize> = uses
        .iter()
        .enumerate()
        .map(|(place, used)| (used.table.clone(), place))
        .collect();
    let mut by_table = vec![Vec::new(); uses.len()];
    let mut rules = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let Some(&table) = places.get(&draft.table) else {
            continue;
        };
        let place = |column: &String| {
            names
                .get(table)?
                .binary_search_by(|name| (**name).cmp(column))
                .ok()
        };
        if let Some(of_table) = by_table.get_mut(table) {
            of_table.push(rules.len());
        }
        rules.push(Rule {
            table,
            triggers: draft.triggers.iter().filter_map(place).collect(),
            ..draft.rule
        });
    }
    Rules {
        environment,
        rules,
        by_table,
        uses,
        names,
        places,
        sources: sources.to_vec(),
    }
}

struct PackCompiler<'a, 'r> {
    environment: &'a mut Environment<'static>,
    report: &'a mut Report<'r>,
    tables: BTreeMap<String, TableName>,
    columns: &'a mut BTreeMap<TableName, BTreeSet<String>>,
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
                variables: BTreeSet::new(),
            },
            named: References::default(),
        };
        let lets = body.lets(text);
        let when = body.condition("when", text.when.as_ref());
        let each = body.condition("each", text.each.as_ref());
        if text.each.is_some() {
            body.compiler.variables.insert("item".to_owned());
        }
        let outputs = body.outputs(text, &self.pack.defaults);
        let named = body.named;
        let table = table?;
        let columns = self.columns.entry(table.clone()).or_default();
        columns.extend(named.columns().cloned());

        let (lets, when, each) = (lets?, when?, each?);
        let early = closure(&lets, when.iter());
        let triggers = if when.is_none() && each.is_none() {
            named.columns().cloned().collect()
        } else {
            let deciding = closure(&lets, when.iter().chain(&each));
            let deciding = lets.iter().filter(|(name, _)| deciding.contains(&**name));
            let read = deciding
                .map(|(_, compiled)| compiled)
                .chain(&when)
                .chain(&each);
            read.flat_map(|compiled| compiled.references.columns().cloned())
                .collect()
        };
        let lets = lets.into_iter().map(|(name, compiled)| Let {
            early: early.contains(&*name),
            name,
            program: compiled.code,
        });
        Some(Draft {
            rule: Rule {
                id,
                version: Arc::clone(&self.version),
                table: 0,
                on,
                triggers: Vec::new(),
                needs_old: !named.old.is_empty(),
                lets: lets.collect(),
                when: when.map(|compiled| compiled.code),
                each: each.map(|compiled| compiled.code),
                outputs: outputs?,
            },
            table,
            triggers,
        })
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
                other => {
                    let place = Place {
                        line: on.line,
                        rule: Some(&text.name.text),
                        key: Some("on"),
                    };
                    let hint = hint("change", other, &["insert", "update", "delete"]);
                    self.report
                        .add(place, format!("there is no change {other}"), hint);
                }
            }
        }
        events
    }
}
