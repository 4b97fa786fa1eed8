//! Row changes per second through `Rules::derive` on one core, each of which fires one rule with a
//! short template. Prints a figure and asserts nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use activity::{
    Begin, Change, Column, Lsn, Operation, Part, Position, Relation, ReplicaIdentity, Row,
    TableName, Value, Xid,
};
use rules::{Images, Loaded, PackSource, Rules, Shape, Shapes};

const PACK: &str = r#"
[pack]
name = "bench"
[tables.deployments]
[[rules]]
name = "deployment"
table = "deployments"
on = ["insert", "update"]
when = "new.status == 'success' and changed('status')"
project_id = "{{ new.project_id }}"
status = "{{ new.status }}"
action_details = "Deployed to {{ new.platform }}: {{ new.url }}"
"#;
const COLUMNS: [&str; 6] = ["id", "project_id", "platform", "url", "status", "log"];
const ROWS: usize = 1000;
const ROUNDS: usize = 200;

fn row(relation: &Arc<Relation>, id: usize, status: &str) -> Row {
    let text = |text: &str| Value::Text(text.into());
    let values = vec![
        text(&id.to_string()),
        text("p_1"),
        text("fly.io"),
        text("https://turbobackend-xyz.fly.dev"),
        text(status),
        text("a line of a log"),
    ];
    Row {
        relation: Arc::clone(relation),
        values,
    }
}

fn part(operations: impl Iterator<Item = Operation>) -> Part {
    let change = |(index, operation)| Change {
        position: Position {
            lsn: Lsn::new(7),
            index,
        },
        operation,
    };
    Part {
        begin: Begin {
            commit_lsn: Lsn::new(7),
            commit_time: jiff::Timestamp::UNIX_EPOCH,
            xid: Xid(7),
        },
        changes: (0..).zip(operations).map(change).collect(),
        first: true,
        end: Some(Lsn::new(8)),
    }
}

fn measure(
    what: &str,
    rules: &Rules,
    shapes: &Shapes,
    part: &Part,
    images: &Images,
    actions: usize,
) {
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        black_box(rules.needs(part, shapes));
        let derivation = black_box(rules.derive(part, shapes, images));
        assert_eq!(
            (derivation.actions.len(), derivation.faults.len()),
            (actions, 0)
        );
    }
    let rate = (ROWS * ROUNDS) as f64 / begin.elapsed().as_secs_f64();
    println!("{what}: {rate:.0} row changes/s");
}

fn main() {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        type_oid: 1043,
        type_modifier: -1,
        key: *name == "id",
    };
    let table = TableName::new("public", "deployments");
    let relation = Arc::new(Relation {
        oid: 1,
        table: table.clone(),
        identity: ReplicaIdentity::Default,
        columns: COLUMNS.iter().map(column).collect(),
    });
    let shape = Shape {
        key: vec!["id".to_owned()],
        types: COLUMNS
            .iter()
            .map(|name| ((*name).to_owned(), 1043))
            .collect(),
    };
    let shapes = Shapes::from_iter([(table.clone(), shape)]);
    let source = PackSource {
        origin: "bench".to_owned(),
        text: PACK.to_owned(),
        schema: None,
    };
    let rules = Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}"));

    let insert = |status| {
        part(
            (0..ROWS)
                .map(move |id| (id, status))
                .map(|(id, status)| Operation::Insert {
                    new: row(&relation, id, status),
                }),
        )
    };
    let update = |status| {
        part(
            (0..ROWS)
                .map(move |id| (id, status))
                .map(|(id, status)| Operation::Update {
                    old: None,
                    new: row(&relation, id, status),
                }),
        )
    };
    let none = Images::default();
    let mut images = Images::default();
    for write in rules.derive(&insert("pending"), &shapes, &none).writes {
        let loaded = write.image.map_or(Loaded::Absent, Loaded::Known);
        images.insert(write.table, write.key, loaded);
    }
    measure(
        "insert that fires",
        &rules,
        &shapes,
        &insert("success"),
        &none,
        ROWS,
    );
    measure(
        "update that fires",
        &rules,
        &shapes,
        &update("success"),
        &images,
        ROWS,
    );
    measure(
        "update that no rule is for",
        &rules,
        &shapes,
        &update("pending"),
        &images,
        0,
    );
}
