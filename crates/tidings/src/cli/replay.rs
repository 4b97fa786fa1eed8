use clap::{Args, Subcommand};
use jiff::Timestamp;

/// Without a subcommand it asks for a replay.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Replay {
    #[command(subcommand)]
    pub command: Option<Replays>,
    #[command(flatten)]
    pub request: ReplayRequest,
}

#[derive(Debug, Subcommand)]
pub enum Replays {
    List {
        /// Only of this endpoint, by name or id.
        #[arg(long)]
        endpoint: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
    /// End a replay where it is.
    Cancel {
        /// As `replay list` shows it.
        id: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct ReplayRequest {
    /// Whose, by name or id.
    #[arg(long, required = true)]
    pub endpoint: Option<String>,
    /// Actions committed since: 2026-01-31, 2026-01-31T12:00:00Z, or 2h ago as 2h.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::past)]
    pub since: Option<Timestamp>,
    /// Actions committed before.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::past)]
    pub until: Option<Timestamp>,
    /// Action types, with a trailing * if wanted.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    #[arg(long = "project", value_name = "PROJECT", value_delimiter = ',')]
    pub projects: Vec<String>,
    /// Only dead letters.
    #[arg(long)]
    pub failed: bool,
    /// Attempts a second at most, such as 20/s; without it webhooks.replay_per_second.
    #[arg(long, conflicts_with = "failed")]
    pub rate: Option<String>,
    /// Tell how many actions it would send, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Follow it to its end.
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    #[arg(long)]
    pub json: bool,
}
