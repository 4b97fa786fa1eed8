use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Endpoints {
    /// Add an endpoint and print its id and secret, once.
    Add(Box<AddEndpoint>),
    List {
        #[arg(long)]
        json: bool,
    },
    /// Tell how one endpoint stands: state, cursor, what waits, its last attempts.
    Show {
        /// Its name or id.
        endpoint: String,
        #[arg(long)]
        json: bool,
    },
    /// Change what is named, and leave the rest; from the next attempt on.
    Update(Box<UpdateEndpoint>),
    /// Send nothing; what comes waits in the log.
    Pause {
        /// Its name or id.
        endpoint: String,
        /// Why, for `show`.
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Go on where it was paused.
    Resume {
        /// Its name or id.
        endpoint: String,
        #[arg(long)]
        json: bool,
    },
    /// Begin again at the head of the log; what was parked is tried again.
    Enable {
        /// Its name or id.
        endpoint: String,
        #[arg(long)]
        json: bool,
    },
    /// Send nothing; what comes is not for it.
    Disable {
        /// Its name or id.
        endpoint: String,
        /// Why, for `show`.
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Sign with a new key, and print it once; the one before goes on signing beside it for a while.
    RotateSecret(RotateSecret),
    /// Send one signed example, and tell what came of it; nothing is stored.
    Test(TestEndpoint),
    /// Print what the settings would change of the endpoints, and change nothing.
    Plan {
        #[arg(long)]
        json: bool,
    },
    /// Remove an endpoint with what is parked for it.
    Remove {
        /// Its name or id.
        endpoint: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct AddEndpoint {
    #[arg(long)]
    pub name: String,
    #[arg(long)]
    pub url: String,
    /// whsec_… or whsk_…; made where none is given.
    #[arg(long, conflicts_with_all = ["secret_file", "ed25519"])]
    pub secret: Option<String>,
    /// A file that holds it; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "ed25519")]
    pub secret_file: Option<PathBuf>,
    /// Make an ed25519 key (whsk_…): receivers verify with its public part.
    #[arg(long)]
    pub ed25519: bool,
    /// Send nothing yet; what comes waits in the log.
    #[arg(long)]
    pub paused: bool,
    #[command(flatten)]
    pub wishes: Wishes,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct UpdateEndpoint {
    /// Its name or id.
    pub endpoint: String,
    #[arg(long)]
    pub url: Option<String>,
    /// Send no headers of one's own any more.
    #[arg(long, conflicts_with_all = ["header", "headers_file"])]
    pub no_headers: bool,
    /// Send no authorization any more.
    #[arg(long, conflicts_with_all = ["basic", "bearer_file", "bearer_env"])]
    pub no_authorization: bool,
    /// Show no certificate any more.
    #[arg(long, conflicts_with = "client_certificate")]
    pub no_client_certificate: bool,
    #[command(flatten)]
    pub wishes: Wishes,
    #[arg(long)]
    pub json: bool,
}

/// What an endpoint can ask for.
#[derive(Debug, Args)]
pub struct Wishes {
    /// Action types, with a trailing * if wanted; '' for all.
    #[arg(long, value_delimiter = ',')]
    pub types: Option<Vec<String>>,
    #[arg(long, value_delimiter = ',')]
    pub projects: Option<Vec<String>>,
    #[arg(long, value_delimiter = ',')]
    pub environments: Option<Vec<String>>,
    #[arg(long, value_delimiter = ',')]
    pub statuses: Option<Vec<String>>,
    /// full, thin, cloudevents, slack, discord, teams or template.
    #[arg(long)]
    pub format: Option<String>,
    /// Of format template.
    #[arg(long, conflicts_with = "template_file")]
    pub template: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub template_file: Option<PathBuf>,
    /// What a failing delivery holds back: parallel, project or endpoint.
    #[arg(long)]
    pub order: Option<WrittenOrder>,
    /// Requests under way at most; 0: as the settings say.
    #[arg(long, value_name = "N")]
    pub in_flight: Option<u16>,
    /// Attempts at most: 10/s, 600/m, 1000/h, or none.
    #[arg(long)]
    pub rate: Option<String>,
    /// One notification for a project's actions of this time, such as 5m; or none.
    #[arg(long, value_name = "TIME")]
    pub digest: Option<String>,
    /// Actions of a digest at most.
    #[arg(long, value_name = "N", requires = "digest")]
    pub digest_actions: Option<u32>,
    /// A header of one's own on every request, 'name: value'; all of them are given together.
    #[arg(long, value_name = "HEADER", conflicts_with = "headers_file")]
    pub header: Vec<String>,
    /// A file that holds them, one a line; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub headers_file: Option<PathBuf>,
    /// Authorize as this user; the password comes from --password-file or --password-env.
    #[arg(long, value_name = "USER")]
    pub basic: Option<String>,
    /// A file that holds the password; - is standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "basic",
        conflicts_with = "password_env"
    )]
    pub password_file: Option<PathBuf>,
    /// A variable that holds the password.
    #[arg(long, value_name = "NAME", requires = "basic")]
    pub password_env: Option<String>,
    /// Authorize with the token that this file holds; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["basic", "bearer_env"])]
    pub bearer_file: Option<PathBuf>,
    /// Authorize with the token that this variable holds.
    #[arg(long, value_name = "NAME", conflicts_with = "basic")]
    pub bearer_env: Option<String>,
    /// Certificates in PEM, the client's own first, for mutual TLS.
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Its key in PEM, where it does not stand in the same file.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// Send a challenge first: without its answer nothing is added or changed.
    #[arg(long)]
    pub verify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WrittenOrder {
    Parallel,
    Project,
    Endpoint,
}

#[derive(Debug, Args)]
pub struct RotateSecret {
    /// Its name or id.
    pub endpoint: String,
    /// For how long the key before goes on signing; without it webhooks.secret_overlap. 0s: not at all.
    #[arg(long, value_name = "TIME")]
    pub overlap: Option<String>,
    /// Make an ed25519 key (whsk_…).
    #[arg(long)]
    pub ed25519: bool,
    /// whsec_… or whsk_…; made where none is given.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["secret_file", "ed25519"])]
    pub secret: Option<String>,
    /// A file that holds it; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "ed25519")]
    pub secret_file: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TestEndpoint {
    /// Its name or id.
    pub endpoint: String,
    /// The type of the example; without it the first that the endpoint asks for.
    #[arg(long = "type", value_name = "TYPE")]
    pub action_type: Option<String>,
    #[arg(long)]
    pub json: bool,
}
