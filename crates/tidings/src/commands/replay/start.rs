use activity::Seq;
use anyhow::{Context as _, anyhow, bail};
use store::endpoints::{self, EndpointState, StoredEndpoint};
use store::replays::{self, Request};
use store::span::{self, Span};
use store::{Session, endpoints::Standing};
use webhook::TypePattern;

use super::{find, follow, summary};
use crate::Failure;
use crate::cli::ReplayRequest;
use crate::commands::set_up_session;
use crate::settings::{Settings, parse_rate};

pub async fn start(settings: &Settings, arguments: &ReplayRequest) -> Result<(), Failure> {
    let per_second = check(settings, arguments).map_err(Failure::Settings)?;
    let session = set_up_session(settings).await?;
    let endpoint = find(&session, arguments.endpoint.as_deref().unwrap_or_default()).await?;
    let span = span_of(&session, &endpoint, arguments).await?;
    let request = Request {
        endpoint_id: &endpoint.id,
        types: &arguments.types,
        projects: &arguments.projects,
        span,
        per_second,
    };
    let (first, last) = (span.first.get(), span.last.get());
    let name = endpoint.name.as_str();
    let actions = match span.is_empty() {
        true => 0,
        false => replays::count(&session, &request, &endpoint.filter, arguments.failed).await?,
    };
    if arguments.dry_run {
        match arguments.json {
            true => println!("{:#}", summary(None, name, first, last, actions)),
            false => println!(
                "would send {} of seq {first} to {last} to {name}; nothing is changed",
                counted(actions)
            ),
        }
        return Ok(());
    }
    if actions == 0 {
        return Err(Failure::Failed(nothing(name, arguments.failed)));
    }
    let (id, actions) = match arguments.failed {
        true => replays::revive(&session, &request).await?,
        false => (replays::start(&session, &request).await?, actions),
    };
    match arguments.json {
        true => println!("{:#}", summary(Some(&id), name, first, last, actions)),
        false => println!(
            "replay {id}: {} of seq {first} to {last} to {name}",
            counted(actions)
        ),
    }
    if endpoint.state != EndpointState::Enabled {
        let (state, verb) = match endpoint.state {
            EndpointState::Paused => ("paused", "resume"),
            EndpointState::Disabled | EndpointState::Enabled => ("disabled", "enable"),
        };
        let waits = format!("{name} is {state}: it waits until `tidings endpoints {verb} {name}`");
        if arguments.wait {
            return Err(Failure::NotReady(waits));
        }
        eprintln!("{waits}");
    }
    match arguments.wait {
        true => follow::follow(&session, &id, span, arguments.json).await,
        false => Ok(()),
    }
}

/// What can be told without asking the database. Returns the attempts a second.
fn check(settings: &Settings, arguments: &ReplayRequest) -> anyhow::Result<Option<i32>> {
    for pattern in &arguments.types {
        pattern.parse::<TypePattern>().context("--type")?;
    }
    if let (Some(since), Some(until)) = (arguments.since, arguments.until)
        && until <= since
    {
        bail!("--until must be after --since");
    }
    let whole = arguments.since.is_none()
        && arguments.until.is_none()
        && arguments.types.is_empty()
        && arguments.projects.is_empty()
        && !arguments.failed;
    if whole {
        bail!(
            "say what is to be sent once more: --since TIME, --until TIME, --type, --project or --failed"
        );
    }
    let default = settings.webhooks.replay_per_second;
    let per_second = match &arguments.rate {
        None => Some(default).filter(|rate| *rate > 0),
        Some(text) => {
            let rate = parse_rate(text)
                .map_err(anyhow::Error::msg)
                .context("--rate")?;
            if rate.seconds > 1 {
                bail!("--rate of a replay is in attempts a second, such as 20/s");
            }
            Some(rate.attempts)
        }
    };
    let per_second = per_second.map(i32::try_from).transpose();
    per_second.map_err(|_| anyhow!("--rate is more than anybody can send"))
}

/// The part of the log that is asked for, as far as the endpoint has come: what it has still before it,
/// it gets anyway. One that is disabled goes on at the head, so for it the log ends there.
async fn span_of(
    session: &Session,
    endpoint: &StoredEndpoint,
    arguments: &ReplayRequest,
) -> Result<Span, Failure> {
    let mut span = span::between(session, arguments.since, arguments.until).await?;
    if arguments.failed && arguments.since.is_none() {
        // A dead letter is kept longer than its action.
        span.first = Seq::new(1);
    }
    let standing = endpoints::standing(session, &endpoint.id).await?;
    let reached = standing.map_or(span.last, |Standing { position, .. }| position);
    if endpoint.state != EndpointState::Disabled {
        span.last = span.last.min(reached);
    }
    Ok(span)
}

fn counted(actions: i64) -> String {
    match actions {
        1 => "1 action".to_owned(),
        actions => format!("{actions} actions"),
    }
}

fn nothing(name: &str, failed: bool) -> anyhow::Error {
    match failed {
        true => anyhow!(
            "{name} has no such dead letters: `tidings deliveries list --endpoint {name} --state dead`"
        ),
        false => anyhow!(
            "there is nothing to send once more: {name} wants no such action, or has not come to it yet \
             and gets it anyway"
        ),
    }
}
