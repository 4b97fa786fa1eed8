//! Catalog facts in one line per table, for tests:
//! `schema.table: key* type, column! type = word|word > other, unique+ type`.

use activity::TableName;
use store::catalog::{ForeignKey, Survey, SurveyedColumn, SurveyedTable, WordsFrom};

/// `*` is the key, `+` unique, `!` not null; `= a|b` the words of an enum, `> t` a foreign key to
/// the key of a table of the same schema.
pub fn survey(facts: &str) -> Survey {
    let mut survey = Survey::new();
    for line in facts.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, columns) = line.split_once(':').unwrap();
        let (schema, table) = name.split_once('.').unwrap();
        let mut surveyed = SurveyedTable::default();
        for column in columns.split(", ").map(str::trim) {
            add(&mut surveyed, schema, column);
        }
        survey.insert(TableName::new(schema, table), surveyed);
    }
    let keys: Vec<_> = survey
        .iter()
        .map(|(name, table)| (name.clone(), table.key.first().cloned().unwrap_or_default()))
        .collect();
    for table in survey.values_mut() {
        for foreign in &mut table.foreign {
            let key = keys.iter().find(|(name, _)| *name == foreign.table);
            foreign.target = key.unwrap().1.clone();
        }
    }
    survey
}

fn add(table: &mut SurveyedTable, schema: &str, column: &str) {
    let (rest, target) = match column.split_once(" > ") {
        Some((rest, target)) => (rest, Some(target)),
        None => (column, None),
    };
    let (rest, words) = match rest.split_once(" = ") {
        Some((rest, words)) => (rest, words.split('|').map(str::to_owned).collect()),
        None => (rest, Vec::new()),
    };
    let (marked, type_name) = rest.rsplit_once(' ').unwrap();
    let name = marked.trim_end_matches(['*', '+', '!']).to_owned();
    if marked.contains('*') {
        table.key.push(name.clone());
    }
    if marked.contains(['*', '+']) {
        table.unique.push(name.clone());
    }
    if let Some(target) = target {
        table.foreign.push(ForeignKey {
            column: name.clone(),
            table: TableName::new(schema, target),
            target: String::new(),
        });
    }
    let words: Vec<String> = words;
    table.columns.push(SurveyedColumn {
        name,
        type_oid: type_oid(type_name),
        type_name: type_name.to_owned(),
        not_null: marked.contains(['!', '*']),
        fills_itself: false,
        toastable: matches!(type_name, "text" | "jsonb" | "varchar"),
        words_from: (!words.is_empty()).then_some(WordsFrom::Enum),
        words,
    });
}

fn type_oid(type_name: &str) -> u32 {
    match type_name {
        "boolean" => 16,
        "bytea" => 17,
        "bigint" => 20,
        "int" => 23,
        "text" => 25,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        "jsonb" => 3802,
        other if other.starts_with("varchar") => 1043,
        _ => 90_000,
    }
}
