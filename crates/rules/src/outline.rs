//! What rules name, and where: for checks against a database, and for whoever wants to see it.
//!
//! Made anew from the text of packs that compile. Pure.

use std::collections::{BTreeMap, BTreeSet};

use activity::TableName;

use crate::error::{Mark, Report};
use crate::pack::{Located, Pack, RuleText};
use crate::references::{Holds, Names, references};
use crate::syntax::{self, Kind, Token};
use crate::{PackSource, compile, read};

/// One rule of a pack.
#[derive(Clone, Debug)]
pub struct RuleOutline {
    /// With its pack.
    pub id: String,
    /// Of the pack.
    pub origin: String,
    /// Where its name stands.
    pub line: usize,
    pub table: TableName,
    pub on: Vec<String>,
    /// The text of `when`.
    pub when: Option<String>,
    pub uses: Vec<ColumnUse>,
}

/// A place where a rule names a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnUse {
    pub table: TableName,
    pub column: String,
    pub row: Row,
    /// What the text does with it, as far as it is plain.
    pub then: Option<Then>,
    /// The pack's key that it stands under.
    pub key: String,
    pub line: usize,
    pub mark: Option<Mark>,
}

/// Which row the column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    New,
    Old,
    /// Both, as in `changed('column')`.
    Both,
    /// One of another table, or of this one, that is looked up or of the transaction.
    Other,
    /// The column that a lookup goes by.
    Unique,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    Filter(String),
    /// Compared with a literal.
    Compare {
        operator: String,
        with: Literal,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Text(String),
    Number,
    Bool,
}

/// The rules of packs that compile, in the order in which they run.
pub fn outline(sources: &[PackSource]) -> Vec<RuleOutline> {
    let mut outlines = Vec::new();
    for source in sources {
        let mut report = Report::new(&source.origin);
        let Some(pack) = read::parse(&source.text, &mut report) else {
            continue;
        };
        let tables = compile::tables(&pack, source.schema.as_deref());
        let of = |rule: &RuleText| rule_outline(source, &pack, &tables, rule);
        outlines.extend(pack.rules.iter().filter_map(of));
    }
    outlines
}

fn rule_outline(
    source: &PackSource,
    pack: &Pack,
    tables: &BTreeMap<String, TableName>,
    rule: &RuleText,
) -> Option<RuleOutline> {
    let own = tables.get(&rule.table.text)?;
    let mut scan = Scan {
        own,
        tables,
        names: Names {
            variables: BTreeMap::new(),
            tables: tables.keys().cloned().collect(),
            grouped: rule.group.is_some(),
        },
        uses: Vec::new(),
    };
    let wanted = wanted_defaults(pack, rule);
    let inherited = pack.defaults.lets.iter().filter(|(name, _)| {
        wanted.contains(&name.text) && !rule.lets.iter().any(|(own, _)| own.text == name.text)
    });
    for (name, expression) in inherited.chain(&rule.lets) {
        let holds = scan.expression(&format!("let.{}", name.text), expression);
        scan.names.variables.insert(name.text.clone(), holds);
    }
    for (key, expression) in [("when", &rule.when), ("group", &rule.group)] {
        if let Some(expression) = expression {
            scan.expression(key, expression);
        }
    }
    if let Some(each) = &rule.each {
        let item = match scan.expression("each", each) {
            Some(Holds::Rows(of)) => Some(Holds::Row(of)),
            Some(Holds::Row(_)) | None => None,
        };
        scan.names.variables.insert("item".to_owned(), item);
    }
    for (name, expression) in &rule.data {
        scan.expression(&format!("data.{}", name.text), expression);
    }
    for (key, template) in templates(pack, rule) {
        scan.template(&key, template);
    }
    for column in &rule.changes {
        scan.add(&column.text, Row::Both, None, "changes", column.line, None);
    }
    Some(RuleOutline {
        id: format!("{}/{}", pack.name.text, rule.name.text),
        origin: source.origin.clone(),
        line: rule.name.line,
        table: own.clone(),
        on: rule.on.iter().map(|on| on.text.clone()).collect(),
        when: rule.when.as_ref().map(|when| when.text.trim().to_owned()),
        uses: scan.uses,
    })
}

/// The outputs of a rule: its own, and the pack's where it has none.
fn templates<'a>(pack: &'a Pack, rule: &'a RuleText) -> Vec<(String, &'a Located)> {
    let own = &rule.outputs;
    let defaults = &pack.defaults.outputs;
    let inherited = defaults
        .columns
        .iter()
        .filter(|(name, _)| !own.columns.iter().any(|(n, _)| n == name));
    let columns = inherited
        .chain(&own.columns)
        .map(|(name, text)| (name.clone(), text));
    let ids = defaults.reference_ids.iter();
    let ids = ids.filter(|(name, _)| !own.reference_ids.iter().any(|(n, _)| n.text == name.text));
    let ids = ids.chain(&own.reference_ids);
    let ids = ids.map(|(name, text)| (format!("reference_ids.{}", name.text), text));
    columns.chain(ids).collect()
}

/// The pack's variables that the rule reads, directly or through others.
fn wanted_defaults(pack: &Pack, rule: &RuleText) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    let mut read = |tokens: Vec<Token<'_>>| {
        wanted.extend(
            tokens
                .iter()
                .filter(|t| t.kind == Kind::Name)
                .map(|t| t.text.to_owned()),
        );
    };
    let expressions = rule
        .lets
        .iter()
        .chain(&rule.data)
        .map(|(_, expression)| expression);
    for expression in expressions
        .chain(&rule.when)
        .chain(&rule.group)
        .chain(&rule.each)
    {
        read(syntax::expression(&expression.text));
    }
    for (_, template) in templates(pack, rule) {
        read(syntax::template(&template.text));
    }
    for (name, expression) in pack.defaults.lets.iter().rev() {
        if wanted.contains(&name.text) {
            let tokens = syntax::expression(&expression.text);
            wanted.extend(
                tokens
                    .iter()
                    .filter(|t| t.kind == Kind::Name)
                    .map(|t| t.text.to_owned()),
            );
        }
    }
    wanted
}

struct Scan<'a> {
    own: &'a TableName,
    tables: &'a BTreeMap<String, TableName>,
    names: Names,
    uses: Vec<ColumnUse>,
}

impl Scan<'_> {
    fn expression(&mut self, key: &str, text: &Located) -> Option<Holds> {
        self.program(key, text, &syntax::expression(&text.text))
    }

    fn template(&mut self, key: &str, text: &Located) {
        self.program(key, text, &syntax::template(&text.text));
    }

    fn program(&mut self, key: &str, text: &Located, tokens: &[Token<'_>]) -> Option<Holds> {
        for at in 0..tokens.len() {
            self.look(key, text, tokens, at);
        }
        let found = references(tokens, &self.names);
        for (alias, column) in &found.others {
            self.other(alias, column, Row::Other, key, text, tokens);
        }
        for (alias, column) in &found.unique {
            self.other(alias, column, Row::Unique, key, text, tokens);
        }
        found.holds
    }

    /// `new.column`, `old['column']`, `changed('column')`, `first('column', …)`.
    fn look(&mut self, key: &str, text: &Located, tokens: &[Token<'_>], at: usize) {
        let token = |n: usize| tokens.get(at + n);
        let Some(head) = token(0).filter(|t| t.kind == Kind::Name) else {
            return;
        };
        let attribute = at.checked_sub(1).and_then(|n| tokens.get(n));
        if attribute.is_some_and(|t| t.is_symbol(".") || t.is_symbol("|")) {
            return;
        }
        let row = match head.text {
            "new" => Row::New,
            "old" => Row::Old,
            "changed" | "first" => Row::Both,
            _ => return,
        };
        let (Some(open), Some(column)) = (token(1), token(2)) else {
            return;
        };
        let named = match row {
            Row::Both => open.is_symbol("(") && column.kind == Kind::Text,
            _ if open.is_symbol(".") => column.kind == Kind::Name,
            _ => open.is_symbol("[") && column.kind == Kind::Text,
        };
        if !named {
            return;
        }
        let after = if open.is_symbol(".") { 3 } else { 4 };
        let then = if row == Row::Both {
            None
        } else {
            then(tokens.get(at + after..).unwrap_or(&[]))
        };
        let line = text.line + syntax::line(&text.text, column.start) - 1;
        let mark = Some(Mark::of(&text.text, column.start, column.end));
        self.add(column.text, row, then, key, line, mark);
    }

    fn other(
        &mut self,
        alias: &str,
        column: &str,
        row: Row,
        key: &str,
        text: &Located,
        tokens: &[Token<'_>],
    ) {
        let Some(table) = self.tables.get(alias).cloned() else {
            return;
        };
        let token = tokens
            .iter()
            .find(|t| t.text == column && t.kind != Kind::Symbol);
        let at = token.map_or(0, |t| t.start);
        self.uses.push(ColumnUse {
            table,
            column: column.to_owned(),
            row,
            then: None,
            key: key.to_owned(),
            line: text.line + syntax::line(&text.text, at) - 1,
            mark: token.map(|t| Mark::of(&text.text, t.start, t.end)),
        });
    }

    fn add(
        &mut self,
        column: &str,
        row: Row,
        then: Option<Then>,
        key: &str,
        line: usize,
        mark: Option<Mark>,
    ) {
        self.uses.push(ColumnUse {
            table: self.own.clone(),
            column: column.to_owned(),
            row,
            then,
            key: key.to_owned(),
            line,
            mark,
        });
    }
}

/// What follows a column: a filter, or a comparison with a literal.
fn then(after: &[Token<'_>]) -> Option<Then> {
    let [first, second, ..] = after else {
        return None;
    };
    if first.is_symbol("|") {
        return (second.kind == Kind::Name).then(|| Then::Filter(second.text.to_owned()));
    }
    let compares = ["==", "!=", "<", "<=", ">", ">="];
    if first.kind != Kind::Symbol || !compares.contains(&first.text) {
        return None;
    }
    let with = match second.kind {
        Kind::Text => Literal::Text(second.text.to_owned()),
        Kind::Number => Literal::Number,
        Kind::Name if matches!(second.text, "true" | "false" | "True" | "False") => Literal::Bool,
        Kind::Name | Kind::Symbol | Kind::Start | Kind::End => return None,
    };
    // What a filter or an operation makes of the literal is not known.
    let ends = after.get(2).is_none_or(|t| {
        t.kind == Kind::End
            || t.is_symbol(")")
            || t.is_symbol(",")
            || t.is_name("and")
            || t.is_name("or")
    });
    let operator = first.text.to_owned();
    ends.then_some(Then::Compare { operator, with })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = r#"
[pack]
name = "shop"
[tables.shops]
[tables.orders]
[defaults]
let = { shop = "lookup('shops', new.slug, by='slug')", unused = "lookup('shops', new.nothing)" }
user_id = "{{ shop.owner }}"
[[rules]]
name = "ordered"
table = "orders"
on = ["insert", "update"]
when = """
changed('state')
and new.total > 5 and new['Odd name'] == 'x'"""
let = { tags = "new.tags | added(old.tags)" }
action_details = "{{ new.note | truncate(80) }}"
"#;

    fn pack() -> Vec<RuleOutline> {
        outline(&[PackSource {
            origin: "shop.toml".to_owned(),
            text: PACK.replace(" | truncate(80)", ""),
            schema: Some("S".to_owned()),
        }])
    }

    #[test]
    fn every_column_is_found_with_its_row_its_line_and_what_is_done_with_it() {
        let outline = pack();
        assert_eq!(outline.len(), 1);
        let rule = &outline[0];
        assert_eq!((rule.id.as_str(), rule.line), ("shop/ordered", 10));
        assert_eq!(rule.table, TableName::new("S", "orders"));
        let found = |column: &str, row: Row| {
            let found = rule
                .uses
                .iter()
                .find(|u| u.column == column && u.row == row);
            found.unwrap_or_else(|| panic!("{column} {:?}", rule.uses))
        };
        assert_eq!(found("state", Row::Both).line, 14);
        assert_eq!(found("total", Row::New).line, 15);
        let number = Then::Compare {
            operator: ">".to_owned(),
            with: Literal::Number,
        };
        assert_eq!(found("total", Row::New).then, Some(number));
        let text = Then::Compare {
            operator: "==".to_owned(),
            with: Literal::Text("x".to_owned()),
        };
        assert_eq!(found("Odd name", Row::New).then, Some(text));
        assert_eq!(
            found("tags", Row::New).then,
            Some(Then::Filter("added".to_owned()))
        );
        assert_eq!(found("tags", Row::Old).key, "let.tags");
        assert_eq!(
            found("slug", Row::Unique).table,
            TableName::new("S", "shops")
        );
        assert_eq!(found("owner", Row::Other).key, "user_id");
        assert!(!rule.uses.iter().any(|used| used.column == "nothing"));
    }

    #[test]
    fn a_mark_points_at_the_column_in_its_line() {
        let outline = pack();
        let used = outline[0]
            .uses
            .iter()
            .find(|used| used.column == "total")
            .unwrap();
        let mark = used.mark.clone().unwrap();
        let line = PACK.lines().nth(used.line - 1).unwrap();
        let place = mark.find(line).unwrap();
        assert_eq!(&line[place], "total");
    }
}
