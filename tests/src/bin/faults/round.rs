//! Rounds, some of them at once, each on a thread and a stage of its own.

use std::any::Any;
use std::sync::Mutex;
use std::thread;

use tests::{Scenario, Tally};
use tokio::runtime::Runtime;

pub(crate) struct Round {
    pub(crate) scenario: &'static Scenario,
    pub(crate) seed: u64,
    pub(crate) runs: usize,
}

/// Plays all of them and returns the sum.
pub(crate) fn play(rounds: Vec<Round>, at_once: usize) -> Tally {
    let (rounds, sum) = (Mutex::new(rounds), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(round) = lock(&rounds).pop() {
                    let tally = round.play();
                    lock(&sum).add(tally);
                }
            });
        }
    });
    lock(&sum).clone()
}

impl Round {
    /// A panic is how a wait that was in vain ends, and one more fault.
    fn play(&self) -> Tally {
        let Self {
            scenario,
            seed,
            runs,
        } = *self;
        let played = thread::spawn(move || {
            let runtime = Runtime::new().expect("the system has threads");
            runtime.block_on(scenario.play(seed, runs))
        });
        let mut tally = match played.join() {
            Ok(tally) => tally,
            Err(panic) => Tally::failed(&text(panic.as_ref())),
        };
        if !tally.is_clean() {
            let again = format!(
                "again: faults {} --round {seed} --runs {runs}",
                scenario.name
            );
            tally.audit.faults.push(again);
        }
        tally
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
