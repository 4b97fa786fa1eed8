use std::sync::Arc;

use activity::{Key, Lsn, Relation, Row};
use jiff::Timestamp;
use store::reconcile::{Pass, Work};
use store::snapshot::Snapshot;
use tokio::sync::oneshot;

/// Rows of one table in one snapshot, on their way to the writer.
#[derive(Debug)]
pub struct Chunk {
    pub work: Work,
    pub relation: Arc<Relation>,
    /// Every key that was looked at; `None` where the snapshot has no such row.
    pub rows: Vec<(Key, Option<Row>)>,
    pub snapshot: Snapshot,
    /// Of the table's images when it was read; `None` where nothing was read.
    pub generation: Option<i32>,
    /// The server's time when it was read.
    pub at: Timestamp,
    /// Everything that the snapshot sees was committed before this.
    pub lsn: Lsn,
    pub next: Next,
    pub reply: oneshot::Sender<Reply>,
}

/// Where the request stands once the chunk is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub pass: Pass,
    pub round: i32,
    pub cursor: Option<Vec<String>>,
    pub finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Applied,
    /// The table was truncated meanwhile, or is not open here: read it again.
    Again,
}
