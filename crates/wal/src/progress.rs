use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use activity::Lsn;

/// How far a stream has come, readable from outside while it runs.
#[derive(Debug)]
pub struct Progress {
    wal_end: AtomicU64,
    confirmed: AtomicU64,
    bytes: AtomicU64,
    heard_at: Mutex<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            wal_end: AtomicU64::default(),
            confirmed: AtomicU64::default(),
            bytes: AtomicU64::default(),
            heard_at: Mutex::new(Instant::now()),
        }
    }
}

impl Progress {
    /// The highest end of the WAL that the server has shown on this connection.
    pub fn wal_end(&self) -> Lsn {
        Lsn::new(self.wal_end.load(Ordering::Relaxed))
    }

    /// The highest position that the server was told may be forgotten.
    pub fn confirmed(&self) -> Lsn {
        Lsn::new(self.confirmed.load(Ordering::Relaxed))
    }

    /// Bytes received on this connection, after decryption.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// For how long nothing has come although it would have been read.
    pub fn silent(&self) -> Duration {
        self.heard_at.lock().expect("no holder panics").elapsed()
    }

    pub(crate) fn show(&self, wal_end: Lsn) {
        self.wal_end.fetch_max(wal_end.get(), Ordering::Relaxed);
    }

    pub(crate) fn confirm(&self, position: Lsn) {
        self.confirmed.fetch_max(position.get(), Ordering::Relaxed);
    }

    pub(crate) fn receive(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Something came, or nobody listened.
    pub(crate) fn hear(&self) {
        *self.heard_at.lock().expect("no holder panics") = Instant::now();
    }
}
