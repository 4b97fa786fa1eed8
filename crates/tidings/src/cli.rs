mod deliveries;
mod endpoints;
mod replay;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};

pub use deliveries::{Deliveries, DeliveryState, ListDeliveries, Waiting};
pub use endpoints::{
    AddEndpoint, Endpoints, RotateSecret, TestEndpoint, UpdateEndpoint, Wishes, WrittenOrder,
};
pub use replay::{Replay, ReplayRequest, Replays};

/// Tells what happens in your database: readable activity, exactly once, and signed webhooks.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, propagate_version = true)]
pub struct Cli {
    /// The settings file; without it ./tidings.toml, then /etc/tidings/tidings.toml.
    #[arg(long, global = true, value_name = "FILE", env = "TIDINGS_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draft a rule pack from the tables that are there.
    Init(Init),
    /// Make the schema, the publication, the slot, the table of actions and the grants.
    Setup(Setup),
    /// Run the sidecar.
    Run(Run),
    /// Tell how capture and delivery stand; reads Postgres alone.
    Status(Status),
    /// Check everything that capture stands on, and tell what mends what is not well.
    Doctor(Doctor),
    /// Work with the columns that the publication lists.
    #[command(subcommand)]
    Columns(Columns),
    /// Compare tables with their images: what was missed becomes actions.
    Reconcile(Reconcile),
    /// Compare project_actions with the log, and tables with images; writes nothing.
    Verify(Verify),
    /// Work with rule packs.
    #[command(subcommand)]
    Rules(Rules),
    /// Work with webhook endpoints.
    #[command(subcommand)]
    Endpoints(Endpoints),
    /// See what became of deliveries, and try again what failed.
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// Send a part of the log to an endpoint once more.
    Replay(Replay),
    /// Work with webhooks as receivers got them.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Receive notifications on this machine: print, verify and forward them.
    Listen(Listen),
    /// See, retry or discard changes that no action was made of, and rows that were refused.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Show it working, on a Postgres, a worker and a receiver of its own.
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Take away the slot, the publication and the sidecar's schema; never the table of actions.
    Uninstall(Uninstall),
}

#[derive(Debug, Args)]
pub struct Init {
    /// Where to write the pack; without it to standard output. An existing file is left alone.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Look at the tables of this schema alone; may be given several times.
    #[arg(long, value_name = "SCHEMA")]
    pub schema: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Setup {
    /// Print the SQL that psql can run instead, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Replace the slot and go on from now: for a slot or publication that was lost. What was
    /// committed since the last confirmed position is found by its final states.
    #[arg(long)]
    pub new_slot: bool,
}

#[derive(Debug, Args)]
pub struct Reconcile {
    /// Tell also of rows from before Tidings that nothing has told of.
    #[arg(long)]
    pub backfill: bool,
    /// Only of what is no older, by the time that the rule takes from the row: 2026-01-31,
    /// 2026-01-31T12:00:00Z or unix seconds.
    #[arg(long, value_name = "TIME", requires = "backfill", value_parser = crate::moment::parse)]
    pub since: Option<i64>,
    /// Print what would be told, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Only what is no older: 2026-01-31, 2026-01-31T12:00:00Z or unix seconds.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::parse)]
    pub since: Option<i64>,
    /// Compare also with rows that the worker's own code wrote.
    #[arg(long)]
    pub legacy: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// What this process does.
    #[arg(long, value_delimiter = ',', default_value = "capture,deliver,api")]
    pub roles: Vec<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Capture,
    Deliver,
    Api,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Also send a logical message and see it come back through a temporary slot.
    #[arg(long)]
    pub probe: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Compile packs and tell every mistake in them.
    Check(CheckRules),
    /// Tell why an action is here and what became of it.
    Explain {
        /// Its action_id, or its seq.
        #[arg(allow_hyphen_values = true)]
        action: String,
        #[arg(long)]
        json: bool,
    },
    /// Print what packs would make of live traffic, and write nothing.
    Preview(Preview),
    /// Play golden cases: rows in, actions out.
    Test {
        /// Files of cases, or packs whose cases lie beside them (shop.toml: shop.cases.toml).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Preview {
    /// Files, or names of built-in packs; without any those of capture.rules.
    pub packs: Vec<String>,
    /// End after so many seconds; without it when it is interrupted.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Begin with the WAL that the sidecar has not confirmed yet; without --seconds, end with it.
    #[arg(long)]
    pub recent: bool,
    /// A line of JSON for each action and fault.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckRules {
    /// Files, or names of built-in packs; with --live those of capture.rules if none are named.
    #[arg(required_unless_present = "live")]
    pub packs: Vec<String>,
    /// Compare them with the database of the settings, too.
    #[arg(long)]
    pub live: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Columns {
    /// Take a column out of its table's list, before the worker drops or retypes it.
    Release {
        /// As SQL writes it: public.projects.name
        column: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Webhooks {
    /// Check a captured request offline: says ok, or what is wrong with it. Exit codes: 0 genuine, 1 not,
    /// 2 it can't be read.
    Verify(VerifyWebhook),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("captured").required(true).args(["request", "body"])))]
pub struct VerifyWebhook {
    /// What it should be signed with: whsec_…, whpk_… or whsk_…; several times while keys overlap.
    #[arg(long, value_name = "KEY", required = true)]
    pub secret: Vec<String>,
    /// The whole request: request line, headers, an empty line, body. - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "header"])]
    pub request: Option<PathBuf>,
    /// Its headers, one a line.
    #[arg(long, value_name = "FILE")]
    pub headers: Option<PathBuf>,
    /// One of its headers; may be given several times.
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Its body, byte for byte. - is standard input.
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The receiver's clock when it came, in unix seconds or as 2026-01-31T12:00:00Z; without it now.
    #[arg(long, value_name = "TIME", value_parser = crate::moment::parse)]
    pub at: Option<i64>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Listen {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:4080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The endpoint's secret, whsec_…; several while one takes the place of another. Without any,
    /// nothing is verified; with one, what fails is answered 401 and not forwarded.
    #[arg(long, value_delimiter = ',', value_name = "KEY")]
    pub secret: Vec<String>,
    /// Your application: body and webhook-* headers are sent there as they came.
    #[arg(long, value_name = "URL")]
    pub forward_to: Option<String>,
    /// Answer with your application's status; with --forward-status=false always 204.
    #[arg(
        long, requires = "forward_to", default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = ArgAction::Set
    )]
    pub forward_status: bool,
    /// A line of JSON for each notification, headers and body included.
    #[arg(long)]
    pub json: bool,
    /// End after so many; without it when it is interrupted.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    List {
        #[arg(long)]
        json: bool,
    },
    /// Show one change with the values that were kept of it.
    Show {
        id: i64,
        #[arg(long)]
        json: bool,
    },
    /// Work changes out again under the rules in force, in order, and write refused rows again; waits
    /// for the outcome. All of them, unless some are named.
    Retry {
        #[command(flatten)]
        which: Quarantined,
        #[arg(long)]
        json: bool,
    },
    /// Give changes up, with the values that were kept of them.
    Discard {
        #[command(flatten)]
        which: Quarantined,
    },
}

#[derive(Debug, Args)]
pub struct Quarantined {
    /// Numbers as `quarantine list` shows them.
    pub ids: Vec<i64>,
    /// All of one rule.
    #[arg(long, conflicts_with = "ids")]
    pub rule: Option<String>,
    /// All.
    #[arg(long, conflicts_with_all = ["ids", "rule"])]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// For how long; 0 runs until it is stopped.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Print the worker's tables as DDL and exit.
    #[arg(long)]
    pub schema: bool,
}

#[derive(Debug, Args)]
pub struct Uninstall {
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
