//! `make bench`: the figures of Tidings on this machine, in one run of a few minutes.
//!
//! Prints a table for each question: how fast the WAL is decoded (beside `pg_recvlogical` on the
//! same WAL), what many rules cost, how fast a backlog becomes rows and notifications, how long one commit takes to
//! become a row and a notification, and what images and the sidecar take of room, memory and processor. What is
//! compared is measured in the same run. Asserts that nothing is lost on the way, and never a time.
//!
//! `TIDINGS_SEED` changes the drawn texts; names of parts (decode, packs, backlog, images, load) as
//! arguments run those alone.

mod backlog;
mod client;
mod decode;
mod images;
mod latency;
mod machine;
mod memory;
mod packs;
mod process;
mod quantiles;
mod table;
mod worker;

use std::time::Instant;

use worker::Worker;

#[tokio::main]
async fn main() {
    let begun = Instant::now();
    let seed = std::env::var("TIDINGS_SEED").map_or(1, |seed| {
        seed.parse().expect("TIDINGS_SEED is a whole number")
    });
    let worker = Worker::new(seed);
    machine::print(seed);
    let only: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    if wanted("decode") {
        decode::measure(worker).await;
    }
    if wanted("packs") {
        packs::measure();
    }
    if wanted("backlog") {
        backlog::measure(worker).await;
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
