use activity::{Lsn, Part};

/// What the stream gives, in commit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A committed transaction, or a piece of a large one.
    Part(Part),
    /// Everything up to here was streamed, and whatever came since the last part holds no change of
    /// ours. Only the latest is kept while the receiver is busy.
    Mark(Lsn),
}

/// What may be confirmed to the server, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirm {
    /// Everything up to here is durable on our side.
    pub position: Lsn,
    /// Where our own commit of it lies: the position is confirmed once the stream has shown an end of
    /// the WAL at or past this.
    pub gate: Lsn,
}

/// How a stream came to its end in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The highest position that the server was told may be forgotten; zero if there was none.
    pub confirmed: Lsn,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The stop token was cancelled.
    Stopped,
    /// The receiver of the events is gone.
    Abandoned,
}
