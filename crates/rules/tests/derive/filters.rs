//! Filters that reach into their pack: value maps, and templates for each item.

use rules::{PackSource, Rules};
use serde_json::json;

use crate::worker::{Worker, insert, table};

const HEAD: &str =
    "[pack]\nname = \"p\"\n[tables.t]\n[[rules]]\nname = \"r\"\ntable = \"t\"\non = \"insert\"\n";

const TEXT: u32 = 25;
const INTEGER: u32 = 23;
const JSONB: u32 = 3802;
const BOOL: u32 = 16;

/// What the template says of a row.
fn said(pack: &str, columns: &[(&str, u32)], row: &serde_json::Value) -> Vec<String> {
    let relation = table("t", columns);
    Worker::new(pack, &[&relation]).sentences(vec![insert(&relation, row)])
}

fn problems(text: &str) -> Vec<String> {
    let source = PackSource {
        origin: "my.toml".to_owned(),
        text: text.to_owned(),
        schema: None,
    };
    let errors = Rules::compile(&[source]).unwrap_err();
    let text = |problem: &rules::Problem| problem.to_string().replace("\n    ", " ");
    errors.0.iter().map(text).collect()
}

#[test]
fn values_are_translated_by_the_text_they_print() {
    let pack = format!(
        "{HEAD}action_details = \"{{{{ new.n | translate('m') }}}} {{{{ new.s | translate('m') }}}} \
         {{{{ new.b | translate('m') }}}} {{{{ new.x | translate('m', 'other') }}}} \
         {{{{ [1, 'y'] | map('translate', 'm') | join }}}} {{{{ new.none | translate('m', 'other') }}}}|\"\n\
         [maps.m]\n1 = 'one'\ntrue = 'yes'\n'a b' = 5\n"
    );
    let columns = [
        ("id", TEXT),
        ("n", INTEGER),
        ("s", TEXT),
        ("b", BOOL),
        ("x", TEXT),
        ("none", TEXT),
    ];
    let row = json!({"id": "1", "n": 1, "s": "a b", "b": "t", "x": "unknown"});
    assert_eq!(said(&pack, &columns, &row), ["one 5 yes other one, y |"]);
}

#[test]
fn a_map_belongs_to_its_pack() {
    let pack = |name: &str, text: &str| PackSource {
        origin: name.to_owned(),
        text: format!(
            "[pack]\nname = '{name}'\n[tables.t]\n[maps.status]\n1 = '{text}'\n[[rules]]\nname = 'r'\n\
             table = 't'\non = 'insert'\n\
             action_details = \"{{{{ [new.n] | each(\\\"{{{{ item | translate('status') }}}}\\\") | join }}}}\"\n"
        ),
        schema: None,
    };
    let relation = table("t", &[("id", TEXT), ("n", INTEGER)]);
    let mut worker = Worker::new("[pack]\nname = 'none'\n", &[&relation]);
    worker.rules = Rules::compile(&[pack("a", "apple"), pack("b", "pear")]).unwrap();
    let row = json!({"id": "1", "n": 1});
    let said = worker.sentences(vec![insert(&relation, &row)]);
    assert_eq!(said, ["apple", "pear"]);
}

#[test]
fn each_item_is_told_by_a_template_that_sees_it_alone() {
    let pack = format!(
        "{HEAD}let = {{ nested = \"new.l | each('{{{{ item.p }}}}') | join('/')\" }}\n\
         action_details = '''{{{{ new.l | each('{{{{ item.m }}}}{{% if item.m == \"GET\" %}}!{{% endif %}} {{{{ \
         item.p ~ none }}}}') | join }}}} {{{{ nested }}}} {{{{ new.none | each('x') | length }}}}'''\n"
    );
    let columns = [("id", TEXT), ("l", JSONB), ("none", JSONB)];
    let row = json!({"id": "1", "l": [{"m": "GET", "p": "a"}, {"m": "POST", "p": "b"}]});
    assert_eq!(said(&pack, &columns, &row), ["GET! a, POST b a/b 0"]);
}

#[test]
fn each_reads_the_columns_of_rows_that_it_is_given() {
    let pack = format!(
        "{HEAD}group = \"new.g\"\naction_details = \"{{{{ rows | each('{{{{ item.name }}}}') | join }}}}\"\n"
    );
    let relation = table("t", &[("id", TEXT), ("g", TEXT), ("name", TEXT)]);
    let mut worker = Worker::new(&pack, &[&relation]);
    let row = |id: &str| insert(&relation, &json!({"id": id, "g": "1", "name": id}));
    assert_eq!(worker.sentences(vec![row("a"), row("b")]), ["a, b"]);
}

#[test]
fn each_is_bounded_as_a_whole() {
    let pack = |template: &str| {
        format!("{HEAD}action_details = \"{{{{ new.l | each(\\\"{template}\\\") | join }}}}\"\n")
    };
    let relation = table("t", &[("id", TEXT), ("l", JSONB)]);
    for (template, items, expected) in [
        ("{{ item }}", 10_001, "each gives more than 10000 texts"),
        (
            "{% for a in item %}{% for b in item %}{{ a }}{% endfor %}{% endfor %}",
            9_000,
            "engine ran out of fuel",
        ),
    ] {
        let row = json!({"id": "1", "l": vec![[1; 10]; items]});
        let mut worker = Worker::new(&pack(template), &[&relation]);
        let derivation = worker.commit(vec![insert(&relation, &row)]);
        let reasons: Vec<_> = derivation
            .faults
            .iter()
            .map(|f| f.reason.as_str())
            .collect();
        assert_eq!(reasons, [format!("action_details: {expected}")]);
    }
}

#[test]
fn mistakes_of_maps_and_of_templates_for_items_are_told_at_their_line() {
    for (lines, expected) in [
        (
            "when = \"new.a | translate('carier')\"\n[maps.carrier]\n1 = 'x'",
            "my.toml:8: rule r: when: there is no map carier in the pack hint: did you mean carrier?",
        ),
        (
            "when = \"new.a | translate('carrier')\"",
            "my.toml:8: rule r: when: there is no map carrier in the pack hint: write [maps.carrier]",
        ),
        (
            "when = \"[new.a] | map('translate', 'x')\"",
            "my.toml:8: rule r: when: there is no map x in the pack hint: write [maps.x]",
        ),
        (
            "when = 'new.a | translate(new.b)'",
            "my.toml:8: rule r: when: translate needs the name of a map hint: write translate('name') and [maps.name]",
        ),
        (
            "[maps.m]\na = 1.5",
            "my.toml:9: a: is neither a text nor an integer",
        ),
        ("[maps]\nm = 1", "my.toml:9: m: is not a table"),
        (
            "when = 'new.a | each(new.b)'",
            "my.toml:8: rule r: when: each needs a template that is written out hint: write each('{{ item.name }}')",
        ),
        (
            "when = '''\nnew.a\n| each(\"{{ itm }}\")'''",
            "my.toml:10: rule r: when: there is no variable itm hint: did you mean item?",
        ),
        (
            "when = '''new.a | each(\"{{ item | jion }}\")'''",
            "my.toml:8: rule r: when: there is no filter jion hint: did you mean join?",
        ),
        (
            "when = '''new.a | each(\"{{ item == new.b }}\")'''",
            "my.toml:8: rule r: when: the template of each does not see new hint: it sees item alone; a for loop sees everything",
        ),
        (
            "when = '''new.a | each(\"{{ item | translate('x') }}\")'''",
            "my.toml:8: rule r: when: there is no map x in the pack hint: write [maps.x]",
        ),
        (
            "when = '''new.a | each(\"{{ item\")'''",
            "my.toml:8: rule r: when: unexpected end of input, expected end of variable block",
        ),
    ] {
        assert_eq!(problems(&format!("{HEAD}{lines}\n")), [expected], "{lines}");
    }
}
