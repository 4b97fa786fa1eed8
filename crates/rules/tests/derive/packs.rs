//! Packs that are wrong are refused with every mistake at its place.

use rules::{PackSource, Rules};

fn source(text: &str) -> PackSource {
    PackSource {
        origin: "my.toml".to_owned(),
        text: text.to_owned(),
        schema: None,
    }
}

fn problems(text: &str) -> Vec<String> {
    let errors = Rules::compile(&[source(text)]).unwrap_err();
    errors
        .0
        .iter()
        .map(|problem| problem.to_string().replace("\n    ", " "))
        .collect()
}

const HEAD: &str =
    "[pack]\nname = \"p\"\n[tables.t]\n[[rules]]\nname = \"r\"\ntable = \"t\"\non = \"insert\"\n";

#[test]
fn every_mistake_is_told_with_file_line_rule_key_and_hint() {
    for (line, expected) in [
        (
            "whem = 'true'",
            "my.toml:8: rule r: whem: there is no such key hint: did you mean when?",
        ),
        (
            "when = 1",
            "my.toml:8: rule r: when: is not a text hint: put it in quotes",
        ),
        (
            "when = 'new.'",
            "my.toml:8: rule r: when: unexpected end of input, expected identifier or integer",
        ),
        (
            "when = 'nw.status'",
            "my.toml:8: rule r: when: there is no variable nw hint: did you mean new?",
        ),
        (
            "when = 'new.a | jion'",
            "my.toml:8: rule r: when: there is no filter jion hint: did you mean join?",
        ),
        (
            "when = 'new.a < new.b < 3'",
            "my.toml:8: rule r: when: comparisons can not be chained hint: write a < b and b < c",
        ),
        (
            "when = 'tx.inserted'",
            "my.toml:8: rule r: when: tx is asked for the rows of one table hint: write tx.inserted('table'), tx.updated('table') or tx.deleted('table')",
        ),
        (
            "when = 'true) %}{{ 1 }}{% set x = (1'",
            "my.toml:8: rule r: when: unexpected input after expression",
        ),
        (
            "let = { new = '1' }",
            "my.toml:8: rule r: let.new: new can not be the name of a variable hint: use letters, digits and _, and no word of the language",
        ),
        (
            "let = { a = 'b', b = '1' }",
            "my.toml:8: rule r: let.a: there is no variable b hint: a variable is one of new, old, changed, first, lookup, tx, context",
        ),
        (
            "action_details = '{{ item.x }}'",
            "my.toml:8: rule r: action_details: there is no variable item hint: a variable is one of new, old, changed, first, lookup, tx, context",
        ),
        (
            "action_details = '''\n\n{% for x in new.a %}\n{{ y }}{% endfor %}'''",
            "my.toml:11: rule r: action_details: there is no variable y hint: a variable is one of new, old, changed, first, lookup, tx, context",
        ),
        (
            "reference_ids = { a = '{{ new }}' }",
            "my.toml:8: rule r: reference_ids.a: new is not used by column hint: write new.column or new['column']: the columns that rules use must be known beforehand",
        ),
        (
            "[[rules]]\nname = 'r'\ntable = 't'\non = 'insert'",
            "my.toml:9: name: there are two rules named r",
        ),
        (
            "[[rules]]\nname = 's'\ntable = 'tt'\non = 'insert'",
            "my.toml:10: rule s: table: there is no table tt in the pack hint: did you mean t?",
        ),
        (
            "[[rules]]\nname = 's'\ntable = 't'\non = ['inserted']",
            "my.toml:11: rule s: on: there is no change inserted hint: did you mean insert?",
        ),
        (
            "[[rules]]\ntable = 't'\non = 'insert'",
            "my.toml:8: name: is missing",
        ),
        (
            "when = ",
            "my.toml:8: string values must be quoted, expected literal string",
        ),
    ] {
        assert_eq!(problems(&format!("{HEAD}{line}\n")), [expected], "{line}");
    }
}

#[test]
fn all_mistakes_of_all_packs_are_told_at_once() {
    let one = source(&format!("{HEAD}when = 'a'\nstatus = '{{{{ b }}}}'\n"));
    let errors = Rules::compile(&[one.clone(), one]).unwrap_err();
    let keys: Vec<_> = errors
        .0
        .iter()
        .map(|problem| problem.key.as_deref())
        .collect();
    assert_eq!(keys, [Some("when"), Some("status"), Some("name")]);
}

#[test]
fn a_pack_without_a_name_is_refused() {
    assert_eq!(
        problems(""),
        ["my.toml:1: pack: the pack has no name hint: write [pack] and name = \"…\""]
    );
}

#[test]
fn tables_stand_in_the_schema_they_name_else_where_the_pack_is_placed() {
    let text = "[pack]\nname = \"p\"\n[tables.a]\n[tables.b]\nschema = \"s\"\ntable = \"B\"\n\
        [[rules]]\nname = \"r\"\ntable = \"a\"\non = \"insert\"\nstatus = \"{{ new['Odd name'] }}\"\n\
        [[rules]]\nname = \"q\"\ntable = \"b\"\non = \"insert\"\nwhen = \"changed('x')\"\n";
    let placed = PackSource {
        schema: Some("TurboBackend".to_owned()),
        ..source(text)
    };
    let rules = Rules::compile(std::slice::from_ref(&placed)).unwrap();
    let tables: Vec<_> = rules
        .tables()
        .map(|used| {
            (
                used.table.to_string(),
                used.columns.iter().cloned().collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        tables,
        [
            ("\"TurboBackend\".a".to_owned(), vec!["Odd name".to_owned()]),
            ("s.\"B\"".to_owned(), vec!["x".to_owned()]),
        ]
    );
    let names: Vec<_> = rules.rules().map(|rule| rule.name).collect();
    assert_eq!(names, ["p/r", "p/q"]);
    assert_eq!(rules.sources(), [placed]);
}

#[test]
fn the_packs_of_the_manual_compile() {
    let manual = include_str!("../../../../docs/rules.md");
    let packs: Vec<&str> = manual
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.contains("[pack]"))
        .collect();
    assert!(!packs.is_empty());
    for pack in packs {
        let rules = Rules::compile(&[source(pack)]).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(rules.rules().count() > 0);
    }
}
