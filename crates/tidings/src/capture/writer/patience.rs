//! How long the writer tries, and whom it tells that it does not get on.

use std::time::{Duration, Instant};

use activity::Lsn;
use connect::SqlState;
use store::actions_table::holders;
use store::commit::{self, Batch, Fence, Reached};
use store::{Error, Remedy, progress, status};

use super::{Writer, in_time};
use crate::capture::advance::Advance;
use crate::capture::{Fault, visible};

/// How long finding the rows at fault may take: two round trips for each of them, and as many to find it. Rows that
/// others refer to are locked for as long. Past it the next groups are small.
const FAULTS_MAX: Duration = Duration::from_secs(10);
/// The pause before a refused commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// From when on a commit that is refused is told: others lock a table for a moment now and then.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// How long telling it may take.
const TELL_MAX: Duration = Duration::from_secs(2);

impl Writer<'_> {
    /// Tries until the patience is over: then the stream must be let go of.
    pub(super) async fn commit_patiently(
        &mut self,
        reached: &Reached,
        batch: &Batch,
    ) -> Result<Lsn, Fault> {
        let patience = self.context.settings.capture.commit_patience;
        let began = Instant::now();
        let mut told = false;
        loop {
            let refused = match self.try_to_commit(reached, batch, began).await? {
                Ok(gate) => return Ok(gate),
                Err(refused) => refused,
            };
            if began.elapsed() + RETRY_PAUSE >= patience {
                let holders = self.holders(&refused).await;
                return Err(Fault::Passing(format!(
                    "a commit was refused for {} s: {refused}{holders}",
                    patience.as_secs()
                )));
            }
            tracing::debug!(error = %refused, "a commit is tried again");
            if began.elapsed() >= TELL_AFTER && !std::mem::replace(&mut told, true) {
                let holders = self.holders(&refused).await;
                let reason = format!("a commit is refused again and again: {refused}{holders}");
                let then =
                    "it is tried again. After commit_patience the stream is let go of for a moment";
                self.trouble(reason, then).await?;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Who keeps us from writing, where it is a lock on `project_actions`; else nothing.
    async fn holders(&self, refused: &Error) -> String {
        if refused.sqlstate() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return String::new();
        }
        let holders = in_time(TELL_MAX, holders(&self.session, &self.table)).await;
        let holders = holders.unwrap_or_default();
        let named = holders.iter().map(|(pid, lock)| {
            format!(
                ". Process {pid} holds table {} ({lock}): `select pg_terminate_backend({pid});` ends it",
                self.table.table
            )
        });
        named.collect()
    }

    /// One try. The inner error is one to try again after.
    async fn try_to_commit(
        &mut self,
        reached: &Reached,
        batch: &Batch,
        began: Instant,
    ) -> Result<Result<Lsn, Error>, Fault> {
        let patience = self.context.settings.capture.commit_patience;
        let fence = Fence {
            epoch: self.progress.epoch,
            seq: self.progress.seq,
        };
        let mut into = commit::Into {
            table: &self.table,
            images: &mut self.image_tables,
            fence,
            reached,
        };
        let left = patience.saturating_sub(began.elapsed());
        let commit = commit::commit(&mut self.session, &mut into, batch);
        let mut outcome = in_time(left, commit).await;
        if let Err(refused) = &outcome
            && commit::is_of_a_row(refused)
        {
            // A trigger that came meanwhile looks for the worker's tables under our search path.
            if self.table.look_again(&self.session).await? {
                return outcome.map(Ok).or_else(|refused| Ok(Err(refused)));
            }
            // A foreign key to a row that is in the WAL and that no snapshot sees yet is refused like
            // one to no row.
            let left = patience.saturating_sub(began.elapsed());
            let xids = batch.actions.iter().map(|action| action.xid);
            visible::until(&self.session, xids, left).await?;
            let mut into = commit::Into {
                table: &self.table,
                images: &mut self.image_tables,
                fence,
                reached,
            };
            let commit = commit::commit_around_faults(&mut self.session, &mut into, batch);
            outcome = in_time(FAULTS_MAX, commit).await;
            if matches!(outcome, Err(Error::TimedOut(_))) {
                self.context.group_size.shrink();
            }
        } else if outcome.is_ok() {
            self.context.group_size.grow();
        }
        match outcome {
            Ok(gate) => Ok(Ok(gate)),
            Err(error) if error.remedy() == Remedy::Again => Ok(Err(error)),
            // What was left of the patience says nothing to anybody.
            Err(Error::TimedOut(_)) => Err(Fault::Passing(format!(
                "a commit was not through within {} s",
                began.elapsed().as_secs()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells where nothing is heard on the stream, or it is heard and nothing of the server's WAL gets through.
    pub async fn watch_stream(
        &mut self,
        heard: &wal::Progress,
        advance: &mut Advance,
    ) -> Result<(), Fault> {
        if advance.told {
            return Ok(());
        }
        if let Some(reason) = self.context.health.capture_is_silent() {
            self.leave_word(&reason).await?;
            advance.told = true;
            return Ok(());
        }
        let wal_end = status::wal_end(&self.session).await?;
        if advance.stands(Instant::now(), wal_end, heard.confirmed()) {
            let reason = format!(
                "nothing has come through the stream for long, though the server's WAL has grown: the server \
                 decodes a large transaction, or waits for a standby (synchronized_standby_slots). `select * \
                 from pg_stat_replication where application_name = 'tidings';` shows how far slot {} is",
                self.context.settings.capture.slot
            );
            self.trouble(reason, "it waits, and asks the server again and again")
                .await?;
            advance.told = true;
        }
        Ok(())
    }

    /// Says to `status` and to `/readyz` that capture does not get on. The next commit takes it back.
    async fn trouble(&mut self, reason: String, then: &str) -> Result<(), Error> {
        self.leave_word(&reason).await?;
        let then = then.to_owned();
        let trouble = api::Trouble { reason, then };
        self.context.health.capture.troubled(trouble);
        Ok(())
    }

    /// Says it to `status`.
    async fn leave_word(&mut self, reason: &str) -> Result<(), Error> {
        let told = progress::troubled(&self.session, self.progress.epoch, reason);
        in_time(TELL_MAX, told).await?;
        self.has_stop_reason = true;
        Ok(())
    }
}
