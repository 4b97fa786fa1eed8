//! What a million deliveries leave behind: dead rows and pages of every table that they wrote.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::{Behaviour, Receiver, Sidecar, Stage};
use tokio_postgres::Client;

use crate::table::{self, megabytes};
use crate::{Worker, machine};

const ACTIONS: usize = 100_000;
const ENDPOINTS: usize = 10;
/// Of a transaction of the worker.
const ROWS: usize = 100;
/// One request in so many fails at one of the endpoints, and so is parked and sent again.
const FAILS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two looks at the tables: the server's processes tell of what they did once a second.
const LOOK: Duration = Duration::from_secs(1);

/// The most that may be dead, of the rows written: of all tables, and of each that is written often.
const DEAD_MAX: f64 = 0.1;
const WRITTEN_OFTEN: i64 = 10_000;
/// Tables of few rows that are updated all the time, and the pages that they may come to.
const SMALL: [&str; 3] = ["delivery_progress", "endpoints", "progress"];
const PAGES_MAX: i64 = 128;

/// A table as the server's statistics have it.
#[derive(Clone, Debug, Default)]
struct Table {
    written: i64,
    updated: i64,
    updated_in_place: i64,
    live: i64,
    dead: i64,
    /// The most that was ever seen.
    dead_most: i64,
    pages: i64,
    bytes: i64,
}

pub(crate) async fn measure(worker: Worker) {
    let how = format!(
        "{ACTIONS} actions to {ENDPOINTS} endpoints, one of which refuses each {FAILS}th request; half as they come, \
         half from a backlog; autovacuum as a server has it by default. Dead: at the end, and the most that was seen. \
         Of rows updated in place those are what waits for the next look at their page, so pages say more"
    );
    table::title("A million deliveries, and what they leave behind", &how);
    let mut stage = Stage::on(machine::server()).await;
    stage
        .settings
        .set("webhooks.retry_schedule", vec!["1s"; 30]);
    let receivers = subscribe(&mut stage).await;
    let sidecar = stage.run().await;
    let client = stage.connect().await;
    let mut tables = BTreeMap::new();

    let begun = Instant::now();
    at_the_head(&stage, worker, &receivers, &client, &mut tables).await;
    worker
        .write(&stage, "backlog", ACTIONS / 2 / ROWS, ROWS)
        .await;
    while delivered(&client).await < ACTIONS * ENDPOINTS {
        assert!(begun.elapsed() < PATIENCE, "{}", sidecar.log());
        look(&client, &mut tables).await;
        tokio::time::sleep(LOOK).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    end(sidecar, &client, &mut tables).await;
    receivers.iter().for_each(Receiver::assert_verified);
    let requested: usize = receivers.iter().map(Receiver::requested).sum();
    print(&tables);
    println!(
        "  {requested} requests in {seconds:.0} s, {}/s; vacuums of {}",
        table::rate(requested as f64 / seconds),
        vacuums(&client).await
    );
    assert_small(&tables);
}

async fn subscribe(stage: &mut Stage) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for number in 0..ENDPOINTS {
        let mut receiver = Receiver::counting().await;
        if number == 0 {
            receiver.behave(Behaviour::OneIn(FAILS, 500)).await;
        }
        let mut keys = toml::Table::new();
        keys.insert("url".to_owned(), receiver.url().into());
        keys.insert("secret".to_owned(), receiver.secret().expose().into());
        stage.settings.endpoint(&format!("bench{number}"), keys);
        receivers.push(receiver);
    }
    receivers
}

/// Has the worker commit a transaction whenever most of what it wrote before has arrived: nobody falls behind.
async fn at_the_head(
    stage: &Stage,
    worker: Worker,
    receivers: &[Receiver],
    client: &Client,
    tables: &mut BTreeMap<String, Table>,
) {
    let mut looked = Instant::now();
    for transaction in 0..ACTIONS / 2 / ROWS {
        let begun = Instant::now();
        worker
            .write(stage, &format!("head{transaction}"), 1, ROWS)
            .await;
        let arrived = || receivers.iter().map(Receiver::requested).min();
        while arrived() < Some(transaction * ROWS) {
            assert!(begun.elapsed() < PATIENCE, "an endpoint gets nothing");
            // Between two looks: the receivers tell nobody.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if looked.elapsed() > LOOK {
            look(client, tables).await;
            looked = Instant::now();
        }
    }
}

async fn delivered(client: &Client) -> usize {
    let sum = "select sum(delivered)::bigint from tidings.delivery_progress";
    let row = client.query_one(sum, &[]).await;
    let sum: i64 = row.expect("progress can be read").get(0);
    usize::try_from(sum).unwrap_or_default()
}

/// Ends the sidecar, whose sessions then tell the rest of what they did, and waits until all is told.
async fn end(sidecar: Sidecar, client: &Client, tables: &mut BTreeMap<String, Table>) {
    sidecar.terminate(PATIENCE).await;
    let ours = "select count(*) from pg_stat_activity where usename = 'tidings'";
    loop {
        let row = client.query_one(ours, &[]).await;
        if row.expect("activity can be read").get::<_, i64>(0) == 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    look(client, tables).await;
}

async fn look(client: &Client, tables: &mut BTreeMap<String, Table>) {
    let query = "select relname::text, n_tup_ins + n_tup_upd + n_tup_del, n_tup_upd, n_tup_hot_upd, n_live_tup,
          n_dead_tup, pg_relation_size(relid) / current_setting('block_size')::bigint, pg_total_relation_size(relid)
        from pg_stat_user_tables
        where schemaname = 'tidings' and n_tup_ins + n_tup_upd + n_tup_del > 0";
    let rows = client.query(query, &[]).await;
    for row in rows.expect("statistics can be read") {
        let table: &mut Table = tables.entry(row.get(0)).or_default();
        *table = Table {
            written: row.get(1),
            updated: row.get(2),
            updated_in_place: row.get(3),
            live: row.get(4),
            dead: row.get(5),
            dead_most: table.dead_most.max(row.get(5)),
            pages: row.get(6),
            bytes: row.get(7),
        };
    }
}

fn print(tables: &BTreeMap<String, Table>) {
    let all = |of: fn(&Table) -> i64| tables.values().map(of).sum();
    let total = Table {
        written: all(|table| table.written),
        updated: all(|table| table.updated),
        updated_in_place: all(|table| table.updated_in_place),
        live: all(|table| table.live),
        dead: all(|table| table.dead),
        dead_most: all(|table| table.dead_most),
        pages: all(|table| table.pages),
        bytes: all(|table| table.bytes),
    };
    let rows: Vec<_> = tables
        .iter()
        .map(|(name, table)| row(name, table))
        .chain([row("all", &total)])
        .collect();
    let heads = [
        "table",
        "written",
        "updated",
        "in place",
        "live",
        "dead",
        "of written",
        "most dead",
        "pages",
        "size",
    ];
    table::print(heads, &rows);
}

fn row(name: &str, table: &Table) -> [String; 10] {
    let share = |part: i64, whole: i64| match whole {
        0 => String::new(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    };
    [
        name.to_owned(),
        table.written.to_string(),
        table.updated.to_string(),
        share(table.updated_in_place, table.updated),
        table.live.to_string(),
        table.dead.to_string(),
        share(table.dead, table.written),
        table.dead_most.to_string(),
        table.pages.to_string(),
        megabytes(table.bytes.unsigned_abs()),
    ]
}

/// Which tables autovacuum has been at, and how often.
async fn vacuums(client: &Client) -> String {
    let query = "select coalesce(string_agg(relname || ' ' || autovacuum_count, ', ' order by relname), 'none')
        from pg_stat_user_tables where schemaname = 'tidings' and autovacuum_count > 0";
    let row = client.query_one(query, &[]).await;
    row.expect("statistics can be read").get(0)
}

/// What is promised, by figures that hold on any machine.
fn assert_small(tables: &BTreeMap<String, Table>) {
    let few = |table: &Table| (table.dead as f64) < DEAD_MAX * table.written as f64;
    for (name, table) in tables {
        let often = table.written >= WRITTEN_OFTEN;
        assert!(!often || few(table), "dead rows of {name}: {table:?}");
    }
    for name in SMALL {
        let table = tables.get(name).expect("every delivery writes it");
        assert!(table.pages <= PAGES_MAX, "{name} has grown: {table:?}");
    }
    let dead: i64 = tables.values().map(|table| table.dead).sum();
    let written: i64 = tables.values().map(|table| table.written).sum();
    assert!(
        (dead as f64) < DEAD_MAX * written as f64,
        "{dead} of {written}"
    );
}
