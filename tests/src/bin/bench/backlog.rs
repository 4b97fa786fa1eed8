//! How fast a backlog becomes rows and notifications: from the start of `tidings run`, until the last
//! action is in project_actions, or the last notification has arrived.

use std::time::{Duration, Instant};

use tests::{Receiver, Sidecar, Stage};
use tokio_postgres::Client;

use crate::{Worker, machine, table};

/// Between two looks at the sidecar's progress: what a figure may be off by.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

struct Case {
    transactions: usize,
    /// Of one transaction.
    rows: usize,
    /// Requests under way to one endpoint; no endpoint without.
    in_flight: Option<usize>,
}

const CASES: [Case; 4] = [
    Case {
        transactions: 50_000,
        rows: 1,
        in_flight: None,
    },
    Case {
        transactions: 1_000,
        rows: 100,
        in_flight: None,
    },
    Case {
        transactions: 20_000,
        rows: 1,
        in_flight: Some(10),
    },
    Case {
        transactions: 20_000,
        rows: 1,
        in_flight: Some(64),
    },
];

pub(crate) async fn measure(worker: Worker) {
    let how = "from the start of `tidings run` to the last action committed (seen within 5 ms), and to \
               the last notification received, its signature verified";
    table::title(
        "Backlog: WAL to project_actions, and on to an endpoint",
        how,
    );
    let mut rows = Vec::new();
    for case in CASES {
        rows.push(catch_up(worker, case).await);
    }
    let heads = [
        "transactions",
        "rows/tx",
        "endpoint",
        "actions/s",
        "actions/commit",
        "deliveries/s",
    ];
    table::print(heads, &rows);
}

async fn catch_up(worker: Worker, case: Case) -> [String; 6] {
    let mut stage = Stage::on(machine::server()).await;
    let receiver = match case.in_flight {
        Some(in_flight) => {
            let in_flight = i64::try_from(in_flight).expect("a small number");
            stage.settings.set("webhooks.endpoint_in_flight", in_flight);
            Some(stage.subscribe("bench").await)
        }
        None => None,
    };
    stage.tidings(["setup"]).await.success();
    worker
        .write(&stage, "backlog", case.transactions, case.rows)
        .await;
    stage.execute("checkpoint").await;
    let client = stage.connect().await;
    let actions = case.transactions * case.rows;

    let begun = Instant::now();
    let mut sidecar = stage.spawn(&[]);
    let recorded = recorded(&client, &mut sidecar, actions, begun).await;
    let delivered = match &receiver {
        Some(receiver) => Some(delivered(receiver, &mut sidecar, actions, begun).await),
        None => None,
    };
    let commits = commits(&sidecar).await;
    let found: i64 = stage.value("select count(*) from project_actions").await;
    assert_eq!(
        usize::try_from(found).ok(),
        Some(actions),
        "actions of the backlog"
    );
    sidecar.terminate(PATIENCE).await;

    let rate = |seconds: f64| table::rate(actions as f64 / seconds);
    [
        case.transactions.to_string(),
        case.rows.to_string(),
        case.in_flight
            .map_or_else(|| "none".to_owned(), |n| format!("{n} in flight")),
        rate(recorded),
        commits
            .map(|n| format!("{:.0}", actions as f64 / n))
            .unwrap_or_default(),
        delivered.map(rate).unwrap_or_default(),
    ]
}

/// Seconds until this many actions were committed.
async fn recorded(client: &Client, sidecar: &mut Sidecar, actions: usize, begun: Instant) -> f64 {
    let query = client.prepare("select seq from tidings.progress").await;
    let query = query.expect("setup has made the table");
    loop {
        let row = client.query_one(&query, &[]).await;
        let seq: i64 = row.expect("progress can be read").get(0);
        if usize::try_from(seq).is_ok_and(|seq| seq >= actions) {
            return begun.elapsed().as_secs_f64();
        }
        patience(sidecar, begun);
        tokio::time::sleep(LOOK).await;
    }
}

/// Seconds until the last of this many notifications had arrived.
async fn delivered(
    receiver: &Receiver,
    sidecar: &mut Sidecar,
    actions: usize,
    begun: Instant,
) -> f64 {
    while receiver.requests().len() < actions || receiver.accepted().len() < actions {
        patience(sidecar, begun);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    receiver.assert_verified();
    let last = receiver.requests().iter().map(|request| request.at).max();
    let last = last.expect("the backlog is not empty");
    last.saturating_duration_since(begun).as_secs_f64()
}

fn patience(sidecar: &mut Sidecar, begun: Instant) {
    let in_time = sidecar.is_running() && begun.elapsed() < PATIENCE;
    assert!(
        in_time,
        "the sidecar has ended or stands still:\n{}",
        sidecar.log()
    );
}

/// Commits of the writer so far, by its own count.
async fn commits(sidecar: &Sidecar) -> Option<f64> {
    let (_, metrics) = sidecar.get("/metrics").await?;
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tidings_commits_total "));
    count?.trim().parse().ok()
}
