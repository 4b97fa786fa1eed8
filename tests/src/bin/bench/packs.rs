//! What many rules cost: the time per row change of a pack with 200 rules over 50 tables beside one
//! with 8 rules over 2, each change firing one rule. In memory, without a database.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use activity::{
    Begin, Change, Column, Lsn, Operation, Part, Position, Relation, ReplicaIdentity, Row,
    TableName, Value, Xid,
};
use jiff::Timestamp;
use rules::{Images, PackSource, Rules, Shape, Shapes};

use crate::table;

const COLUMNS: [&str; 5] = ["id", "project_id", "status", "name", "detail"];
/// Pairs of rounds, of which the median counts.
const ROUNDS: usize = 31;
/// Row changes of one round.
const CHANGES: usize = 5_000;
const RULES_OF_TABLE: usize = 4;

struct Pack {
    rules: Rules,
    shapes: Shapes,
    parts: Vec<Part>,
}

pub(crate) fn measure() {
    let how = "inserts through the rule engine, one rule fires for each; every round of one pack beside \
               one of the other, the median of their ratios";
    table::title("Rules: 200 over 50 tables beside 8 over 2 tables", how);
    let mut lines = Vec::new();
    for rows in [1, 100] {
        let (few, many) = (Pack::new(2, rows), Pack::new(50, rows));
        let mut times: Vec<(Duration, Duration)> = Vec::new();
        for _ in 0..ROUNDS {
            times.push((few.round(), many.round()));
        }
        let ratio = |(few, many): &(Duration, Duration)| many.as_secs_f64() / few.as_secs_f64();
        let per_change =
            |time: Duration| format!("{:.2} µs", time.as_secs_f64() * 1e6 / CHANGES as f64);
        times.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let median = times[ROUNDS / 2];
        lines.push([
            rows.to_string(),
            per_change(median.0),
            per_change(median.1),
            format!("{:.2}", ratio(&median)),
        ]);
    }
    table::print(["rows/tx", "8 rules", "200 rules", "ratio"], &lines);
}

impl Pack {
    fn new(tables: usize, rows: usize) -> Self {
        let source = PackSource {
            origin: "bench".to_owned(),
            text: text(tables),
            schema: None,
        };
        let types = COLUMNS.iter().map(|name| ((*name).to_owned(), 25));
        let shape = Shape {
            key: vec!["id".to_owned()],
            types: types.collect(),
        };
        let name = |table: usize| TableName::new("public", format!("t{table}"));
        let relations: Vec<_> = (0..tables).map(|table| relation(name(table))).collect();
        let part = |number: usize| part(number, rows, &relations);
        Self {
            rules: Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}")),
            shapes: (0..tables)
                .map(|table| (name(table), shape.clone()))
                .collect(),
            parts: (0..CHANGES / rows).map(part).collect(),
        }
    }

    fn round(&self) -> Duration {
        let none = Images::default();
        let begun = Instant::now();
        let mut actions = 0;
        for part in &self.parts {
            black_box(self.rules.needs(part, &self.shapes));
            let derivation = black_box(self.rules.derive(part, &self.shapes, &none));
            actions += derivation.actions.len();
        }
        assert_eq!(actions, CHANGES, "one action for each change");
        begun.elapsed()
    }
}

/// A rule for each of the statuses, on each of the tables.
fn text(tables: usize) -> String {
    let mut text = String::from("[pack]\nname = \"bench\"\n");
    for table in 0..tables {
        text += &format!("[tables.t{table}]\n");
    }
    for rule in 0..tables * RULES_OF_TABLE {
        let (table, status) = (rule / RULES_OF_TABLE, rule % RULES_OF_TABLE);
        text += &format!(
            "[[rules]]\nname = \"r{rule}\"\ntable = \"t{table}\"\non = [\"insert\", \"update\"]\n\
             when = \"new.status == 's{status}' and changed('status')\"\n\
             project_id = \"{{{{ new.project_id }}}}\"\n\
             action_details = \"{{{{ new.name }}}} is s{status}: {{{{ new.detail }}}}\"\n"
        );
    }
    text
}

fn relation(table: TableName) -> Arc<Relation> {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        type_oid: 25,
        type_modifier: -1,
        key: *name == "id",
    };
    Arc::new(Relation {
        oid: 1,
        table,
        identity: ReplicaIdentity::Default,
        columns: COLUMNS.iter().map(column).collect(),
    })
}

fn part(number: usize, rows: usize, relations: &[Arc<Relation>]) -> Part {
    let lsn = Lsn::new(1000 + number as u64);
    let change = |row: usize| {
        let id = number * rows + row;
        let relation = &relations[id % relations.len()];
        let (key, status) = (id.to_string(), format!("s{}", id % RULES_OF_TABLE));
        let values = [&key, "project-1", &status, "worker", "a few words more"];
        let new = Row {
            relation: Arc::clone(relation),
            values: values.iter().map(|v| Value::Text((*v).into())).collect(),
        };
        Change {
            position: Position {
                lsn,
                index: row as u32,
            },
            operation: Operation::Insert { new },
        }
    };
    Part {
        begin: Begin {
            commit_lsn: lsn,
            commit_time: Timestamp::UNIX_EPOCH,
            xid: Xid(7),
        },
        changes: (0..rows).map(change).collect(),
        first: true,
        end: Some(lsn),
    }
}
