//! `make bench`: the figures of Tidings on this machine, in one run of a few minutes.
//!
//! Prints a table for each question: how fast the WAL is decoded (beside `pg_recvlogical` on the
//! same WAL), what many rules cost, how fast a backlog becomes rows and notifications, how fast the log is delivered
//! (beside a bare client), what a million deliveries leave behind in the tables, what many endpoints and bad ones
//! cost the others, what the worker's own transactions pay for being watched (beside a trigger), how long one
//! commit takes to become a row and a notification, and what images and the sidecar take of room, memory and
//! processor. What is compared is measured in the same run. Asserts that nothing is lost on the way and
//! that no table bloats, and never a time.
//!
//! `TIDINGS_SEED` changes the drawn texts; names of parts (decode, packs, backlog, deliveries, bloat,
//! fanout, neighbours, overhead, images, load) as arguments run those alone.

mod backlog;
mod bare;
mod bloat;
mod client;
mod decode;
mod deliveries;
mod fanout;
mod images;
mod latency;
mod machine;
mod memory;
mod neighbours;
mod overhead;
mod packs;
mod process;
mod quantiles;
mod steady;
mod table;
mod worker;

use std::time::Instant;

use worker::Worker;

#[tokio::main]
async fn main() {
    let begun = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((name, rest)) = arguments.split_first()
        && name == bare::NAME
    {
        return bare::run(rest).await;
    }
    let seed = std::env::var("TIDINGS_SEED").map_or(1, |seed| {
        seed.parse().expect("TIDINGS_SEED is a whole number")
    });
    let worker = Worker::new(seed);
    machine::print(seed);
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|only| only == name);
    if wanted("decode") {
        decode::measure(worker).await;
    }
    if wanted("packs") {
        packs::measure();
    }
    if wanted("backlog") {
        backlog::measure(worker).await;
    }
    if wanted("deliveries") {
        deliveries::measure(worker).await;
    }
    if wanted("bloat") {
        bloat::measure(worker).await;
    }
    if wanted("fanout") {
        fanout::measure(worker).await;
    }
    if wanted("neighbours") {
        neighbours::measure(worker).await;
    }
    if wanted("overhead") {
        overhead::measure(worker).await;
    }
    if wanted("images") {
        images::measure().await;
    }
    if wanted("load") {
        let load = latency::measure(worker).await;
        memory::measure(worker, &load).await;
    }
    println!("\n{} s in all", begun.elapsed().as_secs());
}
