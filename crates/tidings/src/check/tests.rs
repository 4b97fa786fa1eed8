use rules::{PackSource, outline};
use store::catalog::{Generated, Survey};

use super::*;
use crate::init::fixture::survey;

const PACK: &str = r#"
[pack]
name = "shop"
[tables.shops]
[tables.orders]
[[rules]]
name = "ordered"
table = "orders"
on = ["insert", "update"]
let = { shop = "lookup('shops', new.slug, by='slug')" }
when = "changed('state') and new.state == 'paid' and new.total > 5"
user_id = "{{ shop.owner }}"
action_details = "{{ new.note }}"
"#;

const TABLES: &str = "
    public.orders: id* bigint, slug text, state orderState = open|paid, total numeric, note varchar(80), blob bytea, done boolean, api_token text, lines jsonb
    public.shops: id* bigint, slug+ text, owner text
    public.project_actions: action_id* varchar, project_id varchar";

fn of(pack: &str, survey: &Survey) -> Vec<Finding> {
    let rules = outline(&[PackSource {
        origin: "shop.toml".to_owned(),
        text: pack.to_owned(),
        schema: None,
    }]);
    assert!(!rules.is_empty(), "the pack is wrong:\n{pack}");
    findings(&Facts {
        used: &[],
        rules: &rules,
        survey,
        publication: None,
        actions_table: &TableName::new("public", "project_actions"),
        listed: &|_| false,
        version: 180_000,
    })
}

/// What is said of a pack, a text of which is replaced.
fn told(replace: &str, with: &str) -> Vec<(Weight, String, String)> {
    let pack = PACK.replacen(replace, with, 1);
    let findings = of(&pack, &survey(TABLES));
    let told = findings.into_iter().filter(|f| f.level != Weight::Note);
    told.map(|f| (f.level, f.message, f.hint.unwrap_or_default()))
        .collect()
}

#[test]
fn a_pack_that_fits_gives_neither_errors_nor_warnings() {
    assert_eq!(told("", ""), []);
}

#[test]
fn whatever_does_not_fit_is_named_with_a_hint() {
    for (replace, with, level, message, hint) in [
        (
            "new.note",
            "new.nota",
            Weight::Error,
            "no column nota",
            "did you mean note?",
        ),
        (
            "[tables.orders]",
            "[tables.orders]\ntable = \"oders\"",
            Weight::Error,
            "public.oders does not exist",
            "did you mean orders?",
        ),
        (
            "[tables.orders]",
            "[tables.orders]\nschema = \"Shop\"",
            Weight::Error,
            "does not exist",
            "a table public.orders",
        ),
        ("new.note", "new.blob", Weight::Error, "is bytea", ""),
        (
            "new.total > 5",
            "new.total > '5'",
            Weight::Error,
            "compares it with a text",
            "write 5 without quotes",
        ),
        (
            "new.total > 5",
            "new.slug == 5",
            Weight::Error,
            "compares it with a number",
            "| int",
        ),
        (
            "new.total > 5",
            "new.done == 'true'",
            Weight::Error,
            "a boolean",
            "write true without quotes",
        ),
        (
            "'paid'",
            "'payed'",
            Weight::Warning,
            "is never 'payed'",
            "did you mean 'paid'?",
        ),
        (
            "new.note",
            "new.slug | map('upper')",
            Weight::Error,
            "map needs a list",
            "fromjson",
        ),
        (
            "by='slug'",
            "by='owner'",
            Weight::Error,
            "not unique",
            "unique are id, slug",
        ),
        (
            "new.note",
            "new.api_token",
            Weight::Warning,
            "looks like a secret",
            "",
        ),
    ] {
        let told = told(replace, with);
        let found = told.iter().find(|(_, m, _)| m.contains(message));
        let (found_level, _, found_hint) = found.unwrap_or_else(|| panic!("{message}: {told:?}"));
        assert_eq!(*found_level, level, "{with}");
        assert!(found_hint.contains(hint), "{hint} is not in {found_hint}");
    }
}

#[test]
fn a_finding_points_at_the_column_in_its_line() {
    let pack = PACK.replace("new.note", "new.nota");
    let findings = of(&pack, &survey(TABLES));
    let texts = std::collections::HashMap::from([("shop.toml", pack.as_str())]);
    let shown = crate::finding::render(&findings[..1], &texts, false);
    assert!(
        shown.contains(
            "13 | action_details = \"{{ new.nota }}\"\n   |                          ^^^^"
        ),
        "{shown}"
    );
}

#[test]
fn tables_without_a_key_and_large_values_are_told() {
    let mut without = survey(TABLES);
    without
        .get_mut(&TableName::new("public", "orders"))
        .unwrap()
        .key
        .clear();
    assert!(
        of(PACK, &without)
            .iter()
            .any(|f| f.message.contains("no primary key"))
    );
    let large = PACK.replace("new.note", "new.lines");
    let notes = of(&large, &survey(TABLES));
    let note = notes
        .iter()
        .find(|f| f.message.contains("large values of lines"));
    assert!(
        note.is_some_and(|f| f.level == Weight::Note && f.message.contains("silent")),
        "{notes:?}"
    );
}

#[test]
fn a_table_of_actions_that_nobody_can_fill_is_an_error() {
    let mut refusing = survey(TABLES);
    let actions = refusing
        .get_mut(&TableName::new("public", "project_actions"))
        .unwrap();
    actions.columns[1].not_null = true;
    let mut tenant = actions.columns[1].clone();
    tenant.name = "tenant".to_owned();
    actions.columns.push(tenant);
    let told = of(PACK, &refusing);
    let levels: Vec<_> = told
        .iter()
        .filter(|f| f.file.is_empty())
        .map(|f| (f.level, f.message.contains("tenant")))
        .collect();
    assert_eq!(levels, [(Weight::Error, true), (Weight::Warning, false)]);
}

#[test]
fn a_generated_column_that_the_stream_lacks_is_an_error_with_what_mends_it() {
    let mut tables = survey(TABLES);
    let orders = tables.get_mut(&TableName::new("public", "orders")).unwrap();
    orders.generated = vec![
        ("note".to_owned(), Generated::Stored),
        ("blob".to_owned(), Generated::Stored),
    ];
    let said = of(PACK, &tables);
    let said: Vec<&Finding> = said.iter().filter(|f| f.level == Weight::Error).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0]
            .message
            .contains("column note of table public.orders is generated")
    );
    assert!(said[0].message.contains("capture.columns = \"listed\""));
}

#[test]
fn a_whole_row_as_identity_is_an_error_where_it_would_make_updates_fail() {
    let mut tables = survey(TABLES);
    let orders = tables.get_mut(&TableName::new("public", "orders")).unwrap();
    orders.full = true;
    let errors = |tables: &Survey| {
        let found = of(PACK, tables).into_iter();
        found.filter(|f| f.level == Weight::Error).count()
    };
    assert_eq!(errors(&tables), 0);
    let orders = tables.get_mut(&TableName::new("public", "orders")).unwrap();
    orders.generated = vec![("blob".to_owned(), Generated::Stored)];
    assert_eq!(errors(&tables), 1);
}
