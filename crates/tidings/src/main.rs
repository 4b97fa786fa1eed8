use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use tidings::cli::Cli;

/// What one thread allocates another frees, for every delivery: the system's allocator makes them wait
/// for each other.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before anything opens a connection: one provider of cryptography for every TLS client.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("tidings: another provider of cryptography is installed already");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidings: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(tidings::commands::execute(Cli::parse()));
    // A thread that is still inside a name lookup must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tidings: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
