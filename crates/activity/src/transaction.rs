use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Lsn, Relation, Row};

/// A transaction id of 32 bits, as the stream carries it; it wraps around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Xid(pub u32);

impl Xid {
    /// The 64-bit id that ends in these 32 bits and lies nearest to `near`, a recent 64-bit id of
    /// the same cluster (`pg_snapshot_xmax(pg_current_snapshot())`).
    pub fn widen(self, near: u64) -> u64 {
        let distance = self.0.wrapping_sub(near as u32) as i32;
        near.saturating_add_signed(i64::from(distance))
    }
}

/// How a transaction introduces itself before its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit record begins. Unique among the transactions of one timeline.
    pub commit_lsn: Lsn,
    /// When it committed, by the server's clock, in microseconds.
    pub commit_time: Timestamp,
    pub xid: Xid,
}

/// A change's address: the same on every replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub lsn: Lsn,
    /// Among the changes of the transaction that share `lsn`, from 0: one COPY gives many rows
    /// at one position.
    pub index: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldRow {
    /// Only the key columns are meaningful; the others arrive as null and mean "not sent".
    Key(Row),
    /// The whole row, as `REPLICA IDENTITY FULL` sends it.
    Full(Row),
}

impl OldRow {
    pub fn row(&self) -> &Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    Insert {
        new: Row,
    },
    Update {
        /// Sent when the key changed, or by a replica identity wider than the key.
        old: Option<OldRow>,
        new: Row,
    },
    Delete {
        old: OldRow,
    },
    Truncate {
        relations: Vec<Arc<Relation>>,
    },
    /// A transactional logical message (`pg_logical_emit_message(true, …)`).
    Message {
        prefix: String,
        content: Vec<u8>,
    },
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { new } => write!(f, "Insert({})", new.relation.table),
            Self::Update { new, .. } => write!(f, "Update({})", new.relation.table),
            Self::Delete { old } => write!(f, "Delete({})", old.row().relation.table),
            Self::Truncate { relations } => write!(f, "Truncate({} tables)", relations.len()),
            Self::Message { content, .. } => write!(f, "Message({} bytes)", content.len()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub position: Position,
    pub operation: Operation,
}

/// A committed transaction, or a cut of one that is too large for memory.
///
/// The parts of one transaction arrive in order with nothing between them; only the last one
/// has `end`. A part is never empty, but the last one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub begin: Begin,
    pub changes: Vec<Change>,
    /// False where earlier changes of the same transaction came in another part.
    pub first: bool,
    /// Where the transaction's commit record ends, in its last part: confirming it means that the
    /// transaction need not be sent again.
    pub end: Option<Lsn>,
}

impl Part {
    /// Whether this is less than the whole transaction.
    pub fn is_partial(&self) -> bool {
        !self.first || self.end.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_id_widens_to_its_nearest_64_bit_id() {
        assert_eq!(Xid(7).widen(9), 7);
        assert_eq!(Xid(9).widen(7), 9);
        assert_eq!(Xid(0xFFFF_FFF0).widen(0x3_0000_0010), 0x2_FFFF_FFF0);
        assert_eq!(Xid(0x10).widen(0x2_FFFF_FFF0), 0x3_0000_0010);
    }
}
