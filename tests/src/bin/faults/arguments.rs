use std::path::PathBuf;

use tests::{SCENARIOS, Scenario};

const USAGE: &str = "usage: faults [SCENARIO…] [--seed N] [--runs N] [--at-once N]\n       \
                     faults SCENARIO --round N [--runs N]\n       \
                     faults --write FILE [--seed N] [--at-once N]";
/// Most of a round is waiting.
const AT_ONCE: usize = 2;

pub(crate) struct Arguments {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) seed: Option<u64>,
    /// The seed of the one round to play.
    pub(crate) round: Option<u64>,
    /// Of each scenario at most.
    pub(crate) runs: Option<usize>,
    pub(crate) at_once: usize,
    pub(crate) write: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self {
            scenarios: Vec::new(),
            seed: None,
            round: None,
            runs: None,
            at_once: AT_ONCE,
            write: None,
        };
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                let scenario = Scenario::named(&word).ok_or_else(|| no_scenario(&word))?;
                read.scenarios.push(scenario);
                continue;
            };
            let value = words.next().ok_or(USAGE)?;
            let number = || value.parse::<u64>().map_err(|_| USAGE.to_owned());
            match name {
                "seed" => read.seed = Some(number()?),
                "round" => read.round = Some(number()?),
                "runs" => read.runs = Some(number()?.max(1) as usize),
                "at-once" => read.at_once = number()?.max(1) as usize,
                "write" => read.write = Some(value.into()),
                _ => return Err(USAGE.to_owned()),
            }
        }
        if read.round.is_some() && read.scenarios.len() != 1 {
            return Err(format!("--round needs the one scenario it is of\n{USAGE}"));
        }
        if read.write.is_some() && (!read.scenarios.is_empty() || read.runs.is_some()) {
            return Err(format!(
                "--write is for every scenario, as often as it is to be done\n{USAGE}"
            ));
        }
        if read.scenarios.is_empty() {
            read.scenarios = SCENARIOS.iter().collect();
        }
        Ok(read)
    }
}

fn no_scenario(word: &str) -> String {
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    format!(
        "there is no scenario {word}; there are {}\n{USAGE}",
        names.join(", ")
    )
}
