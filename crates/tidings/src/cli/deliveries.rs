use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// List deliveries, the newest actions first; without --state all but the deferred.
    List(ListDeliveries),
    /// Tell everything that became of one action.
    Show {
        /// Its action_id, or its seq.
        #[arg(allow_hyphen_values = true)]
        action: String,
        /// Only of this endpoint, by name or id.
        #[arg(long)]
        endpoint: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Try parked deliveries and dead letters now.
    Retry {
        /// Seqs of their actions; without any all of --endpoint and --state.
        seqs: Vec<i64>,
        /// Only of this endpoint, by name or id.
        #[arg(long)]
        endpoint: Option<String>,
        /// Without it both.
        #[arg(long)]
        state: Option<Waiting>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct ListDeliveries {
    /// Only of this endpoint, by name or id.
    #[arg(long)]
    pub endpoint: Option<String>,
    #[arg(long)]
    pub state: Option<DeliveryState>,
    /// Action types, with a trailing * if wanted.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    #[arg(long = "project", value_name = "PROJECT", value_delimiter = ',')]
    pub projects: Vec<String>,
    /// Only of actions committed since: 2026-01-31, 2026-01-31T12:00:00Z, or 2h ago as 2h.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::past)]
    pub since: Option<Timestamp>,
    /// Only of actions committed before.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::past)]
    pub until: Option<Timestamp>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
    pub limit: i64,
    /// The page after the one that ended with this cursor.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeliveryState {
    Parked,
    Dead,
    Delivered,
    /// Put off without counting as an attempt.
    Deferred,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Waiting {
    Parked,
    Dead,
}
