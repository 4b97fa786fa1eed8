//! Whether the connection that holds the shards has answered of late. Only then may anything be sent:
//! others may own the shards by now.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long an answer counts, from the moment of its question. Shorter than what the server waits
/// before it ends the connection, see [`store::delivery::hold`].
pub const LENGTH: Duration = Duration::from_secs(5);

/// Goes by the monotonic clock, which runs on while the process is stopped.
#[derive(Clone, Debug)]
pub struct Leash(watch::Receiver<Instant>);

/// Who talks to the database says here that it answered.
#[derive(Debug)]
pub struct Hand(watch::Sender<Instant>);

impl Leash {
    /// One that holds from now.
    pub fn new(now: Instant) -> (Hand, Self) {
        let (sender, receiver) = watch::channel(now);
        (Hand(sender), Self(receiver))
    }

    pub fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.0.borrow()) < LENGTH
    }

    /// Waits until it does not hold. Cancel safe.
    pub async fn snapped(&self) {
        loop {
            let answered = *self.0.borrow();
            if !self.holds(Instant::now()) {
                return;
            }
            tokio::time::sleep_until((answered + LENGTH).into()).await;
        }
    }

    /// The work, which goes on only as long as the leash holds; `None` where it does not.
    pub fn bind<T>(self, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let mut work = Box::pin(work);
        // Looked at before every step: a process that was stopped takes none of what it left.
        poll_fn(move |context| match self.holds(Instant::now()) {
            true => work.as_mut().poll(context).map(Some),
            false => Poll::Ready(None),
        })
    }
}

impl Hand {
    /// A question that was put at this moment was answered.
    pub fn answered(&self, asked: Instant) {
        self.0.send_if_modified(|last| {
            let later = asked > *last;
            *last = (*last).max(asked);
            later
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leash_holds_for_its_length_after_the_last_question_that_was_answered() {
        let begun = Instant::now();
        let (hand, leash) = Leash::new(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(leash.holds(at(4)) && !leash.holds(at(5)));
        hand.answered(at(3));
        assert!(leash.holds(at(7)) && !leash.holds(at(8)));
        // An answer that comes late says nothing of the time since its question.
        hand.answered(at(1));
        assert!(leash.holds(at(7)) && !leash.holds(at(8)));
    }

    #[tokio::test]
    async fn work_takes_no_step_once_the_leash_is_off() {
        let (_hand, leash) = Leash::new(Instant::now());
        assert_eq!(leash.clone().bind(async { 1 }).await, Some(1));
        let long_ago = Instant::now()
            .checked_sub(LENGTH)
            .expect("the machine is up for longer");
        let (_hand, leash) = Leash::new(long_ago);
        let bound = leash.clone().bind(async { panic!("a step was taken") });
        assert_eq!(bound.await, None::<()>);
        leash.snapped().await;
    }
}
