//! `scratch find` prints where the server binaries are (exit code 3: nowhere); `scratch run` starts
//! a server for a person to play with.

use std::error::Error as _;
use std::process::ExitCode;
use std::thread;

use scratch::{Binaries, Error, Server};

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("find") => find(),
        Some("run") => run(),
        _ => {
            eprintln!("usage: scratch find | scratch run   (TIDINGS_PG_VERSION=16 picks a major)");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error
                .source()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            eprintln!("scratch: {error}{cause}");
            ExitCode::from(if matches!(error, Error::NoBinaries(_)) {
                3
            } else {
                1
            })
        }
    }
}

fn find() -> Result<(), Error> {
    let found = Binaries::find()?;
    println!("Postgres {} in {}", found.version, found.dir.display());
    Ok(())
}

fn run() -> Result<(), Error> {
    let server = Server::builder().start()?;
    println!("{}", server.url("postgres"));
    eprintln!(
        "Postgres {}; Ctrl-C stops it and removes its data",
        server.version()
    );
    loop {
        // Nothing to do at Ctrl-C: the guardian cleans up after us.
        thread::park();
    }
}
