//! Whether what a rule does with a column suits the column's type.

use rules::{ColumnUse, Literal, Row, RuleOutline, Then, nearest};
use store::catalog::{SurveyedColumn, WordsFrom};

use super::finding;
use super::kind::Kind;
use crate::finding::{Finding, Weight};

/// Filters of lists: of a text they would take it apart, or fail.
const OF_LISTS: &[&str] = &[
    "added",
    "removed",
    "modified",
    "differences",
    "each",
    "map",
    "selectattr",
    "rejectattr",
    "sum",
];

pub fn misfit(rule: &RuleOutline, used: &ColumnUse, column: &SurveyedColumn) -> Option<Finding> {
    let kind = Kind::of(column);
    let told = |level, message: String, hint: Option<String>| {
        Some(Finding {
            hint,
            ..finding(level, rule, Some(used), message)
        })
    };
    let name = format!("column {} of {}", used.column, used.table);
    let type_name = &column.type_name;
    if kind == Kind::Binary && used.row != Row::Unique {
        let message = format!("{name} is {type_name}, which rules can not use");
        return told(Weight::Error, message, None);
    }
    match used.then.as_ref()? {
        Then::Filter(filter) if OF_LISTS.contains(&filter.as_str()) => match kind {
            Kind::Text => {
                let hint = "a text that holds JSON becomes a list by `| fromjson`".to_owned();
                let message = format!("{filter} needs a list, but {name} is {type_name}");
                told(Weight::Error, message, Some(hint))
            }
            Kind::Bool | Kind::Number => told(
                Weight::Error,
                format!("{filter} needs a list, but {name} is {type_name}"),
                None,
            ),
            Kind::Json | Kind::List | Kind::Binary | Kind::Other => None,
        },
        Then::Filter(filter) if filter == "fromjson" && kind == Kind::Json => {
            let message = format!("{name} is {type_name} already, and fromjson reads texts");
            told(
                Weight::Error,
                message,
                Some("leave `| fromjson` out".to_owned()),
            )
        }
        Then::Filter(filter)
            if filter == "unix" && matches!(kind, Kind::Bool | Kind::Json | Kind::List) =>
        {
            told(
                Weight::Error,
                format!("unix needs a time, but {name} is {type_name}"),
                None,
            )
        }
        Then::Filter(_) => None,
        Then::Compare { operator, with } => {
            let (with_kind, with_name) = match with {
                Literal::Text(_) => (Kind::Text, "a text"),
                Literal::Number => (Kind::Number, "a number"),
                Literal::Bool => (Kind::Bool, "a boolean"),
            };
            let comparable = !matches!(kind, Kind::Bool | Kind::Number | Kind::Text | Kind::List);
            if comparable || kind == with_kind {
                return unknown_word(rule, used, column, with);
            }
            let message = format!(
                "{name} is {} ({type_name}), and {operator} compares it with {with_name}: every row would be \
                 a fault",
                kind.name()
            );
            told(Weight::Error, message, mend(kind, with))
        }
    }
}

fn mend(kind: Kind, with: &Literal) -> Option<String> {
    match (kind, with) {
        (Kind::Number, Literal::Text(text)) if text.parse::<f64>().is_ok() => {
            Some(format!("write {text} without quotes"))
        }
        (Kind::Bool, Literal::Text(text))
            if matches!(text.as_str(), "t" | "true" | "f" | "false") =>
        {
            let word = if text.starts_with('t') {
                "true"
            } else {
                "false"
            };
            Some(format!("write {word} without quotes"))
        }
        (Kind::Text, Literal::Number) => {
            Some("put the number in quotes, or write `| int` behind the column".to_owned())
        }
        _ => None,
    }
}

/// A word that an enum or a check does not have: the rule would never speak.
fn unknown_word(
    rule: &RuleOutline,
    used: &ColumnUse,
    column: &SurveyedColumn,
    with: &Literal,
) -> Option<Finding> {
    let closed = matches!(column.words_from, Some(WordsFrom::Enum | WordsFrom::Check));
    let Literal::Text(word) = with else {
        return None;
    };
    if !closed || column.words.contains(word) {
        return None;
    }
    let message = format!("column {} of {} is never '{word}'", used.column, used.table);
    let hint = match nearest(word, column.words.iter().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("it is one of {}", column.words.join(", ")),
    };
    Some(Finding {
        hint: Some(hint),
        ..finding(Weight::Warning, rule, Some(used), message)
    })
}
