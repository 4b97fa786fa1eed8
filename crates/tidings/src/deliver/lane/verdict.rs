//! What an outcome says of the endpoint, apart from what becomes of the delivery.

use std::time::Duration;

use jiff::Timestamp;
use webhook::{FailureKind, Fault, Outcome};

/// The longest that a `Retry-After` keeps a whole lane from sending. The one delivery may be put off
/// for longer.
const WAIT_MAX: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// The endpoint is at fault.
    Fault,
    /// It asks for less: nothing for a while, or fewer requests at once where it names no time.
    SlowDown {
        wait: Option<Duration>,
    },
    /// It asks for nothing more, ever.
    Gone,
    /// The fault is our own network's: the attempt does not count.
    OwnNetwork,
    /// Nothing was sent, nor was the network at fault: the notification could not be put together.
    Unsent,
}

impl Verdict {
    pub fn of(outcome: &Outcome, now: Timestamp) -> Self {
        match outcome {
            Outcome::Answered {
                status,
                retry_after,
                ..
            } => match status {
                200..=299 => Self::Delivered,
                410 => Self::Gone,
                429 | 502..=504 => Self::SlowDown {
                    wait: retry_after.map(|asked| {
                        let wait = asked.time(now).duration_since(now);
                        // A date that is past asks for nothing.
                        Duration::try_from(wait).unwrap_or_default().min(WAIT_MAX)
                    }),
                },
                _ => Self::Fault,
            },
            Outcome::Failed { kind, .. } => match kind {
                FailureKind::Request => Self::Unsent,
                _ => match outcome.fault() {
                    Fault::Endpoint => Self::Fault,
                    Fault::OwnNetwork => Self::OwnNetwork,
                },
            },
        }
    }
}
