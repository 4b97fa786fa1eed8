use super::*;
use crate::syntax::{expression, template};

fn names() -> Names {
    Names {
        variables: BTreeMap::from([("item".to_owned(), None)]),
        tables: BTreeSet::from(["shops", "items"].map(str::to_owned)),
        grouped: true,
    }
}

fn of(source: &str) -> References {
    references(&template(source), &names())
}

#[test]
fn columns_are_found_however_they_are_written() {
    let found =
        of("{{ new.a }}{% if changed('b') %}{{ old['C d'] | join }}{% endif %}{{ item.new }}");
    assert_eq!(found.new, BTreeSet::from(["a", "b"].map(str::to_owned)));
    assert_eq!(found.old, BTreeSet::from(["C d", "b"].map(str::to_owned)));
    assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
}

#[test]
fn names_that_do_not_exist_are_mistakes() {
    for (source, message) in [
        ("{{ new }}", "new is not used by column"),
        ("{{ new[item] }}", "new is not used by column"),
        (
            "{{ changed(item) }}",
            "changed needs the name of one column",
        ),
        ("{{ item | jion }}", "there is no filter jion"),
        ("{% if item is odd %}{% endif %}", "there is no test odd"),
        ("{{ tx.inserted }}", "tx is asked for the rows of one table"),
        ("{{ lookup('a', 1) }}", "there is no table a in the pack"),
        (
            "{{ lookup(item) }}",
            "lookup needs the alias of a table and a key",
        ),
        ("{{ lookups('a') }}", "there is no function lookups"),
        (
            "{{ first('a') }}",
            "first needs the name of one column and a value",
        ),
        ("{{ item.keys() }}", "there is no method keys"),
        (
            "{% macro m() %}{% endmacro %}",
            "there is no statement macro",
        ),
    ] {
        let found = of(source);
        assert_eq!(
            found.mistakes.first().map(|m| m.message.as_str()),
            Some(message)
        );
    }
}

#[test]
fn what_a_template_assigns_is_known() {
    for source in [
        "{% for a, b in item %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}",
        "{% set x = item %}{{ x }}",
        "{% with y = item %}{{ y }}{% endwith %}",
    ] {
        assert!(of(source).mistakes.is_empty(), "{source}");
    }
    let names = references(&expression("item | added(item, by=['a'])"), &names());
    assert!(names.mistakes.is_empty());
}

#[test]
fn the_columns_of_other_rows_are_found_as_far_as_the_text_tells() {
    for (source, columns) in [
        ("{{ lookup('shops', new.a).name }}", vec!["shops.name"]),
        (
            "{{ lookup('shops', new.a)['Odd name'].x }}",
            vec!["shops.Odd name"],
        ),
        (
            "{{ lookup('shops', new.a, by='slug').name }}",
            vec!["shops.name", "shops.slug"],
        ),
        (
            "{% set s = lookup('shops', 1) %}{{ s.name }}",
            vec!["shops.name"],
        ),
        (
            "{{ tx.inserted('items') | map(attribute='name') | join }}",
            vec!["items.name"],
        ),
        (
            "{{ tx.deleted('items') | selectattr('kind', 'eq', 'x') | map(attribute='n.m') }}",
            vec!["items.kind", "items.n"],
        ),
        (
            "{% for i in tx.updated('items') | unique(by=['a', 'b']) %}{{ i.c }}{% endfor %}",
            vec!["items.a", "items.b", "items.c"],
        ),
        (
            "{{ tx.inserted('items') | each('{{ item.name }}') | join }}",
            vec!["items.name"],
        ),
        (
            "{{ (tx.inserted('items') | first).name }}",
            vec!["items.name"],
        ),
        (
            "{{ lookup('shops', lookup('items', 1).shop).name }}",
            vec!["items.shop", "shops.name"],
        ),
    ] {
        let found = of(source);
        let named: Vec<String> = found
            .others
            .iter()
            .map(|(table, column)| format!("{table}.{column}"))
            .collect();
        assert_eq!(named, columns, "{source}");
        assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
    }
    let rows = of("{{ rows | map(attribute='name') | join }}{{ rows[0].kind }}");
    assert_eq!(
        rows.new,
        BTreeSet::from(["kind", "name"].map(str::to_owned))
    );
}

#[test]
fn an_expression_that_is_a_row_makes_its_variable_one() {
    let holds = |source| references(&expression(source), &names()).holds;
    let row = || Some(Holds::Row(Of::Table("shops".to_owned())));
    assert_eq!(holds("lookup('shops', new.a)"), row());
    assert_eq!(holds("tx.inserted('shops') | first"), row());
    assert_eq!(holds("lookup('shops', new.a).name"), None);
    assert_eq!(holds("new.a"), None);
}
