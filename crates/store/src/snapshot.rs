//! Which transactions a snapshot of the server sees.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Session};

/// As `pg_current_snapshot()` tells it, in 64-bit transaction ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every transaction below this one is over.
    xmin: u64,
    /// No transaction from this one on is over.
    xmax: u64,
    /// Those in between that are under way, in ascending order.
    under_way: Vec<u64>,
}

impl Snapshot {
    /// What every session sees now. The stream may show a transaction before any snapshot does, while
    /// its commit waits for a standby or on a busy server.
    pub async fn current(session: &Session) -> Result<Self, Error> {
        let statement = session
            .prepared("select pg_current_snapshot()::text")
            .await?;
        let text: String = session.query_one(&statement, &[]).await?.get(0);
        let parsed = text.parse();
        parsed.map_err(|error| Error::Unreadable(format!("pg_current_snapshot: {error}")))
    }

    /// Whether a transaction that did commit is seen.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || xid < self.xmax && self.under_way.binary_search(&xid).is_err()
    }

    /// The newest transaction that this snapshot and every later one sees.
    pub fn settled(&self) -> u64 {
        self.xmin.saturating_sub(1)
    }
}

/// The text is not `xmin:xmax:xid,xid,…`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot as the server prints it")]
pub struct InvalidSnapshot;

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| InvalidSnapshot);
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(InvalidSnapshot);
        let (xmin, xmax, listed) = (number(part()?)?, number(part()?)?, part()?);
        let listed = listed.split(',').filter(|xid| !xid.is_empty());
        let mut under_way = listed.map(number).collect::<Result<Vec<_>, _>>()?;
        under_way.sort_unstable();
        Ok(Self {
            xmin,
            xmax,
            under_way,
        })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<String> = self.under_way.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, listed.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_was_over_when_it_was_taken() {
        let snapshot: Snapshot = "10:20:10,14".parse().unwrap();
        for (xid, seen) in [
            (9, true),
            (10, false),
            (13, true),
            (14, false),
            (19, true),
            (20, false),
        ] {
            assert_eq!(snapshot.sees(xid), seen, "{xid}");
        }
        assert_eq!(snapshot.settled(), 9);
        assert_eq!(snapshot.to_string(), "10:20:10,14");
    }

    #[test]
    fn text_that_is_no_snapshot_is_refused() {
        assert_eq!("10:10:".parse::<Snapshot>().unwrap().settled(), 9);
        for text in ["", "10", "10:20", "a:b:", "10:20:x"] {
            assert_eq!(text.parse::<Snapshot>(), Err(InvalidSnapshot), "{text}");
        }
    }
}
