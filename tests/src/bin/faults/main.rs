//! `make faults`: every scenario of the fault matrix, often, and what was lost, which must be nothing.
//!
//! `faults [SCENARIO…] [--seed N] [--runs N] [--at-once N]` plays rounds, each on a stage of its own and with
//! a seed of its own. `faults SCENARIO --round N [--runs N]` plays the one round of that seed again.
//! `faults --write FILE` plays everything and writes the page, if it is clean. Exits with 1 if anything was
//! lost, is there twice, or is not as it must be.

mod arguments;
mod machine;
mod page;
mod round;

use std::process::ExitCode;
use std::time::Instant;

use tests::{Random, Scenario, Tally};

use crate::arguments::Arguments;
use crate::round::Round;

/// A scenario, and what it came to.
pub(crate) type Line = (&'static Scenario, Tally);

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let mut random = arguments
        .seed
        .map_or_else(Random::from_environment, Random::new);
    let seed = random.seed();
    println!("{}", page::heading());
    let (began, mut lines, mut unplayed) = (Instant::now(), Vec::new(), Vec::new());
    let mut clean = true;
    for scenario in &arguments.scenarios {
        // Drawn for it whether or not it is played, so that the others are as on another major.
        let mut random = random.fork();
        if machine::postgres_major() < scenario.since() {
            println!(
                "{}: not before Postgres {}",
                scenario.name,
                scenario.since()
            );
            unplayed.push(*scenario);
            continue;
        }
        let rounds = rounds(scenario, &arguments, &mut random);
        let tally = round::play(rounds, arguments.at_once);
        println!("{}", page::line(scenario, &tally));
        for fault in &tally.audit.faults {
            println!("    {fault}");
        }
        clean &= tally.is_clean();
        lines.push((*scenario, tally));
    }
    println!("\n{} s in all, seed {seed}", began.elapsed().as_secs());
    if let Some(path) = &arguments.write {
        if !clean {
            eprintln!(
                "{} is not written: it tells of runs that were clean",
                path.display()
            );
            return ExitCode::FAILURE;
        }
        let page = page::render(&lines, &unplayed, seed, began.elapsed());
        if let Err(error) = std::fs::write(path, page) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    ExitCode::from(u8::from(!clean))
}

/// As many as it takes for all runs, or the one that is asked for.
fn rounds(scenario: &'static Scenario, arguments: &Arguments, random: &mut Random) -> Vec<Round> {
    let mut left = scenario.runs.min(arguments.runs.unwrap_or(usize::MAX));
    if let Some(seed) = arguments.round {
        let runs = arguments.runs.unwrap_or(scenario.round);
        return vec![Round {
            scenario,
            seed,
            runs,
        }];
    }
    let mut rounds = Vec::new();
    while left > 0 {
        let runs = left.min(scenario.round);
        let seed = random.fork().seed();
        rounds.push(Round {
            scenario,
            seed,
            runs,
        });
        left -= runs;
    }
    rounds
}
