//! Whether a stream that is heard gets on, by what the server's WAL has grown to. Pure.

use std::time::{Duration, Instant};

use activity::Lsn;

/// How long the server may have WAL for us of which nothing is confirmed or committed.
const STUCK: Duration = Duration::from_secs(30);

/// Where the WAL ended a while ago: by now that should be through.
#[derive(Debug)]
pub(super) struct Advance {
    wal_end: Lsn,
    since: Instant,
    /// That it stands still has been told since something moved last.
    pub(super) told: bool,
}

impl Advance {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            wal_end: Lsn::ZERO,
            since: now,
            told: false,
        }
    }

    /// Something was committed.
    pub(super) fn moved(&mut self, now: Instant) {
        self.since = now;
        self.told = false;
    }

    /// The WAL ends here now, and as much is confirmed. Whether nothing has moved for too long.
    pub(super) fn stands(&mut self, now: Instant, wal_end: Lsn, confirmed: Lsn) -> bool {
        if confirmed >= self.wal_end {
            self.wal_end = wal_end;
            self.since = now;
            return false;
        }
        now.saturating_duration_since(self.since) > STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gets_on_as_long_as_it_is_confirmed_what_there_was() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut advance = Advance::begin(began);
        // The server's WAL is always a little ahead of what is confirmed.
        for second in 0..100 {
            let (end, confirmed) = (Lsn::new(100 + second), Lsn::new(98 + second));
            assert!(!advance.stands(at(second), end, confirmed), "{second}");
        }
        assert!(!advance.stands(at(127), Lsn::new(500), Lsn::new(190)));
        assert!(advance.stands(at(131), Lsn::new(500), Lsn::new(190)));
        // Parts of a large transaction are committed, and not confirmed yet.
        advance.moved(at(131));
        assert!(!advance.stands(at(160), Lsn::new(500), Lsn::new(190)));
        assert!(!advance.stands(at(161), Lsn::new(500), Lsn::new(500)));
    }

    #[test]
    fn a_server_that_writes_nothing_is_waited_for() {
        let began = Instant::now();
        let mut advance = Advance::begin(began);
        for minute in 0..10 {
            let now = began + Duration::from_secs(60 * minute);
            assert!(!advance.stands(now, Lsn::new(7), Lsn::new(7)));
        }
    }
}
