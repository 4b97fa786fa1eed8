//! One attempt: format, sign, send, and what it comes to.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use store::delivery::{AttemptRecord, AttemptResult};
use store::log::LoggedAction;
use webhook::{
    Attempt, Digest, Endpoint, Message, Next, Notification, Outcome, Payload, Schedule, Sender,
};

use super::dispatch::Turn;
use super::lane::{Job, Verdict};

/// What every attempt needs.
#[derive(Clone)]
pub struct Attempter {
    pub sender: Sender,
    pub schedule: Arc<Schedule>,
    /// Whether `project_actions` has the column.
    pub has_cost_usd: bool,
}

/// An attempt that is over.
pub struct Done {
    pub record: AttemptRecord,
    pub job: Job,
    pub verdict: Verdict,
    /// Of the lane that made it.
    pub generation: u64,
    /// The endpoint asked never to be called again.
    pub disable: bool,
}

impl Attempter {
    /// Cancel safe: dropping it aborts the request, and the attempt counts as never made.
    /// A fault of our own network does not count where it is `excused`.
    pub async fn attempt(self, turn: Turn, excused: bool) -> Done {
        let Turn {
            endpoint,
            generation,
            job,
            cut_off: _,
        } = turn;
        let at = Timestamp::now();
        let attempt = match self.render(&endpoint, &job) {
            Ok(payload) => {
                let message = Message {
                    id: &job.id(),
                    at,
                    replay: job.replay.as_deref(),
                    payload,
                };
                self.sender.send(&endpoint, message).await
            }
            Err(error) => Attempt::unmade(&error),
        };
        let now = Timestamp::now();
        let next = webhook::next(
            job.attempt,
            &attempt.outcome,
            &self.schedule,
            now,
            rand::random(),
        );
        let verdict = Verdict::of(&attempt.outcome, now);
        let (result, disable) = match next {
            _ if verdict == Verdict::OwnNetwork && excused => (AttemptResult::Deferred, false),
            Next::Delivered => (AttemptResult::Delivered, false),
            Next::RetryAt(due) => (AttemptResult::Parked { due }, false),
            Next::Dead => (AttemptResult::Dead, false),
            Next::Disable => (AttemptResult::Dead, true),
        };
        tell(&endpoint, &job, &attempt, result, now);
        Done {
            record: record(&endpoint, &job, attempt, result, at),
            job,
            verdict,
            disable,
            generation,
        }
    }
}

impl Attempter {
    /// A digest of one action is that action.
    fn render(&self, endpoint: &Endpoint, job: &Job) -> Result<Payload, webhook::Error> {
        let notification = |action| self.notification(action);
        if job.rest.is_empty() {
            return endpoint.format.render(&notification(&job.action));
        }
        let actions: Vec<Notification<'_>> = job.actions().map(notification).collect();
        endpoint.format.render_digest(&Digest { actions: &actions })
    }

    fn notification<'a>(&self, action: &'a Arc<LoggedAction>) -> Notification<'a> {
        Notification {
            action_id: action.id.as_str(),
            seq: action.seq,
            action: &action.action,
            created_at: action.created_at,
            committed_at: action.committed_at,
            has_cost_usd: self.has_cost_usd,
        }
    }
}

fn record(
    endpoint: &Endpoint,
    job: &Job,
    attempt: Attempt,
    result: AttemptResult,
    at: Timestamp,
) -> AttemptRecord {
    let status = attempt.outcome.status();
    let split = attempt.split.unwrap_or_default();
    let (error, error_kind, excerpt) = match attempt.outcome {
        Outcome::Answered {
            status, excerpt, ..
        } => {
            let failed = result != AttemptResult::Delivered;
            let error = failed.then(|| format!("status {status}"));
            let excerpt = Some(excerpt).filter(|text| !text.is_empty());
            (error, failed.then_some("status"), excerpt)
        }
        Outcome::Failed { kind, detail } => {
            (Some(format!("{kind}: {detail}")), Some(kind.as_str()), None)
        }
    };
    AttemptRecord {
        at,
        seq: job.action.seq,
        endpoint_id: endpoint.id.clone(),
        action_id: job.action.id,
        attempt: i32::try_from(job.attempt).unwrap_or(i32::MAX),
        result,
        status,
        latency_ms: milliseconds(attempt.latency),
        dns_ms: split.dns.map(milliseconds),
        connect_ms: split.connect.map(milliseconds),
        wait_ms: split.wait.map(milliseconds),
        address: attempt.address.map(|address| address.to_string()),
        error,
        error_kind,
        excerpt,
        replay_id: job.replay.as_deref().map(str::to_owned),
        covers: if job.rest.is_empty() {
            Vec::new()
        } else {
            job.seqs().collect()
        },
    }
}

fn milliseconds(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1000.0
}

fn tell(endpoint: &Endpoint, job: &Job, attempt: &Attempt, result: AttemptResult, now: Timestamp) {
    let delay = now.duration_since(job.action.committed_at);
    let outcome = result.as_str();
    metrics::counter!("tidings_attempts_total", "outcome" => outcome).increment(1);
    metrics::histogram!("tidings_attempt_seconds").record(attempt.latency.as_secs_f64());
    if result == AttemptResult::Delivered && job.attempt == 1 {
        metrics::histogram!("tidings_delivery_delay_seconds").record(delay.as_secs_f64().max(0.0));
    }
    tracing::debug!(
        endpoint.name, delivery.seq = %job.action.seq, delivery.attempt = job.attempt,
        delivery.outcome = outcome, delivery.delay_ms = delay.as_millis() as i64, "attempt"
    );
    if result != AttemptResult::Delivered {
        let reason = match &attempt.outcome {
            Outcome::Answered { status, .. } => format!("status {status}"),
            Outcome::Failed { kind, .. } => kind.to_string(),
        };
        tracing::warn!(
            endpoint.name, delivery.seq = %job.action.seq, delivery.attempt = job.attempt,
            delivery.outcome = outcome, reason, "a delivery failed"
        );
    }
}
